package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// RF-017: after a day's sleep each connection is renewed once, a few at a time, and nobody gets the
// token of yesterday.
func TestRefreshAfterSleep(t *testing.T) {
	all := users(12)
	v, c := newClockedVault(t, authtest.Options{Users: all})
	old := map[string]bool{}
	for _, u := range all {
		connectAs(t, v, u)
		h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: u.Email})
		if err != nil {
			t.Fatal(err)
		}
		old[h.Released.Value.Reveal()] = true
	}
	v.Server.Forget()
	var now, most atomic.Int32
	v.Server.FaultAlways("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		next.ServeHTTP(w, r)
	})
	c.forward(24*time.Hour - time.Minute)
	for range 3 {
		keepOnce(t, v)
	}
	for _, u := range all {
		h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: u.Email})
		if err != nil || old[h.Released.Value.Reveal()] || !live(v.Server, h.Released.Value) {
			t.Errorf("%s: %v", u.Name, err)
		}
	}
	if n := asked(v); n != len(all) || most.Load() > 4 {
		t.Errorf("%d renewals, %d at once", n, most.Load())
	}
}

// D13: a token younger than its provider allows is not sent to be renewed; it is used meanwhile, and
// renewed when it is old enough.
func TestRefreshTooEarly(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Refresh.MinAgeS = 3 * 3600 })
	old := get(t, v)
	c.forward(time.Hour - 30*time.Second)
	if get(t, v) != old {
		t.Error("another token")
	}
	c.forward(time.Hour)
	if _, err := v.Get(t.Context(), agent, practiceNeed); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("Get: %v", err)
	}
	if n := asked(v); n != 0 {
		t.Errorf("%d token requests", n)
	}
	c.forward(4 * time.Hour)
	if get(t, v) == old || asked(v) != 1 {
		t.Errorf("%d token requests", asked(v))
	}
}

// D11: what a refresh sends is the grant and nothing more, and the old refresh token is gone from the row.
// D14: the record of it has no token.
func TestRefreshSendsAndRecordsNoMore(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	before := only(t, v)
	c.forward(2 * time.Hour)
	get(t, v)
	form := v.Server.Requests("POST /token")[0].Form
	if form.Has("scope") || form.Get("grant_type") != "refresh_token" || len(form) != 3 {
		t.Errorf("sent %d fields, scope %q", len(form), form.Get("scope"))
	}
	after := only(t, v)
	if string(after.Sealed) == string(before.Sealed) || len(after.Refresh.Answer) != 0 || after.Version != before.Version+1 {
		t.Errorf("generation %d after %d", after.Version, before.Version)
	}
	wantEvent(t, v, agent.Owner, "refresh")
	events, err := v.Desk(agent.Owner).Events(t.Context(), auth.EventFilter{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range v.Server.Secrets() {
		for _, e := range events {
			if text := fmt.Sprint(e); len(secret) > 8 && strings.Contains(text, secret) {
				t.Errorf("event %s holds a secret", e.Kind)
			}
		}
	}
}

// Nobody whose token is still good waits for a provider that takes its time.
func TestRefreshIsNotWaitedForWhileTheTokenLives(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	old := get(t, v)
	hold, pause := authtest.PauseAt(authtest.Received)
	v.Server.Fault("/token", hold)
	c.forward(time.Hour - 20*time.Second)
	begin := time.Now()
	if got := get(t, v); got != old {
		t.Error("another token")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("waited %v", took)
	}
	<-pause.Reached
	close(pause.Release)
	v.Drain()
	if got := get(t, v); got == old {
		t.Error("the renewal was lost")
	}
}

// RF-011: connections that were made together are not renewed in one moment, and all within the last minute.
func TestRefreshesAreSpread(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	row := only(t, v)
	c.forward(time.Hour - time.Minute - time.Second)
	moments := map[time.Duration]bool{}
	for n := range 8 {
		other := *row
		other.ID = fmt.Sprint("other ", n)
		left := time.Minute
		for ; !v.Due(&other) && left > 0; left -= time.Second {
			c.forward(time.Second)
		}
		c.forward(left - time.Minute)
		moments[left] = true
		if left < 44*time.Second {
			t.Errorf("renewed with %v left", left)
		}
	}
	if len(moments) < 4 {
		t.Errorf("renewed with %v left", moments)
	}
}
