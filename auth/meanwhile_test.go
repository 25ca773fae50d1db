package auth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// BF-039, BF-046: what the owner takes back while a credential is renewed, which may take most of a minute, is not used
// afterwards; nor is the account that took the place of the one that was meant.
func TestTakenBackDuringRenewal(t *testing.T) {
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
		"the account, before the call":     {nil, replaceAccount, 2 * time.Hour, sent, 0},
		"the account, after a 401":         {nil, replaceAccount, 0, sent, 1},
		"the account of a release":         {nil, replaceAccount, 2 * time.Hour, released, 0},
		"a namesake, before the call":      {namesakes, replaceAccount, 2 * time.Hour, sent, 0},
		"a namesake, after a 401":          {namesakes, replaceAccount, 0, sent, 1},
		"a namesake, of a release":         {namesakes, replaceAccount, 2 * time.Hour, released, 0},
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

// BF-039, BF-046, AU-002: nor is what the owner takes back while the record of its use is written; and the record, which says
// that it was allowed, goes on to say that it did not happen.
func TestTakenBackDuringRecord(t *testing.T) {
	revoke := func(ctx context.Context, v *authtest.Vault, _ string) error {
		_, err := v.Desk(auth.Local).Revoke(ctx, auth.Unwanted{Provider: "practice"})
		return err
	}
	for name, test := range map[string]struct {
		meanwhile func(context.Context, *authtest.Vault, string) error
		want      error
	}{
		"the grant":      {takeBack, auth.ErrConflict},
		"the account":    {replaceAccount, auth.ErrConflict},
		"the connection": {revoke, auth.ErrNotFound},
	} {
		for kind, do := range map[string]func(*authtest.Vault) error{
			"call": func(v *authtest.Vault) error {
				_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
				return err
			},
			"credential.release": func(v *authtest.Vault) error {
				h, err := v.Get(t.Context(), agent, practiceNeed)
				if h != nil {
					t.Errorf("%s: released %+v", name, h)
				}
				return err
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				v, _ := connected(t, authtest.Options{})
				link := reconnect(t, v)
				if err := finish(t, v, link, alices, "bob"); err != nil {
					t.Fatal(err)
				}
				inner, recorded := v.Vault.Audit, ""
				v.Vault.Audit = watching{inner, func(e auth.Event) {
					if e.Kind == kind && recorded == "" {
						recorded = e.ID
						if err := test.meanwhile(context.Background(), v, link.RequestID); err != nil {
							t.Error(err)
						}
					}
				}}
				v.API.Forget()
				if err := do(v); !errors.Is(err, test.want) || recorded == "" {
					t.Errorf("got %v", err)
				}
				if n := len(v.API.Requests("")); n != 0 {
					t.Errorf("%d requests came to the API", n)
				}
				v.Vault.Audit = inner
				done, _, _ := strings.Cut(kind, ".")
				all := events(t, v, done+".done")
				if len(all) != 1 || all[0].Of != recorded || all[0].Decision != "failed" || all[0].Client != agent.Client || all[0].Detail["cause"] == "" {
					t.Errorf("on record: %+v", all)
				}
			})
		}
	}
}

// BF-046: an answer of the owner's is for the account that the question named, also when another one takes its place while
// the answer is carried out.
func TestReplacedDuringDecision(t *testing.T) {
	for name, test := range map[string]struct {
		decision auth.Decision
		raw      bool
	}{
		"a release":     {auth.Decision{Allow: true, For: time.Hour}, true},
		"always":        {auth.Decision{Allow: true, Always: true}, false},
		"this one call": {auth.Decision{Allow: true}, false},
		"for some time": {auth.Decision{Allow: true, For: time.Hour}, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := connected(t, authtest.Options{})
			v.Release = nil
			link := reconnect(t, v)
			if err := finish(t, v, link, alices, "bob"); err != nil {
				t.Fatal(err)
			}
			err := takeBack(t.Context(), v, "")
			if err != nil {
				t.Fatal(err)
			}
			if test.raw {
				_, err = v.Get(t.Context(), agent, auth.Need{Provider: "practice", Raw: true})
			} else {
				_, err = v.Call(t.Context(), agent, post("/echo", "x"))
			}
			var ask *auth.ApprovalRequired
			if !errors.As(err, &ask) {
				t.Fatal(err)
			}
			inner, recorded := v.Vault.Audit, ""
			v.Vault.Audit = watching{inner, func(e auth.Event) {
				if e.Kind == "approval.allow" {
					recorded = e.ID
					if err := replaceAccount(context.Background(), v, link.RequestID); err != nil {
						t.Error(err)
					}
				}
			}}
			if err := v.Desk(auth.Local).Decide(t.Context(), ask.RequestID, test.decision); !errors.Is(err, auth.ErrConflict) || !strings.Contains(err.Error(), "alice@example.com was replaced") {
				t.Errorf("got %v", err)
			}
			grants, err := v.Desk(auth.Local).Grants(t.Context())
			if err != nil || slices.ContainsFunc(grants, func(g auth.Grant) bool { return g.Origin == "approval:"+ask.RequestID }) {
				t.Errorf("granted: %+v, %v", grants, err)
			}
			v.Vault.Audit = inner
			if all := events(t, v, "approval.done"); len(all) != 1 || all[0].Of != recorded || all[0].Decision != "failed" || all[0].Detail["cause"] != "conflict" {
				t.Errorf("on record: %+v", all)
			}
		})
	}
}

// takeBack ends every grant.
func takeBack(ctx context.Context, v *authtest.Vault, _ string) error {
	grants, err := v.Desk(auth.Local).Grants(ctx)
	for _, g := range grants {
		err = errors.Join(err, v.Desk(auth.Local).EndGrant(ctx, g.ID))
	}
	return err
}

// replaceAccount lets the account of a held sign-in take the place of the one that is connected.
func replaceAccount(ctx context.Context, v *authtest.Vault, held string) error {
	return v.Visit(alices).Settle(ctx, held, auth.SettleReplace)
}
