package browserlogin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// pages serves a few pages by path.
func pages(t *testing.T, all map[string]string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html>"+all[r.URL.Path])
	}))
	t.Cleanup(srv.Close)
	return srv
}

// leaves cancels through the view, whatever the site does meanwhile.
func (p *person) leaves() {
	p.t.Helper()
	p.must(p.page.Locator("#cancel").Click())
	p.must(p.page.Locator("#askYes").Click())
	p.await("cancelled")
}

// A page makes news without end: it moves the focus and its own address thousands of times a second. The
// view stays connected, the driver answers, and the person can leave.
func TestPageThatFloods(t *testing.T) {
	site := pages(t, map[string]string{"/": `<input id=a><input type=checkbox id=b>`})
	for name, flood := range map[string]string{
		"focus":   `for (let i = 0; i < 500; i++) { a.focus(); b.focus() }`,
		"history": `for (let i = 0; i < 300; i++) history.pushState(0, "", "?" + i)`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil, authtest.SiteOptions{})
			s, p := b.at(t, site.URL)
			p.await("waiting")
			_, err := p.page.Evaluate(`window.phases = []; new MutationObserver(() => phases.push(veil.dataset.phase)).observe(veil, {attributes: true})`)
			p.must(err)
			p.eval("void setInterval(() => { " + flood + " }, 100)")
			time.Sleep(3 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := ask(ctx, s.context.Cookies); err != nil {
				t.Errorf("the driver does not answer: %v", err)
			}
			if phases, _ := p.page.Evaluate("phases.join()"); phases != "" {
				t.Errorf("the view went through %v", phases)
			}
			p.leaves()
		})
	}
}

// A page's own events open neither a list nor a question of our view.
func TestPageOpensNothingItself(t *testing.T) {
	site := pages(t, map[string]string{"/": `<input type=date id=day aria-label="Type your Latchpost password"><select id=many><option>a</select><p id=done></p><script>
		const tell = (e, type, more) => e.dispatchEvent(new (type === "keydown" ? KeyboardEvent : MouseEvent)(type, { bubbles: true, composed: true, ...more }));
		document.addEventListener("click", (e) => { if (e.target.tagName !== "HTML" && e.target.tagName !== "BODY") return;
			for (const el of [day, many]) { tell(el, "mousedown"); tell(el, "click"); tell(el, "keydown", { key: " " }); }
			done.textContent = "all told" })</script>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, site.URL)
	p.await("waiting")
	p.click("html")
	eventually(t, "the page's own events", func() bool { return s.front.page.Text(t.Context(), "#done") != "" })
	p.click("html") // answered after them
	time.Sleep(300 * time.Millisecond)
	for _, selector := range []string{"#ask", "#menu"} {
		if shown, _ := p.page.Locator(selector).IsVisible(); shown {
			t.Errorf("a page opened %s", selector)
		}
	}
}

// What the site asks waits until a question of ours is answered, and is then asked.
func TestQuestionsOfTwoSides(t *testing.T) {
	site := pages(t, map[string]string{"/": `<p id=here>here`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, site.URL)
	p.await("waiting")
	p.must(p.page.Locator("#paste").Click())
	p.must(p.page.Locator("#askFields input[type=password]").Fill("half a pass"))
	p.eval(`void setTimeout(() => { document.title = String(prompt("your password?")) })`)
	eventually(t, "the site's question", func() bool { return s.front.openDialog() != nil })
	time.Sleep(300 * time.Millisecond) // for the question to reach the view
	if typed, err := p.page.Locator("#askFields input[type=password]").InputValue(playwright.LocatorInputValueOptions{Timeout: playwright.Float(2000)}); typed != "half a pass" {
		t.Errorf("the site's question took the place of ours: %q %v", typed, err)
	}
	p.must(p.page.Locator("#askNo").Click())
	title := p.page.Locator("#askTitle", playwright.PageLocatorOptions{HasText: "says"})
	p.must(title.WaitFor())
	p.must(p.page.Locator("#askFields input").Fill("none"))
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the answer", func() bool { return s.front.openDialog() == nil && p.eval("document.title") == "none" })
	p.leaves()
}

// What the site asks while it is checked whether the person is signed in is theirs to answer, and is not cancelled by the checking.
func TestQuestionWhileChecking(t *testing.T) {
	site := pages(t, map[string]string{"/": `<script>document.cookie = "session=abcdefgh"; setTimeout(() => { document.title = confirm("Stay signed in?") ? "yes" : "no" }, 300)</script>in`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", func(d *providers.Browser) {
		d.LoginURL, d.Domains, d.SecondFactor, d.Identity = site.URL+"/", []string{strings.TrimPrefix(site.URL, "http://")}, nil, nil
		d.Success = providers.Match{All: []providers.Condition{{Cookie: "session"}}}
		d.Probe = &providers.Probe{URL: site.URL + "/never", OK: []int{299}}
	})
	p := b.open(s)
	p.must(p.page.Locator("#ask[open]").WaitFor())
	_, err := p.page.Evaluate(`window.checks = 0; new MutationObserver(() => { if (veil.dataset.phase === "checking") checks++ }).observe(veil, {attributes: true})`)
	p.must(err)
	eventually(t, "a check or two", func() bool { n, _ := p.page.Evaluate("checks"); return num(n) > 1 })
	if s.front.openDialog() == nil {
		t.Fatal("the question was answered without the person")
	}
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the answer", func() bool { return s.front.openDialog() == nil && p.eval("document.title") == "yes" })
}

// A mouse button that is let go while it is checked whether the person is signed in does not stay down.
func TestButtonLetGoWhileChecking(t *testing.T) {
	site := pages(t, map[string]string{"/": `<p id=text>text</p><script>addEventListener("mouseup", () => { document.title = "let go" })</script>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, site.URL)
	p.await("waiting")
	x, y := p.at("#text")
	p.must(p.page.Mouse().Move(x, y))
	p.must(p.page.Mouse().Down())
	s.tell(checking, "")
	p.await("checking")
	p.must(p.page.Mouse().Up())
	eventually(t, "the button to be let go", func() bool { return p.eval("document.title") == "let go" })
}

// A page that asks for ever keeps nobody from leaving.
func TestPageThatAsksForEver(t *testing.T) {
	site := pages(t, map[string]string{"/": `<script>for (;;) alert("once more")</script>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	_, p := b.at(t, site.URL)
	p.must(p.page.Locator("#ask[open]").WaitFor())
	for range 10 {
		if out, _ := p.page.Locator("#askLeave").IsVisible(); out {
			break
		}
		p.must(p.page.Locator("#askYes").Click())
		time.Sleep(100 * time.Millisecond)
	}
	p.must(p.page.Locator("#askLeave").Click())
	p.await("cancelled")
}

// Of a host that is too long to be shown whole, its end is shown: there stands who owns it.
func TestLongHostShowsItsEnd(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.openWith(s, playwright.BrowserNewContextOptions{Viewport: &playwright.Size{Width: 390, Height: 760}})
	p.await("waiting")
	host := "signin.bank.example" + strings.Repeat(".and-so-on-and-on", 12) + ".evil.test"
	s.mu.Lock()
	s.send(map[string]any{"t": "page", "address": address{Scheme: "https", Host: host, Path: "/signin", Secure: true, Away: true}, "tabs": []any{}, "crashed": false})
	s.mu.Unlock()
	eventually(t, "the host", func() bool { shown, _ := p.page.Locator("#host").InnerText(); return shown == host })
	inside, err := p.page.Evaluate(`() => {
		const text = document.getElementById("host").firstChild, r = document.createRange(), bar = document.getElementById("address").getBoundingClientRect();
		r.setStart(text, text.length - ".evil.test".length); r.setEnd(text, text.length);
		const end = r.getBoundingClientRect();
		return end.width > 20 && end.left >= bar.left && end.right <= bar.right && document.documentElement.scrollWidth <= innerWidth;
	}`)
	p.shot("24-long-host")
	if err != nil || inside != true {
		t.Errorf("the end of %s cannot be seen: %v, %v", host, inside, err)
	}
}

// The browser's clipboard, and what is marked in it, is one for all its contexts: nothing that a viewer may
// send copies into it or pastes out of it, whatever name and number a key is given.
func TestNoInputReachesTheClipboard(t *testing.T) {
	site := pages(t, map[string]string{"/": `<input id=field style="font: 20px monospace" value="canary canary">`})
	open := func(c *Context) *tab {
		page, err := c.NewPage()
		if err != nil {
			t.Fatal(err)
		}
		if err := page.Goto(site.URL); err != nil {
			t.Fatal(err)
		}
		cdp, err := page.CDP()
		if err != nil {
			t.Fatal(err)
		}
		return &tab{page: page, cdp: cdp}
	}
	br := newBrowser(t)
	from, to := open(contextOf(t, br)), open(contextOf(t, br))
	command := func(on *tab, name string) { // what our view never sends
		t.Helper()
		on.page.Eval(t.Context(), `field.focus(); field.select(); ""`)
		if _, err := on.cdp.Send("Input.dispatchKeyEvent", map[string]any{"type": "rawKeyDown", "commands": []string{name}}); err != nil {
			t.Fatal(err)
		}
	}
	command(from, "copy")
	command(to, "paste")
	if got := to.page.Eval(t.Context(), "field.value"); fmt.Sprint(got) != "[canary canary]" {
		t.Fatalf("this test proves nothing: a paste gives %q", got)
	}
	send := func(on *tab, m message) {
		data, _ := json.Marshal(m)
		if m, err := decode(data); err == nil {
			on.apply(m)
		}
	}
	to.page.Eval(t.Context(), `field.addEventListener("paste", () => { document.title += " pasted" }); ""`)
	from.page.Eval(t.Context(), `for (const e of ["copy", "cut"]) field.addEventListener(e, () => { document.title += " " + e }); ""`)
	for _, on := range []*tab{from, to} {
		for _, code := range []string{"KeyC", "KeyX", "KeyV", "Insert", "Delete"} {
			send(on, &key{T: "key", Kind: "down", Key: "x", Code: code, KeyCode: 'Y', Mods: 2})
		}
		for _, mods := range []int{2, 8, 10} {
			for kc := range 256 {
				if kc == 9 { // Tab leaves the field
					continue
				}
				if kc%8 == 0 {
					on.page.Eval(t.Context(), `field.value = "some text"; field.focus(); field.select(); ""`)
				}
				send(on, &key{T: "key", Kind: "down", Key: "x", KeyCode: kc, Mods: mods})
			}
		}
		on.page.Eval(t.Context(), `field.value = "some text"; field.focus(); field.select(); ""`)
		for _, button := range []string{"middle", "right"} {
			send(on, &mouse{T: "mouse", Kind: "down", Button: button, Buttons: 4, X: 40, Y: 20, Clicks: 1})
			send(on, &mouse{T: "mouse", Kind: "up", Button: button, X: 40, Y: 20, Clicks: 1})
		}
		if got := on.page.Eval(t.Context(), "document.title"); fmt.Sprint(got) != "[]" {
			t.Errorf("input of a viewer did:%s", got)
		}
	}
}

// A frame of another site says what it likes about itself, and no more: what is kept for the site is the
// site's own storage, and what the browser calls itself is the browser's word.
func TestFrameLies(t *testing.T) {
	var stranger string
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		own := "http://" + r.Host
		if r.URL.Path == "/stranger" {
			home := strings.Replace(own, "localhost", "127.0.0.1", 1)
			fmt.Fprintf(w, `<script>const lie = JSON.stringify({token: "planted"}), old = JSON.stringify([%q, {token: "planted"}]);
				JSON.stringify = (x) => Array.isArray(x) ? old : lie; // a pair that names an origin, or what is stored alone
				Object.defineProperty(Navigator.prototype, "userAgent", {get: () => "a\nlie"})</script>`, home)
			return
		}
		fmt.Fprintf(w, `<iframe src=%q></iframe>`, stranger)
	}))
	defer site.Close()
	stranger = strings.Replace(site.URL, "127.0.0.1", "localhost", 1) + "/stranger"
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, site.URL)
	p.await("waiting")
	eventually(t, "the frame", func() bool { return len(s.front.page.children()) == 1 })
	d := b.definition()
	d.Domains = []string{strings.TrimPrefix(site.URL, "http://")}
	got, err := capture(t.Context(), compile(d), s.context, []*Page{s.front.page}, nil, false, 640, 480)
	if err != nil {
		t.Fatal(err)
	}
	if kept := fmt.Sprint(got.Bundle.in().Session); kept != "map[]" {
		t.Errorf("kept %s", kept)
	}
	if ua := got.Bundle.in().UserAgent; !strings.HasPrefix(ua, "Mozilla/5.0") || !strings.Contains(ua, "Chrome/") {
		t.Errorf("the browser calls itself %q", ua)
	}
}

// LV-018: the shortcuts of the browser itself open nothing, also where a viewer sends them past our page, and whoever
// presses one that is not known here keeps the view.
func TestNoShortcutOfTheBrowser(t *testing.T) {
	site := pages(t, map[string]string{"/": `<input id=field>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, site.URL)
	p.await("waiting")
	p.focus("#field")
	for _, k := range []key{
		{KeyCode: 'N', Mods: ctrl}, {KeyCode: 'N', Mods: ctrl | shift}, {KeyCode: 'T', Mods: ctrl}, {KeyCode: 'J', Mods: ctrl}, {KeyCode: 'I', Mods: ctrl | shift},
		{KeyCode: vkHome, Mods: alt}, {KeyCode: vkEscape, Mods: shift}, {KeyCode: 123}, {KeyCode: 'W', Mods: ctrl},
	} {
		k.T, k.Kind, k.Key = "key", "down", "x"
		data, _ := json.Marshal(k)
		m, err := decode(data)
		p.must(err)
		s.input.put(m)
	}
	// Ctrl+Y, on a layout that has it where others have X.
	_, err := p.page.Evaluate(`() => keys.dispatchEvent(new KeyboardEvent("keydown", {key: "y", code: "KeyX", keyCode: 89, ctrlKey: true, bubbles: true, cancelable: true}))`)
	p.must(err)
	p.write("on")
	eventually(t, "typing goes on", func() bool { return p.value("#field") == "on" })
	time.Sleep(time.Second) // for a window to come
	cdp, err := s.context.c.Browser().NewBrowserCDPSession()
	p.must(err)
	defer cdp.Detach()
	v, err := cdp.Send("Target.getTargets", map[string]any{"filter": []map[string]any{{}}})
	p.must(err)
	for _, x := range v.(map[string]any)["targetInfos"].([]any) {
		info := x.(map[string]any)
		if at := fmt.Sprint(info["url"]); info["type"] != "browser_ui" && (strings.HasPrefix(at, "chrome://") || strings.HasPrefix(at, "devtools://")) {
			t.Errorf("opened: %v %s", info["type"], at)
		}
	}
	p.await("waiting")
	if got := s.front.page.URL(); got != site.URL+"/" {
		t.Errorf("led to %s", got)
	}
}
