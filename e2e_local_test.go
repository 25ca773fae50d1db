package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// localStories are one person at one machine, with `latchpost stdio`.
func (c *chromium) localStories(t *testing.T) {
	for _, story := range []struct {
		name string
		tell func(*testing.T, *chromium)
	}{
		{"CB-011 nothing stays in the browser", nothingStays},
		{"SH-011 profile on disk", profileOnDisk},
		{"ID-015 second browser", secondBrowser},
		{"ID-018 hostile client name", hostileClient},
		{"ID-019 frame", framed},
		{"HL-009 pages", everyPage},
		{"HL-012 neighbour on another port", neighbourPort},
		{"HL-027 wrong key", wrongKey},
		{"HL-029 hostile provider", hostileProvider},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, c) })
	}
}

// CB-011, SH-011, HL-010: the flow works with the policy in force, and what stays in the
// browser afterwards is clean: the history, what scripts could read, the Referer of every
// later request, the caches.
func nothingStays(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(nil)
	p := c.person(t, "alice")
	p.open(q.link)
	p.reads(q.code)
	p.press("Connect")
	p.arrives(n.provider.URL)
	state := n.provider.Requests("/authorize")[0].Query.Get("state")
	p.approve("alice", n.base+"/done/")
	p.reads("Practice provider is connected")
	if p.URL() != n.base+"/done/"+q.id {
		t.Errorf("the person ends at %s", p.URL())
	}
	agent.hears(q, "connected")

	secrets := append(n.provider.Secrets(), "code=")
	clean := func(where, text string) {
		t.Helper()
		for _, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s holds %s: %s", where, s, text)
			}
		}
		if strings.Contains(text, state) {
			t.Errorf("%s holds the state: %s", where, text)
		}
	}
	for _, entry := range p.history() {
		if strings.HasPrefix(entry, n.base) { // the provider's own page was opened with the state
			clean("the history", entry)
		}
	}
	clean("the performance record", fmt.Sprint(p.js(`JSON.stringify(performance.getEntries())`), p.js(`document.referrer`), p.js(`document.documentElement.outerHTML`)))

	// Later requests of this browser: the page again, a page of ours, a page of others.
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, "a page") }))
	defer other.Close()
	p.js(`(next) => { location.href = next }`, n.base+"/connections")
	p.arrives(n.base + "/connections")
	p.js(`(next) => { location.href = next }`, other.URL)
	p.arrives(other.URL)
	after := false
	for _, r := range p.answered() {
		if after {
			headers, err := r.Request().AllHeaders()
			p.must(err)
			if headers["referer"] != "" {
				t.Errorf("%s is asked for with the Referer %s", r.URL(), headers["referer"])
			}
		}
		if strings.HasPrefix(r.URL(), n.base+"/callback/") {
			after = true
			headers, err := r.AllHeaders()
			p.must(err)
			if r.Status() != http.StatusSeeOther || headers["cache-control"] != "no-store" || headers["referrer-policy"] != "no-referrer" || headers["location"] != "/done/"+q.id {
				t.Errorf("the callback answers %d %v", r.Status(), headers)
			}
		}
		if u, err := url.Parse(r.URL()); err != nil || u.Hostname() != "127.0.0.1" {
			t.Errorf("something of a third party was loaded: %s", r.URL())
		}
	}
	if !after {
		t.Error("no callback was seen")
	}
	if _, err := p.GoBack(); err == nil { // the person presses Back
		clean("the page before", p.URL()+p.text())
	}
}

// SH-011: what Chromium writes into its profile when somebody signs in by code, by a pasted key and on another device, and what is
// in the clipboard then. It notes every hop of a redirect, so the
// callback's address is there, hidden from the person, with a code that is spent: opening
// it again redeems nothing. Nothing else that is secret is there.
func profileOnDisk(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(nil)
	dir := t.TempDir()
	profile, err := c.BrowserType().LaunchPersistentContext(dir, playwright.BrowserTypeLaunchPersistentContextOptions{
		ExecutablePath: &c.exe, ChromiumSandbox: sandbox(), Args: headless,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := settleIn(t, "alice", profile)
	p.open(q.link)
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base+"/done/")
	p.reads("Practice provider is connected")
	for _, r := range p.answered() {
		if strings.HasPrefix(r.URL(), n.base+"/callback/") {
			p.open(r.URL())
			p.reads("was used already")
		}
	}
	if redeemed := n.provider.Requests("POST /token"); len(redeemed) != 1 {
		t.Errorf("%d token requests", len(redeemed))
	}
	const key = "CANARY-key-that-was-pasted"
	pasted := agent.asks(map[string]any{"method": "api_key", "account": "work"})
	p.open(pasted.link)
	p.press("Connect")
	p.must(p.Locator("input[name=field_key]").Fill(key))
	p.press("Store the key")
	p.reads("Practice provider is connected")
	device := agent.asks(map[string]any{"method": "device_code", "account": "phone"})
	p.open(device.link)
	p.press("Connect")
	p.reads("Enter this code")
	code, err := p.Locator(".match strong").InnerText()
	p.must(err)
	p.must(n.provider.ApproveDevice(t.Context(), code, "alice"))
	p.reads("Practice provider is connected")
	p.must(profile.GrantPermissions([]string{"clipboard-read"}))
	if copied := p.js(`navigator.clipboard.readText()`); copied != "" {
		t.Errorf("in the clipboard: %q", copied)
	}
	p.must(profile.Close())

	secrets := slices.DeleteFunc(append(n.provider.Secrets(), key), func(s string) bool { return strings.HasPrefix(s, "code_") })
	written := false
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, s := range secrets {
			if strings.Contains(string(data), s) {
				t.Errorf("%s holds %s", path, s)
			}
		}
		written = written || d.Name() == "History" && strings.Contains(string(data), n.base+"/done/"+q.id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !written {
		t.Error("the history is not where this test looks")
	}
}

// history gives every address that Back and Forward would lead to.
func (p *person) history() []string {
	p.t.Helper()
	devtools, err := p.Context().NewCDPSession(p.Page)
	p.must(err)
	defer func() { _ = devtools.Detach() }()
	answer, err := devtools.Send("Page.getNavigationHistory", nil)
	p.must(err)
	var all []string
	for _, e := range answer.(map[string]any)["entries"].([]any) {
		all = append(all, fmt.Sprint(e.(map[string]any)["url"]))
	}
	if len(all) == 0 {
		p.t.Fatal("the browser has no history")
	}
	return all
}

// answered gives every answer that this browser got.
func (p *person) answered() []playwright.Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.answers)
}

// ID-015: the browser that confirms owns the flow. A second one is refused, the agent can
// tell, and the first one goes on undisturbed.
func secondBrowser(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(nil)
	a, b := c.person(t, "first"), c.person(t, "second")
	b.open(q.link)
	a.open(q.link)
	a.press("Connect")
	a.arrives(n.provider.URL)
	b.press("Connect") // on the page that was open before
	b.reads("was started in another browser")
	b.shot("second-browser")
	if status := b.open(q.link); status != http.StatusForbidden {
		t.Errorf("the second browser gets %d", status)
	}
	if answer := agent.hears(q, "pending"); !strings.Contains(fmt.Sprint(answer), "elsewhere") && !strings.Contains(fmt.Sprint(answer), "another browser") {
		t.Errorf("the agent hears %v", answer)
	}
	n.happened(auth.Local, "second_browser")
	b.open(a.URL()) // the provider's address does not help it either
	b.approve("bob", n.base)
	if b.reads("was started in another browser"); len(n.provider.Requests("POST /token")) > 0 {
		t.Error("the second browser's code was redeemed")
	}
	a.approve("alice", n.base)
	a.reads("Practice provider is connected")
	agent.hears(q, "connected")
}

// HL-009: every page in its states, with the policy in force. That a violation would be
// seen is tried at the end.
func everyPage(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	link, err := n.identity.Link(t.Context(), auth.Local)
	if err != nil {
		t.Fatal(err)
	}
	p := c.person(t, "alice")
	p.open(n.base + "/connections")
	p.shot("welcome")
	p.open(link.Reveal())
	p.shot("owner-link")
	p.press("Sign in")
	p.reads("Nothing is connected yet")
	p.shot("connections-empty")

	code := agent.asks(map[string]any{"method": "device_code"})
	p.open(code.link)
	p.press("Connect")
	p.reads("Enter this code")
	p.shot("device")
	p.press("Cancel")
	p.reads("Declined")

	more := agent.asks(map[string]any{"scopes": []any{"openid", "email", "files:delete"}})
	p.open(more.link)
	p.shot("connect-more")
	noApp := agent.asks(map[string]any{"provider": "github"})
	p.open(noApp.link)
	p.shot("connect-no-app")
	p.open(n.base + "/connections")
	p.shot("connections-waiting")

	q := agent.asks(nil)
	p.open(q.link)
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base+"/done/")
	answer, _, err := agent.call(t.Context(), "call_api", map[string]any{"provider": "practice", "method": "POST", "path": "/repos", "body": `{"name":"new"}`})
	if err != nil || answer["type"] != "approval_required" {
		t.Fatalf("a call that changes something: %v %v", answer, err)
	}
	p.open(fmt.Sprint(answer["url"]))
	p.shot("approval")
	for _, path := range []string{"/connections", "/approvals", "/activity", "/apps", "/apps?provider=github", "/c/NOTHING", "/done/NOTHING", "/secret/NOTHING", "/live/NOTHING", "/nowhere", "/login", "/login/WRONG", "/callback/practice?state=x&code=y"} {
		p.open(n.base + path)
		p.shot(strings.NewReplacer("/", "-", "?", "-", "&", "-", "=", "-").Replace(strings.Trim(path, "/")))
		p.unharmed()
	}
	if found := p.broken(); len(found) > 0 {
		t.Errorf("violations: %q", found)
	}
	p.open(n.base + "/connections")
	p.js(`document.body.insertAdjacentHTML("beforeend", "<b style='color:red' onclick='x()'>control</b>")`)
	if len(p.broken()) == 0 {
		t.Error("a violation would not be seen")
	}
}

// HL-027: a key that is refused does not come back, not in the page, not by Back, not
// from a cache.
func wrongKey(t *testing.T, c *chromium) {
	n, agent := stdioHouse(t, authtest.Options{}, "Claude")
	q := agent.asks(map[string]any{"method": "api_key"})
	p := c.person(t, "alice")
	p.open(q.link)
	p.press("Connect")
	p.reads("Key for Practice provider")
	field := p.Locator("input[name=field_key]")
	if off, _ := field.GetAttribute("autocomplete"); off != "off" {
		t.Errorf("autocomplete is %q", off)
	}
	const key = "CANARY-key-with-ümlaut"
	p.must(field.Fill(key))
	p.press("Store the key")
	p.reads("has a character that no key has")
	p.shot("wrong-key")
	gone := func(where string) {
		t.Helper()
		value, err := field.InputValue()
		p.must(err)
		source, err := p.Content()
		p.must(err)
		if value != "" || strings.Contains(source, "CANARY") {
			t.Errorf("%s: the field holds %q", where, value)
		}
	}
	gone("after the refusal")
	_, err := p.GoBack()
	p.must(err)
	p.reads("Key for Practice provider")
	gone("by Back")
	for _, r := range p.answered() {
		if !strings.Contains(r.URL(), "/secret/") {
			continue
		}
		headers, err := r.AllHeaders()
		p.must(err)
		if headers["cache-control"] != "no-store" || strings.Contains(r.URL(), "CANARY") {
			t.Errorf("%s %s: %v", r.Request().Method(), r.URL(), headers)
		}
	}
	// The way goes on with a right one, which only a POST can bring.
	p.open(n.base + "/secret/" + q.id + "?field_key=CANARYquery")
	gone("from the query")
	p.must(field.Fill("a-right-key"))
	p.press("Store the key")
	p.reads("Practice provider is connected")
	agent.hears(q, "connected")
}
