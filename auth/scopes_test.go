package auth_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
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
