package auth_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// redefine opens the store with a newer release, so to speak, of the practice definition.
func redefine(t *testing.T, v *authtest.Vault, c *clock, change func(*providers.Provider)) {
	t.Helper()
	reopen(t, v, siteOf(v), c.Now)
	p, err := v.Catalog.Get("practice")
	if err != nil {
		t.Fatal(err)
	}
	change(p) // this catalogue was loaded for v alone
}

// PD-001: a definition that sends credentials elsewhere gets neither the refresh token, nor the
// client's secret, nor a token to revoke. The person has to sign in again, and the app has to
// be registered again.
func TestDefinitionMovesTokenEndpoint(t *testing.T) {
	thief := authtest.NewServer(authtest.Options{})
	defer thief.Close()
	v, c := newClockedVault(t, authtest.Options{})
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", auth.NewSecret("basic secret/+:%&="), nil); err != nil {
		t.Fatal(err)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	redefine(t, v, c, func(p *providers.Provider) {
		p.OAuth2.Token.URL = thief.URL + "/token"
		p.OAuth2.Revoke.URL = thief.URL + "/revoke"
	})

	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.ReasonReauth)
	c.forward(2 * time.Hour)
	_, err = v.Get(t.Context(), agent, practiceNeed)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "definition_changed")

	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	if _, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{}); !errors.Is(err, auth.ErrNoApp) {
		t.Errorf("Confirm with the old app: %v", err)
	}
	ended, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"})
	if err != nil || ended.Connections[0].AtProvider != auth.AtProviderUnknown {
		t.Errorf("Revoke: %+v, %v", ended, err)
	}
	c.forward(time.Hour)
	keepOnce(t, v)
	if n := len(thief.Requests("")); n != 0 {
		t.Errorf("%d requests to the new place", n)
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// PD-007: a definition that adds a host does not widen the connections that exist.
func TestDefinitionWidensHosts(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	other := authtest.NewAPI(v.Server)
	defer other.Close()
	redefine(t, v, c, func(p *providers.Provider) {
		p.API.Hosts = append(p.API.Hosts, "127.0.0.1:"+portOf(other.URL))
	})
	call := auth.Call{Provider: "practice", URL: other.URL + "/api/me"}
	if _, err := v.Call(t.Context(), agent, call); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("Call to the added host: %v", err)
	}
	if n := len(other.Requests("")); n != 0 {
		t.Errorf("%d requests reached it", n)
	}
	get(t, v) // the rest works as before
	if err := finish(t, v, reconnect(t, v), alices, "alice"); err != nil {
		t.Fatal(err)
	}
	if resp, err := v.Call(t.Context(), agent, call); err != nil || resp.Status != http.StatusOK {
		t.Errorf("Call after the owner signed in again: %+v, %v", resp, err)
	}
}
