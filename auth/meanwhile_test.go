package auth_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// BF-039, BF-046: what the owner takes back while a credential is renewed, which may take most of a minute, is not used
// afterwards; nor is the account that took the place of the one that was meant.
func TestTakenBackDuringRenewal(t *testing.T) {
	takeBack := func(ctx context.Context, v *authtest.Vault, _ string) error {
		grants, err := v.Desk(auth.Local).Grants(ctx)
		for _, g := range grants {
			err = errors.Join(err, v.Desk(auth.Local).EndGrant(ctx, g.ID))
		}
		return err
	}
	replace := func(ctx context.Context, v *authtest.Vault, held string) error {
		return v.Visit(alices).Settle(ctx, held, auth.SettleReplace)
	}
	sent := func(ctx context.Context, v *authtest.Vault) error {
		_, err := v.Call(ctx, agent, auth.Call{Provider: "practice", Path: "/me"})
		return err
	}
	released := func(ctx context.Context, v *authtest.Vault) error {
		_, err := v.Get(ctx, agent, practiceNeed)
		return err
	}
	namesakes := authtest.DefaultUsers()
	for i := range namesakes {
		namesakes[i].Email = "team@example.com"
	}
	for name, test := range map[string]struct {
		users     []authtest.User
		meanwhile func(context.Context, *authtest.Vault, string) error
		ahead     time.Duration
		do        func(context.Context, *authtest.Vault) error
		requests  int // that the API may see
	}{
		"a grant, renewed before the call": {nil, takeBack, 2 * time.Hour, sent, 0},
		"a grant, renewed after a 401":     {nil, takeBack, 0, sent, 1},
		"a grant of release":               {nil, takeBack, 2 * time.Hour, released, 0},
		"the account, before the call":     {nil, replace, 2 * time.Hour, sent, 0},
		"the account, after a 401":         {nil, replace, 0, sent, 1},
		"the account of a release":         {nil, replace, 2 * time.Hour, released, 0},
		"a namesake, before the call":      {namesakes, replace, 2 * time.Hour, sent, 0},
		"a namesake, after a 401":          {namesakes, replace, 0, sent, 1},
		"a namesake, of a release":         {namesakes, replace, 2 * time.Hour, released, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := connected(t, authtest.Options{Users: test.users})
			c.forward(test.ahead)
			link := reconnect(t, v)
			if err := finish(t, v, link, alices, "bob"); err != nil {
				t.Fatal(err)
			}
			if test.ahead == 0 {
				v.API.Fault("/api/me", authtest.Unauthorized)
			}
			v.Server.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if err := test.meanwhile(r.Context(), v, link.RequestID); err != nil {
					t.Error(err)
				}
				next.ServeHTTP(w, r)
			})
			v.API.Forget()
			if err := test.do(t.Context(), v); !errors.Is(err, auth.ErrConflict) {
				t.Errorf("got %v", err)
			}
			if n := len(v.API.Requests("")); n != test.requests {
				t.Errorf("%d requests came to the API", n)
			}
		})
	}
}
