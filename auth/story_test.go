package auth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

var agent = auth.Caller{Owner: auth.Local, Client: "test-agent"}

// browserKey is what the page makes of a flow cookie.
func browserKey(cookie string) []byte {
	sum := sha256.Sum256([]byte(cookie))
	return sum[:]
}

// connect plays the person: confirms on the page, signs in at the provider, comes back.
func connect(t *testing.T, v *authtest.Vault, c auth.Caller, w auth.Wish, user string, choice auth.Choice) *auth.Status {
	t.Helper()
	_, err := v.Request(t.Context(), c, w)
	var link *auth.AuthRequired
	if !errors.As(err, &link) {
		t.Fatalf("Request: %v, want auth_required", err)
	}
	person := v.Visit(auth.Visitor{Browser: browserKey("alice's browser")})
	step, err := person.Confirm(t.Context(), link.RequestID, choice)
	if err != nil {
		t.Fatal(err)
	}
	back, err := v.Server.Approve(t.Context(), step.Redirect, user)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := person.Callback(t.Context(), w.Provider, query(t, back)); err != nil {
		t.Fatal(err)
	}
	s, err := v.Wait(t.Context(), c, link.RequestID, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func query(t *testing.T, raw string) url.Values {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// The whole product: ask, sign in, call, renew, revoke, sign in again.
func TestStory(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	s := connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	if s.Status != auth.StatusConnected || s.Connection.Account != "alice@example.com" {
		t.Fatalf("after the sign-in: %+v", s)
	}
	call := auth.Call{Provider: "practice", Path: "/me"}
	resp, err := v.Call(t.Context(), agent, call)
	if err != nil || resp.Status != 200 || !strings.Contains(string(resp.Body), `"login":"alice"`) {
		t.Fatalf("Call: %+v, %v", resp, err)
	}
	v.API.Fault("/api/me", authtest.Unauthorized)
	if resp, err = v.Call(t.Context(), agent, call); err != nil || resp.Status != 200 {
		t.Fatalf("Call after a 401: %+v, %v", resp, err)
	}
	if n := len(v.Server.Requests("/token")); n != 2 {
		t.Errorf("%d token requests, want the code and one refresh", n)
	}
	ended, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"})
	if err != nil || ended.Connections[0].AtProvider != auth.AtProviderRevoked {
		t.Fatalf("Revoke: %+v, %v", ended, err)
	}
	var link *auth.AuthRequired
	if _, err := v.Call(t.Context(), agent, call); !errors.As(err, &link) {
		t.Fatalf("Call after Revoke: %v, want auth_required", err)
	}
	if s := connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write}); s.Connection.Access != auth.Write {
		t.Fatalf("after the second sign-in: %+v", s.Connection)
	}
	report, err := v.Audit.Verify(context.Background())
	if err != nil {
		t.Fatalf("audit: %+v, %v", report, err)
	}
}
