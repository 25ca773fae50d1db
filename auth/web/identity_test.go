package web_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/web"
)

var (
	ann    = auth.Owner{Org: "acme", User: "ann"}
	mallet = auth.Owner{Org: "acme", User: "mallet"}
)

// tenants is a house of many users: whoever opens a page has signed in.
func tenants(t *testing.T) *house {
	h := open(t, func(v *authtest.Vault, o *web.Options) {
		v.Vault.Identified = true
		o.Local, o.LoginURL = false, "/sign-in"
	})
	for _, o := range []auth.Owner{ann, mallet} {
		if err := h.Desk(o).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// ID-001: the attacker starts, the victim finishes.
func TestForeignCallback(t *testing.T) {
	h := tenants(t)
	attacker := h.person().signIn("acme/mallet")
	id, back := h.start(attacker, auth.Caller{Owner: mallet, Client: "bot", Verified: true})
	victim := h.person().signIn("acme/ann")
	victim.get(back)
	victim.want(403)
	if n := h.tokenRequests(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if s := h.status(auth.Caller{Owner: mallet, Client: "bot"}, id); s.Status != auth.StatusPending {
		t.Errorf("the flow is %s", s.Status)
	}
	if !h.happened(mallet, "identity_mismatch") {
		t.Error("it is not on record")
	}
}

// ID-002: the victim opens the attacker's link.
func TestForeignLink(t *testing.T) {
	h := tenants(t)
	id := h.ask(auth.Caller{Owner: mallet, Client: "bot", Verified: true}, auth.Wish{}).RequestID
	victim := h.person().signIn("acme/ann")
	victim.get("/c/" + id)
	victim.want(403, "belongs to another account")
	own := h.ask(auth.Caller{Owner: ann, Client: "bot", Verified: true}, auth.Wish{}).RequestID
	victim.get("/c/" + own)
	victim.want(200, "acme/ann")
	victim.post("/c/"+id, url.Values{"do": {"connect"}})
	victim.want(403)
	if victim.target() != "" || !h.happened(mallet, "identity_mismatch") {
		t.Error("it went on, or is not on record")
	}
	if s := h.status(auth.Caller{Owner: mallet, Client: "bot"}, id); s.Status != auth.StatusPending || s.Cause != "opened_elsewhere" {
		t.Errorf("the request reads %+v", s)
	}
	nobody := h.person()
	nobody.get("/c/" + id)
	nobody.want(403, "Please sign in", "/sign-in?next=%2Fc%2F"+id)
}

// ID-007: the cookie of one flow is worth nothing for another.
func TestSwappedCookies(t *testing.T) {
	h := open(t, nil)
	one, two := h.person(), h.person()
	first, backOne := h.start(one, claude)
	second, _ := h.start(two, auth.Caller{Owner: auth.Local, Client: "other"})
	u, _ := url.Parse(h.URL)
	mine, theirs := one.client.Jar.Cookies(u)[0], two.client.Jar.Cookies(u)[0]
	if !strings.HasSuffix(mine.Name, first[:8]) || !strings.HasSuffix(theirs.Name, second[:8]) {
		t.Fatalf("the cookies are %s and %s", mine.Name, theirs.Name)
	}
	swapped := h.person()
	for _, cookie := range []string{mine.Name + "=" + theirs.Value, theirs.Name + "=" + theirs.Value, mine.Name + "=" + mine.Value + "; " + mine.Name + "=" + theirs.Value} {
		swapped.get(backOne, "Cookie", cookie)
		swapped.want(403)
	}
	if n := h.tokenRequests(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	one.get(backOne)
	one.want(303)
}

// ID-014: there is no field where a redirect URL could be pasted, and what pasting comes to is refused: the address of
// another's flow in the address bar of a browser that has confirmed a flow of its own, of the same user or another one,
// and the same address in any field of any form.
func TestPastedRedirect(t *testing.T) {
	for name, way := range map[string]struct {
		open             func(*testing.T) *house
		victim, attacker string
		theirs, own      auth.Caller
	}{
		"local":          {func(t *testing.T) *house { return open(t, nil) }, "", "", claude, auth.Caller{Owner: auth.Local, Client: "other"}},
		"remote":         {tenants, "acme/ann", "acme/mallet", auth.Caller{Owner: ann, Client: "bot", Verified: true}, auth.Caller{Owner: mallet, Client: "bot", Verified: true}},
		"remote, of one": {tenants, "acme/ann", "acme/ann", auth.Caller{Owner: ann, Client: "bot", Verified: true}, auth.Caller{Owner: ann, Client: "second", Verified: true}},
	} {
		t.Run(name, func(t *testing.T) {
			h := way.open(t)
			victim, attacker := h.person(), h.person()
			if way.attacker != "" {
				victim.signIn(way.victim)
				attacker.signIn(way.attacker)
			}
			id, back := h.start(victim, way.theirs)
			own, _ := h.start(attacker, way.own)
			attacker.get(back)
			attacker.want(403)
			sent, err := url.Parse(back)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/c/" + own, "/done/" + own, "/secret/" + own, "/c/" + own + "/app", "/connections", "/apps"} {
				attacker.get("/c/" + own)
				form := url.Values{"do": {"connect"}}
				for _, field := range []string{"url", "redirect_url", "callback", "paste", "field_key"} {
					form.Set(field, back)
				}
				form.Set("code", sent.Query().Get("code"))
				form.Set("state", sent.Query().Get("state"))
				if got := attacker.post(path, form); got.status == 200 && strings.Contains(got.body, sent.Query().Get("code")) {
					t.Errorf("%s gives the code back", path)
				}
			}
			if n := h.tokenRequests(); n != 0 {
				t.Errorf("%d token requests", n)
			}
			if s := h.status(way.theirs, id); s.Status != auth.StatusPending {
				t.Errorf("the flow is %s", s.Status)
			}
			if page := attacker.get("/c/" + own); strings.Contains(page.body, "<textarea") || strings.Contains(page.body, `type="text"`) {
				t.Errorf("the page has a field to type into: %s", page.body)
			}
			victim.get(back) // in its own browser it goes on
			victim.want(303)
		})
	}
}

// ID-010: the attacker's key form is neither shown to the victim nor taken from it.
func TestForeignKeyForm(t *testing.T) {
	h := tenants(t)
	attacker := h.person().signIn("acme/mallet")
	id := h.ask(auth.Caller{Owner: mallet, Client: "bot", Verified: true}, auth.Wish{Method: auth.MethodAPIKey}).RequestID
	attacker.confirm(id, nil)
	attacker.get("/secret/" + id)
	form := attacker.want(200, "API key")
	victim := h.person().signIn("acme/ann")
	victim.get("/secret/" + id)
	victim.want(403)
	if strings.Contains(victim.last.body, "<form") {
		t.Error("the form is shown")
	}
	victim.last = form
	victim.post("/secret/"+id, url.Values{"field_key": {"CANARY-KEY"}})
	victim.want(403)
	if s := h.status(auth.Caller{Owner: mallet, Client: "bot"}, id); s.Status != auth.StatusPending {
		t.Errorf("the flow is %s", s.Status)
	}
}

// ID-015: the second browser is refused, the first goes on, and the agent is told.
func TestSecondBrowser(t *testing.T) {
	h := open(t, nil)
	first, second := h.person(), h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	second.get("/c/" + id)
	early := second.want(200)
	target := first.confirm(id, nil)
	second.get("/c/" + id)
	second.want(403, "another browser")
	second.last = early
	second.post("/c/"+id, url.Values{"do": {"connect"}})
	second.want(403)
	if s := h.status(claude, id); s.Cause != "opened_elsewhere" {
		t.Errorf("the agent is told %q", s.Cause)
	}
	back, err := h.Server.Approve(t.Context(), target, "alice")
	if err != nil {
		t.Fatal(err)
	}
	second.get(back)
	second.want(403)
	first.get(back)
	first.want(303)
}

// A double click sends the form twice, the second time without the cookie of the first.
func TestDoubleClick(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	p.get("/c/" + id)
	form := p.last
	p.post("/c/"+id, url.Values{"do": {"connect"}})
	p.want(200)
	again := h.person()
	again.last = form
	again.post("/c/"+id, url.Values{"do": {"connect"}})
	again.want(200, "On to Practice provider")
	if a, b := p.client.Jar, again.client.Jar; a.Cookies(mustURL(h.URL))[0].Value != b.Cookies(mustURL(h.URL))[0].Value {
		t.Error("the two answers set different cookies")
	}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// ID-018: a name that lies.
func TestSpoofedName(t *testing.T) {
	h := open(t, nil)
	name := "Claude\u202e\u2066 \U000e0041<img src=x onerror=alert(1)>" + strings.Repeat("ä", 10<<10)
	p := h.person()
	a := h.ask(auth.Caller{Owner: auth.Local, Client: name}, auth.Wish{Scopes: []string{"openid", "files:delete"}})
	p.get("/c/" + a.RequestID)
	p.want(200, "Claude <img", "unverified name", "Practice provider", "openid", "files:delete", "127.0.0.1:", "just now", "Decline")
	if strings.Contains(p.last.body, "<img src=x") || strings.ContainsAny(p.last.body, "\u202e\u2066\U000e0041") {
		t.Error("the name is not defused")
	}
	if n := strings.Count(p.last.body, "ä"); n > 60 {
		t.Errorf("the name fills the page: %d", n)
	}
	if connect, decline := strings.Index(p.last.body, `value="connect"`), strings.Index(p.last.body, `value="decline"`); connect < 0 || decline < connect || decline-connect > 200 {
		t.Error("the two buttons do not stand side by side")
	}
	if err := h.Desk(ann).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	p.get("/c/" + h.ask(auth.Caller{Owner: ann, Client: "bot", Verified: true}, auth.Wish{}).RequestID)
	p.want(200, "acme/ann") // for whom, also where nobody signs in
	p.get("/c/" + h.ask(auth.Caller{Owner: ann, Client: "x7Jq", Verified: true, ClientName: "Claude\u202e<b>" + strings.Repeat("ä", 10<<10)}, auth.Wish{}).RequestID)
	p.want(200, `<span class="name">x7Jq</span>`, "calls itself Claude<b>") // who it is comes first
	if n := strings.Count(p.last.body, "ä"); n > 60 || strings.Contains(p.last.body, "\u202e") {
		t.Errorf("what it calls itself is not defused: %d", n)
	}
}

// ID-019
func TestFramed(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	for _, dest := range []string{"iframe", "frame", "embed", "object", "fencedframe"} {
		p.get("/c/"+id, "Sec-Fetch-Dest", dest)
		p.want(403)
		if strings.Contains(p.last.body, id) {
			t.Errorf("%s: the page is shown", dest)
		}
	}
	p.get("/c/"+id, "Sec-Fetch-Dest", "document")
	p.want(200)
	if !strings.Contains(p.last.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || p.last.header.Get("X-Frame-Options") != "DENY" {
		t.Error("the page may be framed")
	}
}

// ID-020: a page that stayed open for too long.
func TestStaleForm(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	p.get("/c/" + id)
	stale := token(p.last.body)
	h.pass(requestTTL)
	p.post("/c/"+id, url.Values{"do": {"connect"}})
	p.want(410)
	if p.target() != "" {
		t.Error("it went on")
	}
	fresh := h.ask(claude, auth.Wish{Scopes: []string{"email"}}).RequestID
	p.post("/c/"+fresh, url.Values{"do": {"connect"}, "token": {stale}})
	p.want(403)
}

// ID-021: what one client may do says nothing about another.
func TestConsentOfAnotherClient(t *testing.T) {
	h := open(t, nil)
	h.connect(h.person(), h.ask(claude, auth.Wish{}).RequestID, "alice")
	other := auth.Caller{Owner: auth.Local, Client: "other"}
	_, err := h.Request(t.Context(), other, auth.Wish{Provider: "practice"})
	id := h.approvalID(err)
	p := h.person()
	p.get("/approvals/" + id)
	p.want(200, "other", "has not been let in", "Let it read")
	p.post("/approvals/"+id, url.Values{"do": {"read"}})
	p.want(303)
	info, err := h.Request(t.Context(), other, auth.Wish{Provider: "practice"})
	if err != nil || info.Access != auth.Read {
		t.Errorf("%+v, %v", info, err)
	}
}

// PI-004: more than the usual is off until the person ticks it.
func TestExtraScopes(t *testing.T) {
	h := open(t, nil)
	for _, ticked := range []bool{false, true} {
		p := h.person()
		caller := auth.Caller{Owner: auth.Local, Client: "ticked"}
		if !ticked {
			caller.Client = "plain"
		}
		id := h.ask(caller, auth.Wish{Scopes: []string{"openid", "repo"}}).RequestID
		p.get("/c/" + id)
		p.want(200, "They stay off unless you tick them")
		form := url.Values{}
		if ticked {
			form.Set("extra", "repo")
		}
		form.Add("extra", "never-asked")
		u := mustURL(p.confirm(id, form))
		if got := strings.Fields(u.Query().Get("scope")); contains(got, "repo") != ticked || contains(got, "never-asked") {
			t.Errorf("ticked %v: scopes %v", ticked, got)
		}
	}
}

func contains(all []string, s string) bool {
	for _, x := range all {
		if x == s {
			return true
		}
	}
	return false
}

// PI-006: a definition that somebody added is shown as such, with its real hosts.
func TestCustomProvider(t *testing.T) {
	dir := t.TempDir()
	text := `{"schema":1,"id":"acme-wiki","name":"Acme wiki","category":"docs","docs":"https://wiki.acme.example/help",
		"checked":{"on":"2026-11-23","source":"https://wiki.acme.example/help","level":"own"},
		"api_key":{"send":[{"in":"header","name":"Authorization","format":"Bearer ${key}"}]},
		"api":{"hosts":["api.acme.example"],"base":"https://api.acme.example"}}`
	if err := os.WriteFile(filepath.Join(dir, "acme-wiki.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := open(t, func(v *authtest.Vault, _ *web.Options) { v.Catalog = catalog(t, dir) })
	p := h.person()
	p.get("/c/" + h.ask(claude, auth.Wish{Provider: "acme-wiki"}).RequestID)
	p.want(200, "custom", "added by whoever runs this server", "api.acme.example")
	if _, err := h.Request(t.Context(), claude, auth.Wish{Provider: "githuh"}); err == nil || !strings.Contains(err.Error(), "github") {
		t.Errorf("githuh: %v", err)
	}
}

// PI-007: no page hands out the raw credential without a session of the owner.
func TestReleaseNeedsSession(t *testing.T) {
	h := open(t, nil)
	h.connect(h.person(), h.ask(claude, auth.Wish{}).RequestID, "alice")
	_, err := h.Get(t.Context(), claude, auth.Need{Provider: "practice"})
	if err != nil {
		t.Fatal(err)
	}
	id := h.askRelease()
	agent := h.person() // it has the link, and can speak HTTP
	agent.get("/approvals/" + id)
	agent.want(401, "latchpost open")
	owner := h.person().signIn("local")
	owner.get("/approvals/" + id)
	shown := owner.want(200, "raw credential")
	agent.last = shown
	agent.post("/approvals/"+id, url.Values{"do": {"release_1h"}})
	agent.want(401)
	if handle, err := h.Get(t.Context(), claude, auth.Need{Provider: "practice"}); err != nil || handle.Released != nil {
		t.Fatalf("released: %v", err)
	}
	owner.last = shown
	owner.post("/approvals/"+id, url.Values{"do": {"release_1h"}})
	owner.want(303)
	if handle, err := h.Get(t.Context(), claude, auth.Need{Provider: "practice"}); err != nil || handle.Released == nil {
		t.Errorf("not released: %v", err)
	}
}
