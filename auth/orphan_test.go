package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
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
				enterCode(t, v, link)
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

// pollConfig is what a child that polls has to know.
type pollConfig struct {
	Site  site
	Ahead time.Duration
}

// pollChild does the background work, and dies where a sign-in is about to be stored.
func pollChild(ctx context.Context, in *json.Decoder) error {
	var config pollConfig
	if err := in.Decode(&config); err != nil {
		return err
	}
	v, _, err := config.Site.open(ctx, newClock(config.Ahead).Now)
	if err != nil {
		return err
	}
	v.Requests = dying{v.Requests}
	return v.KeepOnce(ctx)
}

// CB-017: kill -9 between the answer to a device code and the commit of its sign-in leaves no tokens at the provider that
// nobody has, as TestKillWithinCallback says of a code.
func TestKillWithinPoll(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode})
	enterCode(t, v, link)
	given := tokensOf(v)
	start(t, "poll", pollConfig{Site: siteOf(v), Ahead: 10 * time.Second}).died(t)
	c.forward(3 * time.Minute)
	keepOnce(t, v)
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusFailed || s.Cause != "unknown_outcome" {
		t.Errorf("status %+v", s)
	}
	keepOnce(t, v)
	wantForgotten(t, v, given)
	if n := len(v.Server.Requests("POST /token")); n != 1 {
		t.Errorf("the code was sent %d times", n)
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

// CB-020: an account that has a connection of its own goes on with that when it is to replace another one, which ends: two
// connections of one account would end each other at some providers.
func TestReplacedByOneThatIsHere(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	given := tokensOf(v)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	v.Server.Heal()
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "bob's"}, "bob", auth.Choice{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Account: "alice@example.com", Scopes: []string{"write:repos"}})
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
		t.Fatal(err)
	}
	if row := only(t, v); row.Account != "bob's" || row.AccountID != "bob" {
		t.Errorf("left is %s of %s", row.Account, row.AccountID)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected || s.Connection.Account != "bob's" || s.Connection.Access != auth.Write {
		t.Errorf("%+v", s)
	}
	c.forward(30 * time.Minute)
	keepOnce(t, v)
	wantForgotten(t, v, given)
	if !live(v.Server, auth.NewSecret(get(t, v))) {
		t.Error("the token of the account that stays is dead")
	}
	if n := len(events(t, v, "revoke")); n != 1 {
		t.Errorf("%d ends are on record", n)
	}
}

// forgetful is a list of revocations that takes no new ones.
type forgetful struct{ auth.RevocationStore }

func (forgetful) AddRevocation(context.Context, auth.Revocation) error {
	return errors.New("no room")
}

// CB-020: a sign-in that took a place is in use, also when what was in that place could not be put on the list of revocations.
func TestReplacedAndNotForgotten(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	v.Revocations = forgetful{v.Revocations}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err == nil {
		t.Error("nobody is told")
	}
	c.forward(30 * time.Minute)
	keepOnce(t, v)
	if row := only(t, v); row.AccountID != "bob" || len(revokedTokens(v)) != 0 || !live(v.Server, auth.NewSecret(get(t, v))) {
		t.Errorf("%s has the place; %d tokens were revoked", row.AccountID, len(revokedTokens(v)))
	}
}

// CB-020: an account that was never named may be the one that takes its place, and a provider may end with its old token the new
// one too. It is not told.
func TestReplacedUnnamedStays(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Scopes.Default, p.OAuth2.Scopes.Identity = []string{"read"}, nil }) // no ID token
	v.Server.Fault("/userinfo", authtest.Busy(503, ""))
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "alice"); err != nil {
		t.Fatal(err)
	}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
		t.Fatal(err)
	}
	keepOnce(t, v)
	if row := only(t, v); row.AccountID != "alice" || len(revokedTokens(v)) != 0 {
		t.Errorf("%q has the place; %d tokens were revoked", row.AccountID, len(revokedTokens(v)))
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

// CB-017: a token that comes beside the one that is kept, as that of the person beside that of Slack's bot, does not live on at
// the provider either; unless another connection of the owner may hold the same one.
func TestTokenBesideIsForgotten(t *testing.T) {
	beside := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		authtest.With(map[string]any{"authed_user": map[string]any{"access_token": "canary-person-access", "refresh_token": "canary-person-refresh"}})(w, r, next)
	}
	two := func(p *providers.Provider) {
		p.OAuth2.Response.AccessToken = []string{"access_token", "authed_user.access_token"}
		p.OAuth2.Response.RefreshToken = []string{"refresh_token", "authed_user.refresh_token"}
	}
	forgotten := func(v *authtest.Vault) string {
		return strings.Join(slices.Sorted(maps.Keys(revokedTokens(v))), " ")
	}
	const both = "canary-person-access canary-person-refresh"
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, two)
	v.Server.FaultAlways("/token", beside)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	keepOnce(t, v)
	if got := forgotten(v); got != both {
		t.Errorf("stored: revoked are %q", got)
	}
	wantEvent(t, v, agent.Owner, "revoke.done")
	if _, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil {
		t.Errorf("the kept token: %v", err)
	}
	v.Server.Forget()
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "second"}, "bob", auth.Choice{})
	keepOnce(t, v)
	if got := forgotten(v); got != "" {
		t.Errorf("beside another connection: revoked are %q", got)
	}

	v, c = newClockedVault(t, authtest.Options{})
	redefine(t, v, c, two)
	v.Server.FaultAlways("/token", beside)
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode})
	enterCode(t, v, link)
	c.forward(10 * time.Second)
	keepOnce(t, v)
	keepOnce(t, v)
	if got := forgotten(v); got != both {
		t.Errorf("by device: revoked are %q", got)
	}

	v, c = newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) {
		two(p)
		p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Store: "site"}}
	})
	v.Server.FaultAlways("/token", beside)
	v.Server.FaultAlways("GET /sites", authtest.Busy(503, ""))
	if err := finish(t, v, ask(t, v, agent, auth.Wish{Provider: "practice"}), alices, "alice"); err == nil {
		t.Fatal("it works")
	}
	keepOnce(t, v)
	if got := forgotten(v); !strings.Contains(got, both) || len(revokedTokens(v)) != 4 {
		t.Errorf("refused: revoked are %d tokens", len(revokedTokens(v)))
	}
}
