package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// PI-004: scopes that an agent names on a connection that is there are off until the
// person ticks them, like those of a first sign-in.
func TestMoreScopesAreOffUntilTicked(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	wish := auth.Wish{Provider: "practice", Scopes: []string{"repo"}}
	_, err := v.Request(t.Context(), agent, wish)
	var link *auth.AuthRequired
	if !errors.As(err, &link) || link.Reason != auth.InsufficientScope {
		t.Fatalf("Request: %v, want insufficient_scope", err)
	}
	view, err := v.Visit(auth.Visitor{}).Open(t.Context(), link.RequestID)
	if err != nil || !slices.Equal(view.Extra, []string{"repo"}) {
		t.Fatalf("the page offers %v, %v; want repo, to be ticked", view, err)
	}
	if s := connect(t, v, agent, wish, "alice", auth.Choice{}); slices.Contains(s.Connection.Scopes, "repo") {
		t.Errorf("without a tick the connection has %v", s.Connection.Scopes)
	}
	if s := connect(t, v, agent, wish, "alice", auth.Choice{Extra: []string{"repo"}}); !slices.Contains(s.Connection.Scopes, "repo") {
		t.Errorf("with a tick the connection has %v", s.Connection.Scopes)
	}
}

// CB-020: whatever scopes an agent names, the provider is asked whose account it is (OpenID Connect Core section 5.3: userinfo needs
// openid), so that a sign-in for more scopes as somebody else is noticed.
func TestNamedScopesNameTheAccount(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	var granted []string
	v.Server.FaultAlways("/userinfo", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !slices.Contains(granted, "openid") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	in := func(user string, scopes ...string) *auth.AuthRequired {
		t.Helper()
		link := ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: scopes})
		if view, err := v.Visit(auth.Visitor{}).Open(t.Context(), link.RequestID); err != nil || !slices.Contains(view.Request.Scopes, "openid") || slices.Contains(view.Extra, "openid") {
			t.Errorf("the page shows %v, of which %v are off; %v", view.Request.Scopes, view.Extra, err)
		}
		step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{Extra: scopes})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(step.Redirect)
		if err != nil {
			t.Fatal(err)
		}
		granted = strings.Fields(u.Query().Get("scope"))
		back, err := v.Server.Approve(t.Context(), step.Redirect, user)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Visit(alices).Callback(t.Context(), "practice", query(t, back)); err != nil {
			t.Fatal(err)
		}
		return link
	}
	in("alice", "mail.readonly")
	if c := only(t, v); c.AccountID != "alice" || c.Account != "alice@example.com" {
		t.Errorf("connected as %q (%q)", c.Account, c.AccountID)
	}
	link := in("bob", "mail.readonly", "calendar")
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending || s.Cause != "other_account" {
		t.Errorf("signed in as bob: %+v", s)
	}
}

// An app's own token is nobody's: scopes that name a person are not asked for with it.
func TestAppAsksForNoIdentity(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", auth.NewSecret("basic secret/+:%&="), nil); err != nil {
		t.Fatal(err)
	}
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: auth.MethodClientCredentials, Scopes: []string{"read"}})
	if _, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{Extra: link.Scopes}); err != nil {
		t.Fatal(err)
	}
	if sent := v.Server.Requests("POST /token")[0].Form.Get("scope"); strings.Contains(sent, "openid") || strings.Contains(sent, "email") {
		t.Errorf("asked for %q", sent)
	}
}

// granting lets the server name other scopes than were asked for.
func granting(v *authtest.Vault, scope string) {
	v.Server.FaultAlways("/token", authtest.With(map[string]any{"scope": scope}))
}

// A provider that spells the scopes of an identity otherwise does not send the person there again and again: Google
// answers email with an address.
func TestScopesOfOtherSpelling(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	granting(v, "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/userinfo.profile")
	wish := auth.Wish{Provider: "practice", Scopes: []string{"openid", "email", "profile"}}
	s := connect(t, v, agent, wish, "alice", auth.Choice{Extra: wish.Scopes})
	if len(s.Connection.Missing) > 0 {
		t.Errorf("missing %v", s.Connection.Missing)
	}
	if info, err := v.Request(t.Context(), agent, wish); err != nil || len(info.Missing) > 0 {
		t.Errorf("again: %+v, %v", info, err)
	}
}

// What the provider does not give although it was asked is told as missing, and asked for again only with something
// else, or when a sign-in is no longer known.
func TestScopesThatAreNotGiven(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	granting(v, "openid email read")
	wish := auth.Wish{Provider: "practice", Scopes: []string{"read", "repo"}}
	s := connect(t, v, agent, wish, "alice", auth.Choice{Extra: wish.Scopes})
	if !slices.Equal(s.Connection.Missing, []string{"repo"}) {
		t.Errorf("missing %v", s.Connection.Missing)
	}
	if info, err := v.Request(t.Context(), agent, wish); err != nil || !slices.Equal(info.Missing, []string{"repo"}) {
		t.Errorf("Request: %+v, %v", info, err)
	}
	h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Scopes: wish.Scopes})
	if err != nil || !slices.Equal(h.Missing, []string{"repo"}) {
		t.Errorf("Get: %+v, %v", h, err)
	}
	v.API.FaultAlways("/api/echo", authtest.InsufficientScope("repo"))
	if resp := call(t, v, auth.Call{Path: "/echo"}); resp.Status != http.StatusForbidden {
		t.Errorf("Call: %+v", resp)
	}
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo", "admin"}})
	if link.Reason != auth.InsufficientScope || !slices.Contains(link.Scopes, "repo") {
		t.Errorf("%+v", link)
	}
	c.forward(8 * 24 * time.Hour)
	keepOnce(t, v)
	ask(t, v, agent, wish)
}

// CB-020: a sign-in of another client to an account that is connected, with fewer scopes, waits for the person's word: it
// would take from the first client what it has.
func TestSignInWithFewerScopes(t *testing.T) {
	t.Run("whatever it is called", func(t *testing.T) {
		v := authtest.NewVault(t, authtest.Options{})
		connect(t, v, agent, auth.Wish{Provider: "practice", Account: "books", Scopes: []string{"repo"}}, "alice", auth.Choice{Extra: []string{"repo"}})
		link := ask(t, v, agent, auth.Wish{Provider: "practice", Account: "work"})
		if err := finish(t, v, link, alices, "alice"); err != nil {
			t.Fatal(err)
		}
		view, err := v.Visit(alices).Open(t.Context(), link.RequestID)
		if err != nil || view.Held == nil || view.Held.Account != "alice@example.com without repo" || view.Held.Connection != "books" {
			t.Fatalf("held as %+v, %v", view.Held, err)
		}
		revoke(t, v)
		if view, err = v.Visit(alices).Open(t.Context(), link.RequestID); err != nil || view.Held.Connection != "" {
			t.Errorf("the place of one that is revoked is offered: %+v, %v", view.Held, err)
		}
	})
	for how, want := range map[string][]string{auth.SettleAdd: {"alice@example.com", "alice@example.com 2"}, auth.SettleReplace: {"alice@example.com"}} {
		t.Run(how, func(t *testing.T) {
			v := authtest.NewVault(t, authtest.Options{})
			connect(t, v, agent, auth.Wish{Provider: "practice", Scopes: []string{"repo"}}, "alice", auth.Choice{Extra: []string{"repo"}})
			other := agent
			other.Client = "another-agent"
			link := ask(t, v, other, auth.Wish{Provider: "practice", Account: "work"})
			if err := finish(t, v, link, alices, "alice"); err != nil {
				t.Fatal(err)
			}
			view, err := v.Visit(alices).Open(t.Context(), link.RequestID)
			if s := status(t, v, other, link.RequestID); s.Cause != "other_account" || err != nil || view.Held.Account != "alice@example.com without repo" || view.Held.Connection != "alice@example.com" {
				t.Errorf("%+v, held as %q, %v", s, view.Request.Cause, err)
			}
			if held := only(t, v).Scopes; !slices.Contains(held, "repo") {
				t.Errorf("left with %v", held)
			}
			if err := v.Visit(alices).Settle(t.Context(), link.RequestID, how); err != nil {
				t.Fatal(err)
			}
			infos, err := v.List(t.Context(), agent, "")
			var labels []string
			for _, i := range infos {
				labels = append(labels, i.Account)
			}
			if err != nil || !slices.Equal(labels, want) {
				t.Errorf("%v, %v", labels, err)
			}
		})
	}
}

// Slack has scopes of the person beside those of the app, and names what it gave of them without our prefix.
func TestScopesUnderPrefix(t *testing.T) {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	slack, err := catalog.Get("slack")
	if err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[string][]string{
		`{"ok":true,"authed_user":{"scope":"search:read,users:read","access_token":"xoxp-1","token_type":"user"}}`:                                  {"user:search:read", "user:users:read"},
		`{"ok":true,"scope":"","authed_user":{"scope":"search:read","access_token":"xoxp-1","token_type":"user"}}`:                                  {"user:search:read"},
		`{"ok":true,"access_token":"xoxb-1","token_type":"bot","scope":"chat:write","authed_user":{"scope":"search:read","access_token":"xoxp-1"}}`: {"chat:write"}, // the token is the app's
	} {
		b := newBench(t, authtest.Options{})
		b.def.Scopes, b.def.Response = slack.OAuth2.Scopes, slack.OAuth2.Response
		b.flow.Request.Scopes = []string{"user:search:read"}
		b.Fault("POST /token", authtest.Answer(200, "application/json", answer))
		if out := b.signIn(t); !slices.Equal(out.Scopes, want) {
			t.Errorf("%s: %v, want %v", answer, out.Scopes, want)
		}
	}
}
