package auth_test

import (
	"errors"
	"slices"
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
