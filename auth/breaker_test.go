package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// users are people at the practice provider.
func users(n int) (all []authtest.User) {
	for i := range n {
		name := fmt.Sprintf("user%d", i)
		all = append(all, authtest.User{Name: name, Password: "secret", Email: name + "@example.com"})
	}
	return all
}

// connectAs makes a connection of a user's own.
func connectAs(t *testing.T, v *authtest.Vault, u authtest.User) {
	t.Helper()
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Account: u.Email})
	if err := finish(t, v, link, alices, u.Name); err != nil {
		t.Fatal(err)
	}
}

func getAs(t *testing.T, v *authtest.Vault, u authtest.User) error {
	_, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: u.Email})
	return err
}

// RF-008: after five connections an endpoint that is down is asked for no sixth; when its time is over one asks, and
// once it answers all do.
func TestBreakerSparesTheEndpoint(t *testing.T) {
	all := users(7)
	v, c := newClockedVault(t, authtest.Options{Users: all})
	for _, u := range all {
		connectAs(t, v, u)
	}
	v.Server.Forget()
	v.Server.FaultAlways("/token", authtest.Busy(429, "5"))
	c.forward(2 * time.Hour)
	for _, u := range all {
		if err := getAs(t, v, u); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", u.Name, err)
		}
	}
	if n := asked(v); n != 5 {
		t.Errorf("%d token requests", n)
	}
	v.Server.Heal()
	c.forward(10 * time.Second)
	if err := getAs(t, v, all[0]); !errors.Is(err, auth.ErrUnavailable) || asked(v) != 5 {
		t.Errorf("before the time is over: %v, %d token requests", err, asked(v))
	}
	c.forward(time.Minute)
	for _, u := range all {
		if err := getAs(t, v, u); err != nil {
			t.Errorf("%s afterwards: %v", u.Name, err)
		}
	}
}

// RF-008: connections that are too young to be renewed have asked nobody, and say nothing about the endpoint.
func TestBreakerMindsAnswersOnly(t *testing.T) {
	all := users(6)
	v, c := newClockedVault(t, authtest.Options{Users: all})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Refresh.MinAgeS = 3 * 3600 })
	connectAs(t, v, all[0])
	c.forward(2 * time.Hour)
	for _, u := range all[1:] {
		connectAs(t, v, u)
	}
	c.forward(70 * time.Minute)
	for _, u := range all[1:] {
		if err := getAs(t, v, u); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", u.Name, err)
		}
	}
	if err := getAs(t, v, all[0]); err != nil {
		t.Errorf("%s, which is old enough: %v", all[0].Name, err)
	}
}

// RF-008: a refusal without a code that we know is the word of an endpoint that is up. One user's dead sign-in does not shut
// it for the others.
func TestBreakerHearsRefusals(t *testing.T) {
	all := users(2)
	v, c := newClockedVault(t, authtest.Options{Users: all})
	given := tokensOf(v)
	connectAs(t, v, all[0])
	dead := ""
	given.Range(func(refresh, _ any) bool { dead = refresh.(string); return false })
	connectAs(t, v, all[1])
	v.Server.Heal()
	v.Server.FaultAlways("POST /token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.FormValue("refresh_token") == dead {
			authtest.Answer(http.StatusBadRequest, "application/json", `{"success":false,"message":"no"}`)(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
	c.forward(2 * time.Hour)
	v.Server.Forget()
	for range 8 {
		c.forward(7 * time.Minute)
		if err := getAs(t, v, all[0]); err == nil {
			t.Error("a dead sign-in works")
		}
	}
	if n := asked(v); n != 8 {
		t.Errorf("%d token requests", n)
	}
	if err := getAs(t, v, all[1]); err != nil {
		t.Errorf("the other user: %v", err)
	}
}
