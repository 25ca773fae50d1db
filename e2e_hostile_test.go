package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// What strangers try on people: clients, providers, and pages of other origins.

// ID-018: what a client calls itself is shown as text, bounded, without tricks of
// direction, and marked as unverified, beside what the person needs to know.
func hostileClient(t *testing.T, c *chromium) {
	name := "Claude\u202e\u2066 <img src=/x onerror=document.title='owned'> С1аudе " + strings.Repeat("A\u0301\u0302\u0303\u0304", 2000)
	n, agent := stdioHouse(t, authtest.Options{}, name)
	q := agent.asks(nil)
	p := c.person(t, "alice")
	p.open(q.link)
	p.shot("hostile-client")
	p.unharmed()
	shown, err := p.Locator(".name").First().InnerText()
	p.must(err)
	if strings.ContainsAny(shown, "\u202e\u2066") || utf8.RuneCountInString(shown) > 70 || !strings.HasPrefix(shown, "Claude") {
		t.Errorf("the name is shown as %q", shown)
	}
	text := p.text()
	for _, fact := range []string{"unverified name", "Practice provider", "openid", strings.TrimPrefix(n.provider.URL, "http://"), strings.TrimPrefix(n.api.URL, "http://"), "just now", q.code} {
		if !strings.Contains(text, fact) {
			t.Errorf("the page does not say %q", fact)
		}
	}
	yes, err := p.Locator("button[value=connect]").BoundingBox()
	p.must(err)
	no, err := p.Locator("button[value=decline]").BoundingBox()
	p.must(err)
	if no.Height < yes.Height || no.Width < .9*yes.Width || no.Y > yes.Y+1 && no.X != yes.X {
		t.Errorf("Decline (%+v) is less prominent than Connect (%+v)", no, yes)
	}
	p.press("Decline")
	p.reads("Declined")
	p.unharmed()
	p.shot("declined")
	agent.hears(q, "declined")
}

// unharmed: nothing that came from outside became an element or ran.
func (p *person) unharmed() {
	p.t.Helper()
	if made := p.js(`[...document.querySelectorAll("img:not([src^='/static/']), script, iframe, object, [onerror], [onload], a[href^='javascript:' i]")].map(e => e.outerHTML).join()`); made != "" {
		p.t.Errorf("the page has grown %v", made)
	}
	if title, _ := p.Title(); strings.Contains(title, "owned") {
		p.t.Error("a script ran")
	}
	for _, r := range p.answered() {
		if strings.HasSuffix(r.URL(), "/x") {
			p.t.Errorf("the page loaded %s", r.URL())
		}
	}
}

// ID-019: a page of another origin cannot put ours into a frame.
func framed(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(nil)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<!doctype html><title>prize</title><iframe src="%s" width=600 height=900></iframe><object data="%s"></object><embed src="%s">`, q.link, n.base+"/connections", q.link)
	}))
	defer evil.Close()
	p := c.person(t, "alice")
	p.open(evil.URL)
	for _, f := range p.Frames()[1:] {
		if shown, err := f.Locator("button").Count(); err == nil && shown > 0 {
			t.Errorf("a frame shows our page: %s", f.URL())
		}
	}
	refused := 0
	for _, r := range p.answered() {
		if r.URL() != q.link && r.URL() != n.base+"/connections" {
			continue
		}
		headers, err := r.AllHeaders()
		p.must(err)
		if r.Status() != http.StatusForbidden || !strings.Contains(headers["content-security-policy"], "frame-ancestors 'none'") || headers["x-frame-options"] != "DENY" {
			t.Errorf("in a frame: %d %v", r.Status(), headers)
		}
		refused++
	}
	if refused < 2 {
		t.Errorf("%d frames were tried", refused)
	}
	if len(p.broken()) == 0 {
		t.Error("the browser reports nothing about frame-ancestors")
	}
}

// HL-012: cookies do not know ports. A neighbour's page cannot read ours, what it plants
// lets nobody in, and what its server receives is worth nothing once the flow is over.
func neighbourPort(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(nil)
	flow := "lp_flow_" + q.id[:8]
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plant" {
			w.Header().Add("Set-Cookie", flow+"=planted; Path=/")
			w.Header().Add("Set-Cookie", "lp_owner_"+port(n.base)+"="+strings.Repeat("A", 43)+"; Path=/")
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!doctype html><title>neighbour</title>")
	}))
	defer evil.Close()

	// Planted beforehand in both browsers: the neighbour's does not become the owner's.
	a, b := c.person(t, "alice"), c.person(t, "neighbour")
	a.open(evil.URL + "/plant")
	b.open(evil.URL + "/plant")
	a.open(q.link)
	a.press("Connect")
	a.arrives(n.provider.URL)
	if status := b.open(q.link); status != http.StatusForbidden {
		t.Errorf("with the planted cookie: %d", status)
	}
	if status := b.open(n.base + "/connections"); status != http.StatusUnauthorized {
		t.Errorf("with the planted session: %d", status)
	}
	a.approve("alice", n.base+"/done/")
	a.reads("Practice provider is connected")
	agent.hears(q, "connected")
	redeemed := len(n.provider.Requests("POST /token"))
	all := a.answered()
	callback := slices.IndexFunc(all, func(r playwright.Response) bool { return strings.HasPrefix(r.URL(), n.base+"/callback/") })
	if callback < 0 {
		t.Fatal("no callback was seen")
	}

	a.open(evil.URL)
	if read := fmt.Sprint(a.js(`document.cookie`)); strings.Contains(read, flow) {
		t.Errorf("the neighbour's page reads %s", read)
	}
	caught := a.lastCookies(evil.URL)
	if !strings.Contains(caught, flow+"=") || strings.Contains(caught, flow+"=planted") {
		t.Fatalf("the neighbour's server gets %q: this test tries nothing", caught)
	}
	replay := func(method, target string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Cookie", caught)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for _, try := range []struct {
		method, target string
		want           int
	}{
		{"POST", q.link, http.StatusForbidden}, {"GET", n.base + "/connections", http.StatusUnauthorized},
		{"GET", n.base + "/api/v1/connections", http.StatusUnauthorized}, {"POST", n.base + "/done/" + q.id, http.StatusForbidden},
	} {
		if got := replay(try.method, try.target); got != try.want {
			t.Errorf("%s %s with the caught cookie: %d", try.method, try.target, got)
		}
	}
	if replay("GET", all[callback].URL()); len(n.provider.Requests("POST /token")) != redeemed {
		t.Error("the callback was redeemed again")
	}
	if who := agent.getsThrough(); who != "alice" {
		t.Errorf("the call speaks for %s", who)
	}
}

// lastCookies gives what the browser sent with its last request to an address.
func (p *person) lastCookies(address string) string {
	p.t.Helper()
	for _, r := range slices.Backward(p.answered()) {
		if strings.TrimSuffix(r.URL(), "/") == address {
			headers, err := r.Request().AllHeaders()
			p.must(err)
			return headers["cookie"]
		}
	}
	p.t.Fatalf("%s never was at %s", p.name, address)
	return ""
}

// HL-029: what a provider says about an account, and why it refuses, is text.
func hostileProvider(t *testing.T, c *chromium) {
	const label = `<img src=/x onerror="document.title='owned'">javascript:alert(1)`
	n, agent := stdioHouse(t, authtest.Options{Users: []authtest.User{{Name: "alice", Password: "wonderland", Email: label}}}, "Claude")
	p := c.person(t, "alice")
	refused := agent.asks(nil)
	p.open(refused.link)
	p.press("Connect")
	p.arrives(n.provider.URL)
	state := n.provider.Requests("/authorize")[0].Query.Get("state")
	p.open(n.base + "/callback/practice?" + url.Values{"state": {state}, "iss": {n.provider.URL}, "error": {"server_error"}, "error_description": {"Call <b>555</b> " + label}}.Encode())
	p.reads("is not connected")
	p.shot("refused")
	p.unharmed()
	if text := p.text(); strings.Contains(text, "555") {
		t.Errorf("the page repeats what came with the callback: %s", text)
	}
	agent.hears(refused, "failed")

	q := agent.asks(nil)
	p.open(q.link)
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base+"/done/")
	p.reads("Practice provider is connected")
	p.reads("img src=/x onerror") // without the brackets: labels are cleaned before they are kept
	p.shot("hostile-label")
	p.unharmed()
	link, err := n.identity.Link(t.Context(), auth.Local)
	if err != nil {
		t.Fatal(err)
	}
	p.open(link.Reveal())
	p.press("Sign in")
	for _, path := range []string{"/connections", "/activity"} {
		p.open(n.base + path)
		p.shot("hostile-" + strings.Trim(path, "/"))
		p.unharmed()
	}
}
