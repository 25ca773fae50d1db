package auth_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// wantForgotten fails the test unless the provider was told to forget every token of given, and no other.
func wantForgotten(t *testing.T, v *authtest.Vault, given *sync.Map) {
	t.Helper()
	revoked, n := revokedTokens(v), 0
	given.Range(func(refresh, access any) bool {
		n++
		if !revoked[refresh.(string)] || !revoked[access.(string)] {
			t.Error("tokens that nobody has live on at the provider")
		}
		return true
	})
	if n == 0 || len(revoked) != 2*n {
		t.Errorf("%d pairs of tokens were given, %d tokens revoked", n, len(revoked))
	}
}

// CB-017: a sign-in that fails after the code was exchanged leaves no tokens at the provider that nobody has.
func TestFailedSignInIsForgotten(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		change func(v *authtest.Vault, p *providers.Provider)
		path   string
		fault  authtest.Fault
		want   *auth.Error
	}{
		"look-up": {auth.MethodOAuthCode, func(v *authtest.Vault, p *providers.Provider) {
			p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Store: "site"}}
		}, "GET /sites", authtest.Busy(503, ""), auth.ErrUnavailable},
		"look-up of a device": {auth.MethodDeviceCode, func(v *authtest.Vault, p *providers.Provider) {
			p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Store: "site"}}
		}, "GET /sites", authtest.Busy(503, ""), auth.ErrUnavailable},
		"kept host": {auth.MethodOAuthCode, func(_ *authtest.Vault, p *providers.Provider) {
			p.OAuth2.Response.Keep = map[string]providers.Keep{"issued": {Path: "token_type", Hosts: []string{"api.example.com"}}}
		}, "GET /nothing", authtest.Pass, auth.ErrRefused},
		"identity that does not verify": {auth.MethodOAuthCode, func(v *authtest.Vault, p *providers.Provider) { p.OAuth2.Discovery = "oidc" }, "GET /jwks", authtest.Answer(200, "application/json", `{"keys":[]}`), auth.ErrRefused},
		"keys that do not come":         {auth.MethodOAuthCode, func(v *authtest.Vault, p *providers.Provider) { p.OAuth2.Discovery = "oidc" }, "GET /jwks", authtest.Busy(503, ""), auth.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{})
			redefine(t, v, c, func(p *providers.Provider) { test.change(v, p) })
			given := tokensOf(v)
			v.Server.FaultAlways(test.path, test.fault)
			link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: test.method})
			if test.method == auth.MethodOAuthCode {
				if err := finish(t, v, link, alices, "alice"); err == nil {
					t.Fatal("it works")
				}
			} else {
				step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
				if err != nil {
					t.Fatal(err)
				}
				if err := v.Server.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
					t.Fatal(err)
				}
				c.forward(10 * time.Second)
			}
			keepOnce(t, v)
			if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusFailed || s.Cause != test.want.Code {
				t.Errorf("status %+v", s)
			}
			keepOnce(t, v)
			wantForgotten(t, v, given)
		})
	}
}

// leaving is a person who closes the page when the first word of theirs has been written.
type leaving struct {
	auth.RequestStore
	leave func()
}

func (l leaving) MoveRequest(ctx context.Context, r *auth.Request, from ...auth.RequestState) error {
	defer l.leave()
	return l.RequestStore.MoveRequest(ctx, r, from...)
}

// CB-020: what the person says about the other account happens although the browser leaves, and as long as it has not, the
// sign-in stays on the list of what is revoked.
func TestSettleWithoutBrowser(t *testing.T) {
	held := func(t *testing.T) (*authtest.Vault, *clock, string, *sync.Map) {
		t.Helper()
		v, c := connected(t, authtest.Options{})
		given, link := tokensOf(v), reconnect(t, v)
		if err := finish(t, v, link, alices, "bob"); err != nil {
			t.Fatal(err)
		}
		return v, c, link.RequestID, given
	}
	t.Run("leaves", func(t *testing.T) {
		v, c, id, _ := held(t)
		ctx, leave := context.WithCancel(t.Context())
		v.Requests = leaving{v.DB, leave}
		if err := v.Visit(alices).Settle(ctx, id, auth.SettleAdd); err != nil {
			t.Fatal(err)
		}
		if s := status(t, v, agent, id); s.Status != auth.StatusConnected {
			t.Errorf("status %+v", s)
		}
		c.forward(30 * time.Minute)
		if keepOnce(t, v); len(revokedTokens(v)) > 0 {
			t.Error("tokens in use were revoked")
		}
	})
	t.Run("cannot be stored", func(t *testing.T) {
		v, c, id, given := held(t)
		v.Vault.Audit = &deafLog{AuditLog: v.Vault.Audit, kind: "connection.store"}
		if err := v.Visit(alices).Settle(t.Context(), id, auth.SettleAdd); err == nil {
			t.Fatal("it works")
		}
		c.forward(30 * time.Minute)
		keepOnce(t, v)
		wantForgotten(t, v, given)
	})
}

// CB-020: the account whose place another one takes is forgotten by its provider, with what a renewal brings that is under
// way. The same account's older tokens are not touched.
func TestReplacedIsForgotten(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	given := tokensOf(v)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	v.Server.Heal()
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
		t.Fatal(err)
	}
	keepOnce(t, v)
	wantForgotten(t, v, given)
	if !live(v.Server, auth.NewSecret(get(t, v))) {
		t.Error("the new account's token is dead")
	}
}

// CB-020: the provider forgets the answer to a renewal that comes when another account has taken the place.
func TestReplacedWithinRenewal(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	given := tokensOf(v)
	c.forward(9 * time.Minute)
	v.Refreshes = settling{v.Refreshes, func() {
		v.Now = c.Now // the link lives shorter than the token
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
			t.Error(err)
		}
	}}
	row := only(t, v)
	v.Now = func() time.Time { return c.Now().Add(2 * time.Hour) }
	_, _ = v.Get(t.Context(), agent, practiceNeed)
	if now := only(t, v); now.ID != row.ID || now.AccountID != "bob" {
		t.Fatalf("%+v", now)
	}
	keepOnce(t, v)
	revoked := revokedTokens(v)
	given.Range(func(refresh, access any) bool {
		if !revoked[refresh.(string)] || !revoked[access.(string)] {
			t.Error("what the renewal of alice's brought lives on")
		}
		return true
	})
}

// settling lets another account take the place just before a renewal is committed.
type settling struct {
	auth.RefreshStore
	settle func()
}

func (s settling) CommitRefresh(ctx context.Context, c *auth.Connection) error {
	s.settle()
	return s.RefreshStore.CommitRefresh(ctx, c)
}
