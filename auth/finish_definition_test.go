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

// PD-001: a definition that sends credentials elsewhere, by whatever endpoint, gets neither the refresh token, nor the
// client's secret, nor a token to revoke. The person has to sign in again, and the app has to
// be registered again.
func TestDefinitionMovesEndpoints(t *testing.T) {
	for name, move := range map[string]func(o *providers.OAuth2, to string){
		"token and revoke": func(o *providers.OAuth2, to string) { o.Token.URL, o.Revoke.URL = to+"/token", to+"/revoke" },
		"token":            func(o *providers.OAuth2, to string) { o.Token.URL = to + "/token" },
		"issuer":           func(o *providers.OAuth2, to string) { o.Issuer = to },
		"refresh":          func(o *providers.OAuth2, to string) { o.Refresh.URL = to + "/token" },
		"revoke":           func(o *providers.OAuth2, to string) { o.Revoke.URL = to + "/revoke" },
		"exchange":         func(o *providers.OAuth2, to string) { o.Exchange = &providers.Endpoint{URL: to + "/token"} },
		"pushed requests":  func(o *providers.OAuth2, to string) { o.PAR = &providers.Endpoint{URL: to + "/par"} },
		"device":           func(o *providers.OAuth2, to string) { o.Device = &providers.Endpoint{URL: to + "/device"} },
	} {
		t.Run(name, func(t *testing.T) {
			thief := authtest.NewServer(authtest.Options{})
			defer thief.Close()
			v, c := newClockedVault(t, authtest.Options{})
			if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", auth.NewSecret("basic secret/+:%&="), nil); err != nil {
				t.Fatal(err)
			}
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
			redefine(t, v, c, func(p *providers.Provider) { move(p.OAuth2, thief.URL) })

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
		})
	}
}

// PD-001, PD-007: a key that was pasted for some hosts is not sent to others to see whether it still works, and a
// definition that no longer takes keys breaks nothing.
func TestDefinitionMovesKey(t *testing.T) {
	const send = `{"in":"header","name":"X-Api-Key","format":"${key}"}`
	v := withKey(t, send, "", "canary-key-of-old")
	thief := authtest.NewAPI(nil)
	t.Cleanup(thief.Close)
	c := newClock(0)
	renew := func(change func(*providers.Provider)) {
		reopen(t, v, keyedSite(t, v, send, ""), c.Now)
		p, err := v.Catalog.Get("keyed")
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		c.forward(24 * time.Hour)
		v.API.Forget()
		keepOnce(t, v)
	}
	renew(func(*providers.Provider) {})
	if n := len(v.API.Requests("/api/me")); n != 1 {
		t.Fatalf("the key was tried %d times", n)
	}
	renew(func(p *providers.Provider) {
		p.API.Hosts = append(p.API.Hosts, "127.0.0.1:"+portOf(thief.URL))
		p.APIKey.Verify.URL = thief.URL + "/api/me"
	})
	if n := len(thief.Requests("")); n != 0 {
		t.Errorf("the key was tried %d times at the added host", n)
	}
	own := auth.Call{Provider: "keyed", URL: v.API.URL + "/api/me"}
	if resp := call(t, v, own); resp.Status != http.StatusOK {
		t.Errorf("%+v", resp)
	}
	renew(func(p *providers.Provider) { p.APIKey = nil })
	if resp, err := v.Call(t.Context(), agent, own); err == nil {
		t.Errorf("called without a way to carry the key: %+v", resp)
	}
	if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 1 || infos[0].State != auth.Active {
		t.Errorf("%+v, %v", infos, err)
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

// PD-001: nor does it get those of a sign-in that waits for the person's word, for which the app is registered again.
func TestDefinitionMovesUnderASignIn(t *testing.T) {
	for _, how := range []string{auth.SettleAdd, auth.SettleReplace} {
		thief := authtest.NewServer(authtest.Options{})
		defer thief.Close()
		v, c := connected(t, authtest.Options{})
		link := reconnect(t, v)
		if err := finish(t, v, link, alices, "bob"); err != nil {
			t.Fatal(err)
		}
		redefine(t, v, c, func(p *providers.Provider) {
			p.OAuth2.Token.URL, p.OAuth2.Revoke.URL = thief.URL+"/token", thief.URL+"/revoke"
		})
		err := v.Visit(alices).Settle(t.Context(), link.RequestID, how)
		wantErr(t, how, err, auth.ErrConfig)
		if how == auth.SettleReplace {
			if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleDiscard); err != nil {
				t.Errorf("discarding it: %v", err)
			}
		}
		if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
			t.Fatal(err)
		}
		c.forward(2 * time.Hour)
		for _, account := range []string{"alice@example.com", "bob@example.com"} {
			_, _ = v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: account})
		}
		keepOnce(t, v)
		if n := len(thief.Requests("")); n != 0 {
			t.Errorf("%s: %d requests to the new place", how, n)
		}
	}
}
