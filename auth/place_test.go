package auth_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// CB-020: an account's id is the provider's own, so alice at another instance is another account.
func TestOtherInstance(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	first := get(t, v)
	elsewhere := authtest.NewServer(authtest.Options{Now: v.Now})
	t.Cleanup(elsewhere.Close)
	there := map[string]string{"port": portOf(elsewhere.URL), "api_port": portOf(v.API.URL)}
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, there); err != nil {
		t.Fatal(err)
	}
	v.Server = elsewhere
	connectAt := func(w auth.Wish) string {
		t.Helper()
		link := ask(t, v, agent, w)
		q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{Access: auth.Write, Vars: there})
		if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
			t.Fatal(err)
		}
		return link.RequestID
	}

	renewed := connectAt(auth.Wish{Provider: "practice", Scopes: []string{"repo"}})
	if s := status(t, v, agent, renewed); s.Status != auth.StatusPending || s.Cause != "other_account" {
		t.Errorf("renewed at another instance: %+v", s)
	}
	if err := v.Visit(alices).Settle(t.Context(), renewed, auth.SettleDiscard); err != nil {
		t.Fatal(err)
	}
	connectAt(auth.Wish{Provider: "practice", Account: "work"})
	infos, err := v.List(t.Context(), agent, "")
	if err != nil || len(infos) != 2 {
		t.Fatalf("%+v, %v", infos, err)
	}
	h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: "alice@example.com"})
	if err != nil || h.Released.Value.Reveal() != first {
		t.Errorf("the first connection changed: %v", err)
	}
	connectAt(auth.Wish{Provider: "practice", Account: "again"}) // an account that is here already is renewed
	if infos, err = v.List(t.Context(), agent, ""); err != nil || len(infos) != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// CB-020: the same person's other company, workspace or site does not take the place of a connection unasked, whether the
// callback, the token answer or a look-up names it. Among several sites the one is found again that was there.
func TestOtherPlace(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(v *authtest.Vault, p *providers.Provider)
		at      func(v *authtest.Vault, q url.Values, place string)
		revoked int // tokens of the place that another one took
	}{
		"callback": {func(_ *authtest.Vault, p *providers.Provider) {
			p.OAuth2.Callback.Capture = map[string]providers.Capture{"place": {Param: "realmId", Pattern: "^[a-z]+$"}}
		}, func(_ *authtest.Vault, q url.Values, place string) { q.Set("realmId", place) }, 2},
		"token answer": {func(_ *authtest.Vault, p *providers.Provider) {
			p.OAuth2.Response.Keep = map[string]providers.Keep{"place": {Path: "team.id", Place: true}}
		}, func(v *authtest.Vault, _ url.Values, place string) {
			v.Server.Fault("/token", authtest.With(map[string]any{"team": map[string]any{"id": place}}))
		}, 2},
		"look-up": {func(v *authtest.Vault, p *providers.Provider) {
			p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Store: "place"}}
		}, func(v *authtest.Vault, _ url.Values, place string) {
			v.Server.Fault("GET /sites", authtest.Answer(200, "application/json", `{"values":[{"id":"`+place+`"}]}`))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{})
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write}) // before the definition told places
			redefine(t, v, c, func(p *providers.Provider) { test.change(v, p) })
			in := func(place string, w auth.Wish) string {
				t.Helper()
				w.Provider = "practice"
				link := ask(t, v, agent, w)
				q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{Access: auth.Write, Extra: link.Scopes, Vars: map[string]string{"place": "acme"}})
				test.at(v, q, place)
				if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
					t.Fatal(err)
				}
				return link.RequestID
			}
			s := status(t, v, agent, in("umbrella", auth.Wish{Scopes: []string{"one"}}))
			if s.Status != auth.StatusConnected || only(t, v).Vars["place"] != "umbrella" {
				t.Fatalf("%+v", s)
			}
			other := in("acme", auth.Wish{Scopes: []string{"two"}})
			view, err := v.Visit(alices).Open(t.Context(), other)
			if s := status(t, v, agent, other); s.Cause != "other_account" || err != nil || view.Held.Account != "alice@example.com at acme" {
				t.Errorf("%+v, held as %+v, %v", s, view.Held, err)
			}
			in("acme", auth.Wish{Account: "other books"})
			if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 2 {
				t.Errorf("%+v, %v", infos, err)
			}
			if err := v.Visit(alices).Settle(t.Context(), other, auth.SettleReplace); err != nil {
				t.Fatal(err)
			}
			if s := only(t, v); s.Account != "other books" || s.Vars["place"] != "acme" { // which is that place's own, and goes on
				t.Errorf("left is %s at %s", s.Account, s.Vars["place"])
			}
			if keepOnce(t, v); len(revokedTokens(v)) != test.revoked {
				t.Errorf("%d tokens were revoked", len(revokedTokens(v)))
			}
		})
	}
}

// CB-020: among several sites that one sign-in is good for, the one is found again that the connection had.
func TestSameSiteOfSeveral(t *testing.T) {
	v, _ := ofSites(t)
	sites(v, "acme")
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	sites(v, "umbrella", "acme")
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "alice"); err != nil {
		t.Fatal(err)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected || only(t, v).Vars["site"] != "acme" {
		t.Errorf("%+v", s)
	}
}

// CB-020: most providers give an account a name and no id. Another name is another account, and the same name may be.
func TestOtherName(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.Identity.ID = "" })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	old, link := get(t, v), reconnect(t, v)
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending || s.Cause != "other_account" || get(t, v) != old {
		t.Errorf("signed in as bob for alice: %+v", s)
	}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleDiscard); err != nil {
		t.Fatal(err)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "namesake"}, "alice", auth.Choice{})
	if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// CB-020: the key of another account takes nobody's place unasked; two keys of one account are two connections.
func TestOtherKey(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) {
		p.APIKey.Verify = &providers.Verify{URL: v.Server.URL + "/me", Label: []string{"login"}}
	})
	paste := func(w auth.Wish, login string) string {
		t.Helper()
		w.Provider, w.Method = "practice", auth.MethodAPIKey
		link := ask(t, v, agent, w)
		if _, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{}); err != nil {
			t.Fatal(err)
		}
		v.Server.Fault("GET /me", authtest.Answer(200, "application/json", `{"login":"`+login+`"}`))
		err := v.Visit(alices).Submit(t.Context(), link.RequestID, auth.Input{Fields: map[string]auth.Secret{"key": auth.NewSecret("key-of-" + login)}})
		if err != nil {
			t.Fatal(err)
		}
		return link.RequestID
	}
	die := func() {
		t.Helper()
		row := only(t, v)
		if err := v.Connections.SetState(t.Context(), row.Owner, row.ID, row.Version, auth.NeedsReauth, "refused_by_api"); err != nil {
			t.Fatal(err)
		}
	}
	paste(auth.Wish{}, "alice")
	die()
	if s := status(t, v, agent, paste(auth.Wish{}, "alice")); s.Status != auth.StatusConnected || s.Connection.Account != "alice" {
		t.Errorf("%+v", s)
	}
	die()
	if s := status(t, v, agent, paste(auth.Wish{}, "bob")); s.Status != auth.StatusPending || s.Cause != "other_account" {
		t.Errorf("bob's key for alice's: %+v", s)
	}
	paste(auth.Wish{Account: "read only"}, "alice")
	if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 2 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// BF-046, ID-021: what was allowed to be done with one account is not allowed with another of the same name.
func TestReplacedByNamesake(t *testing.T) {
	users := authtest.DefaultUsers()
	for i := range users {
		users[i].Email = "team@example.com"
	}
	v, _ := connected(t, authtest.Options{Users: users})
	other, third := agent, agent
	other.Client, third.Client = "another-agent", "a-third"
	decide(t, v, askOwner(t, v, third, post("/echo", "x"), auth.RuleNoGrant).RequestID, auth.Decision{Allow: true, Always: true})
	if _, err := v.Call(t.Context(), third, post("/echo", "x")); err != nil {
		t.Fatal(err)
	}
	decide(t, v, askOwner(t, v, other, post("/echo", "x"), auth.RuleNoGrant).RequestID, auth.Decision{Allow: true})
	late := askOwner(t, v, other, post("/echo", "y"), auth.RuleNoGrant)
	link := reconnect(t, v)
	if err := finish(t, v, link, alices, "bob"); err != nil {
		t.Fatal(err)
	}
	if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleReplace); err != nil {
		t.Fatal(err)
	}
	if row := only(t, v); row.Account != "team@example.com" || row.AccountID != "bob" {
		t.Fatalf("%+v", row)
	}
	askOwner(t, v, third, post("/echo", "x"), auth.RuleNoGrant)
	askOwner(t, v, other, post("/echo", "x"), auth.RuleNoGrant)
	if err := v.Desk(auth.Local).Decide(t.Context(), late.RequestID, auth.Decision{Allow: true, Always: true}); !errors.Is(err, auth.ErrConflict) {
		t.Errorf("an approval for alice is good for bob: %v", err)
	}
}
