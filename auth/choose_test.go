package auth_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// sites has the provider list these sites, id=name, to every sign-in from here on.
func sites(v *authtest.Vault, all ...string) {
	var list struct {
		Values []map[string]string `json:"values"`
	}
	for _, site := range all {
		id, name, _ := strings.Cut(site, "=")
		list.Values = append(list.Values, map[string]string{"id": id, "name": name})
	}
	answer, _ := json.Marshal(list)
	v.Server.FaultAlways("GET /sites", authtest.Answer(200, "application/json", string(answer)))
}

// within has the definition look sites up that lie within hosts; none: anywhere.
func within(t *testing.T, v *authtest.Vault, c *clock, hosts ...string) {
	t.Helper()
	redefine(t, v, c, func(p *providers.Provider) {
		p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Label: "name", Store: "site", Hosts: hosts}}
	})
}

// ofSites is a vault whose provider has accounts with several sites.
func ofSites(t *testing.T) (*authtest.Vault, *clock) {
	t.Helper()
	v, c := newClockedVault(t, authtest.Options{})
	within(t, v, c)
	sites(v, "acme=Acme Inc.", "umbrella=Umbrella")
	return v, c
}

// at says for which site each connection is.
func at(t *testing.T, v *authtest.Vault) string {
	t.Helper()
	all, err := v.Connections.Connections(t.Context(), auth.Local, "practice", "")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range all {
		said = append(said, c.Account+": "+c.Vars["site"])
	}
	slices.Sort(said)
	return strings.Join(said, ", ")
}

// CB-020: which of several sites a sign-in is for is a question to the person, not a guess; nothing is connected before the answer.
func TestChooseSite(t *testing.T) {
	v, _ := ofSites(t)
	begin := func(w auth.Wish) string {
		t.Helper()
		w.Provider = "practice"
		link := ask(t, v, agent, w)
		if err := finish(t, v, link, alices, "alice"); err != nil {
			t.Fatal(err)
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusPending || s.Cause != "choose_place" {
			t.Errorf("before anybody chose: %+v", s)
		}
		return link.RequestID
	}
	choose := func(id, site string) {
		t.Helper()
		if err := v.Visit(alices).Choose(t.Context(), id, site); err != nil {
			t.Error(err)
		}
	}
	id := begin(auth.Wish{})
	if got := at(t, v); got != "" {
		t.Errorf("connected already: %s", got)
	}
	view, err := v.Visit(alices).Open(t.Context(), id)
	if err != nil || fmt.Sprint(view.Held.Places.List) != "[{acme Acme Inc.} {umbrella Umbrella}]" || view.Held.Account != "alice@example.com" || view.Request.Private != nil {
		t.Fatalf("the page knows %+v, %v", view.Held, err)
	}
	stranger := v.Visit(auth.Visitor{Browser: browserKey("another browser")})
	wantErr(t, "a stranger", stranger.Choose(t.Context(), id, "acme"), auth.ErrNotYours)
	wantErr(t, "a site that is not listed", v.Visit(alices).Choose(t.Context(), id, "evil"), auth.ErrInvalid)
	wantErr(t, "none", v.Visit(alices).Choose(t.Context(), id, ""), auth.ErrInvalid)
	wantErr(t, "the other question", v.Visit(alices).Settle(t.Context(), id, auth.SettleAdd), auth.ErrInvalid)
	choose(id, "umbrella")
	if s := status(t, v, agent, id); s.Status != auth.StatusConnected || s.Connection.Account != "alice@example.com at Umbrella" {
		t.Errorf("%+v", s)
	}
	wantErr(t, "once more", v.Visit(alices).Choose(t.Context(), id, "acme"), auth.ErrUsed)

	choose(begin(auth.Wish{Account: "books"}), "acme")
	choose(begin(auth.Wish{Account: "again"}), "acme") // which is here already
	if got := at(t, v); got != "alice@example.com at Umbrella: umbrella, books: acme" {
		t.Errorf("connected: %s", got)
	}
	if keepOnce(t, v); len(revokedTokens(v)) != 0 {
		t.Errorf("%d tokens were revoked", len(revokedTokens(v)))
	}
}

// CB-020: a connection whose site the person has left does not become one of another site unasked.
func TestChooseOtherSite(t *testing.T) {
	v, c := ofSites(t)
	sites(v, "umbrella=Umbrella")
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	sites(v, "acme=Acme Inc.", "initech=Initech")
	renewed := func() string {
		t.Helper()
		link := reconnect(t, v)
		if err := finish(t, v, link, alices, "alice"); err != nil {
			t.Fatal(err)
		}
		if err := v.Visit(alices).Choose(t.Context(), link.RequestID, "acme"); err != nil {
			t.Fatal(err)
		}
		view, err := v.Visit(alices).Open(t.Context(), link.RequestID)
		if err != nil || view.Request.Cause != auth.HeldOther || view.Held.Account != "alice@example.com at Acme Inc." || view.Held.Places != nil {
			t.Errorf("held as %+v, %v", view.Held, err)
		}
		if got := at(t, v); got != "alice@example.com: umbrella" {
			t.Errorf("connected: %s", got)
		}
		return link.RequestID
	}
	if err := v.Visit(alices).Settle(t.Context(), renewed(), auth.SettleDiscard); err != nil {
		t.Fatal(err)
	}
	if keepOnce(t, v); len(revokedTokens(v)) != 2 {
		t.Errorf("%d tokens were revoked", len(revokedTokens(v)))
	}
	if err := v.Visit(alices).Settle(t.Context(), renewed(), auth.SettleReplace); err != nil {
		t.Fatal(err)
	}
	if got := at(t, v); got != "alice@example.com at Acme Inc.: acme" {
		t.Errorf("connected: %s", got)
	}
	c.forward(time.Hour) // what was held twice is kept all the same
	if keepOnce(t, v); len(revokedTokens(v)) != 2 {
		t.Errorf("%d tokens were revoked", len(revokedTokens(v)))
	}
}

// CB-024: a sign-in for which nobody chose a site is revoked: when it is discarded, cancelled, or too late.
func TestNoSiteChosen(t *testing.T) {
	for name, end := range map[string]func(v *authtest.Vault, c *clock, id string) error{
		"discarded": func(v *authtest.Vault, _ *clock, id string) error {
			return v.Visit(alices).Settle(t.Context(), id, auth.SettleDiscard)
		},
		"cancelled": func(v *authtest.Vault, _ *clock, id string) error {
			_, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: id})
			return err
		},
		"expired": func(_ *authtest.Vault, c *clock, _ string) error {
			c.forward(2 * time.Hour)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := ofSites(t)
			link := ask(t, v, agent, auth.Wish{Provider: "practice"})
			if err := finish(t, v, link, alices, "alice"); err != nil {
				t.Fatal(err)
			}
			if err := end(v, c, link.RequestID); err != nil {
				t.Fatal(err)
			}
			if keepOnce(t, v); len(revokedTokens(v)) != 2 || at(t, v) != "" {
				t.Errorf("%d tokens were revoked; connected: %s", len(revokedTokens(v)), at(t, v))
			}
			if err := v.Visit(alices).Choose(t.Context(), link.RequestID, "acme"); err == nil {
				t.Error("a site was chosen after the end")
			}
		})
	}
}

// ID-012: by device code on a server of many users, the person says first that the account is theirs, and then which site it is.
func TestChooseSiteOfDevice(t *testing.T) {
	v, c := manyUsers(t)
	v.DeviceFlow = true
	p, err := v.Catalog.Get("practice")
	if err != nil {
		t.Fatal(err)
	}
	p.OAuth2.After = []providers.After{{Get: v.Server.URL + "/sites", List: "values", Value: "id", Store: "site"}}
	sites(v, "acme", "umbrella")
	begin := func(w auth.Wish, user string) (id string) {
		t.Helper()
		w.Provider, w.Method = "practice", auth.MethodDeviceCode
		link := ask(t, v, ann, w)
		step, err := v.Visit(annHere).Confirm(t.Context(), link.RequestID, auth.Choice{})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Server.ApproveDevice(t.Context(), step.UserCode, user); err != nil {
			t.Fatal(err)
		}
		c.forward(10 * time.Second)
		keepOnce(t, v)
		return link.RequestID
	}
	settle := func(id, how string) {
		t.Helper()
		if s := status(t, v, ann, id); s.Status != auth.StatusPending || s.Cause != "confirm_account" {
			t.Errorf("before %s: %+v", how, s)
		}
		if err := v.Visit(annHere).Settle(t.Context(), id, how); err != nil {
			t.Fatal(err)
		}
	}
	choose := func(id, site string) {
		t.Helper()
		if s := status(t, v, ann, id); s.Status != auth.StatusPending || s.Cause != "choose_place" {
			t.Errorf("before %s: %+v", site, s)
		}
		if err := v.Visit(annHere).Choose(t.Context(), id, site); err != nil {
			t.Fatal(err)
		}
	}
	connected := func(id, account string) {
		t.Helper()
		all, err := v.List(t.Context(), ann, "")
		if s := status(t, v, ann, id); s.Status != auth.StatusConnected || s.Connection.Account != account || len(all) != 1 || err != nil {
			t.Errorf("%+v beside %d, %v", s, len(all)-1, err)
		}
	}
	id := begin(auth.Wish{}, "alice")
	wantErr(t, "the second question first", v.Visit(annHere).Choose(t.Context(), id, "acme"), auth.ErrInvalid)
	settle(id, auth.SettleAdd)
	choose(id, "acme")
	connected(id, "alice@example.com at acme")

	sites(v, "umbrella", "initech") // which is where bob works
	id = begin(auth.Wish{Account: "alice@example.com at acme", Scopes: []string{"repo"}}, "bob")
	settle(id, auth.SettleReplace)
	choose(id, "umbrella")
	settle(id, auth.SettleReplace) // now that it is known what is replaced with what
	connected(id, "bob@example.com at umbrella")
}

// What a provider lists is bounded, told once, fit to be shown, and nothing outside the definition's hosts; a site that was there
// before is found wherever it stands.
func TestListedSites(t *testing.T) {
	v, c := ofSites(t)
	list := func() *auth.Places {
		t.Helper()
		link := ask(t, v, agent, auth.Wish{Provider: "practice", Account: "another"})
		if err := finish(t, v, link, alices, "alice"); err != nil {
			t.Fatal(err)
		}
		view, err := v.Visit(alices).Open(t.Context(), link.RequestID)
		if err != nil || view.Held == nil {
			t.Fatalf("not held: %+v, %v", view, err)
		}
		if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleDiscard); err != nil {
			t.Fatal(err)
		}
		return view.Held.Places
	}
	sites(v, "a=", "b=two\nlines \x1b[2J[x](https://evil.example)", "a=again", "=none", "c\x00=x")
	if got := list(); fmt.Sprintf("%q", got.List) != `[{"a" "a"} {"b" "two lines xhttps:evil.example"}]` || got.More != 0 {
		t.Errorf("listed: %q", got.List)
	}
	within(t, v, c, "*.example.com")
	sites(v, "https://a.example.com=A", "https://evil.example=Evil", "https://b.example.com=B")
	if got := list(); len(got.List) != 2 || got.List[1].Value != "https://b.example.com" {
		t.Errorf("listed: %q", got.List)
	}
	within(t, v, c)
	many := make([]string, 250)
	for i := range many {
		many[i] = fmt.Sprint("site", i, "=", i)
	}
	sites(v, many...)
	if got := list(); len(got.List) != 200 || got.More != 50 {
		t.Errorf("%d listed, and %d more", len(got.List), got.More)
	}
	sites(v, "site240=240")
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	sites(v, many...)
	if err := finish(t, v, reconnect(t, v), alices, "alice"); err != nil {
		t.Fatal(err)
	}
	if only(t, v).Version != 2 || at(t, v) != "alice@example.com: site240" {
		t.Errorf("connected: %s", at(t, v))
	}
}
