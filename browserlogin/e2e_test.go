package browserlogin

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// users of the practice site. Carol's password stands nowhere else.
var users = append(authtest.DefaultUsers(), authtest.User{Name: "carol", Password: "Canary/" + rand.Text(), Email: "carol@example.com"})

func passwordOf(name string) string {
	for _, u := range users {
		if u.Name == name {
			return u.Password
		}
	}
	return ""
}

// signIn is the whole sign-in by password, list and second factor, through the picture.
func (p *person) signIn(name string) {
	p.t.Helper()
	p.await("waiting")
	p.shot("02-waiting")
	p.focus("[name=user]")
	p.write(name)
	p.press("Tab")
	p.write(passwordOf(name))
	eventually(p.t, "what was typed through the picture", func() bool {
		return p.value("[name=user]") == name && p.value("[name=password]") == passwordOf(name)
	})
	p.shot("03-typed")
	p.click("select")
	p.must(p.page.Locator("#menu button").First().WaitFor())
	p.shot("04-list")
	p.must(p.page.Locator("#menu button", playwright.PageLocatorOptions{HasText: "South"}).Click())
	eventually(p.t, "the choice in the list", func() bool { return p.value("select") == "south" })
	p.click("form button")
	p.seen("[name=d1]")
	p.focus("[name=d1]")
	p.paste(authtest.SecondFactor)
	eventually(p.t, "the code in six boxes", func() bool { return p.value("[name=d6]") == authtest.SecondFactor[5:] })
	p.shot("05-second-factor")
	p.press("Enter")
}

// The whole way: two real Chromiums, one the server's, one the person's. Typing,
// a list, a second factor by paste; then the restored session is signed in.
func TestSignInByPassword(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", func(d *providers.Browser) {
		// LV-019, LV-020: the tracker of the login page is none of the definition's.
		d.Instructions = "Sign in with your practice account."
	})
	p := b.open(s)
	p.shot("01-starting")
	p.signIn("alice")
	p.await("connected")
	p.shot("06-connected")
	r := over(t, done)
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r.got.Account != "alice" {
		t.Errorf("account %q", r.got.Account)
	}
	if left := time.Until(r.got.ExpiresAt); left < 50*time.Minute || left > time.Hour {
		t.Errorf("the session ends in %v, the cookie in an hour", left)
	}
	b.isAlive(r.got.Bundle, "alice")
	b.opensElsewhere(r.got.Bundle)
	// A replay of the finished link opens nothing.
	if resp, _ := b.get(nil, "/live/"+s.id); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the link of a finished login answers %d", resp.StatusCode)
	}
}

// isAlive asks the site with the Cookie header alone.
func (b *bench) isAlive(bundle Bundle, user string) {
	b.t.Helper()
	u, _ := url.Parse(b.site.URL + "/api/session")
	req, _ := http.NewRequest(http.MethodGet, u.String(), nil)
	req.Header.Set("Cookie", bundle.CookieHeader(u, time.Now()).Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var who struct{ User string }
	if _ = json.NewDecoder(resp.Body).Decode(&who); who.User != user {
		b.t.Errorf("the site takes the Cookie header for %q (%d), not %q", who.User, resp.StatusCode, user)
	}
}

// opensElsewhere restores the bundle and looks at every kind of storage.
func (b *bench) opensElsewhere(bundle Bundle) {
	b.t.Helper()
	br, release, err := b.pool.browser(b.t.Context(), "elsewhere")
	if err != nil {
		b.t.Fatal(err)
	}
	defer release()
	c, err := bundle.restore(br, ContextOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	page, err := c.NewPage()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := page.Goto(b.site.URL + "/account"); err != nil {
		b.t.Fatal(err)
	}
	for _, id := range []string{"local", "tab", "base"} {
		eventually(b.t, id+" storage to be read", func() bool { return page.Text(b.t.Context(), "#"+id) != "" })
		if got := page.Text(b.t.Context(), "#"+id); got != "kept" {
			b.t.Errorf("%s storage is %q in the restored session", id, got)
		}
	}
}

// A popup of another site, its confirm(), its postMessage, and back.
func TestSignInByPopup(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("bob", nil)
	p := b.open(s)
	p.await("waiting")
	tall := p.eval("innerHeight")
	p.click("[name=popup]")
	p.must(p.page.Locator("#tabs [role=tab]").Nth(1).WaitFor())
	p.seen("#form")
	// LV-018, LV-019: the address line tells where the popup really is.
	eventually(t, "the popup's host in the address line", func() bool {
		host, _ := p.page.Locator("#host").InnerText()
		return host == strings.TrimPrefix(b.site.Elsewhere.URL, "http://")
	})
	if shown, _ := p.page.Locator("#away").IsVisible(); !shown {
		t.Error("no banner tells that this is another site")
	}
	// The banner and the list of tabs took a part of the window; had the page moved, clicks would miss.
	if got := p.eval("innerHeight"); got != tall {
		t.Errorf("the page is %v tall beside our bars, and %v without", got, tall)
	}
	p.shot("07-popup")
	p.focus("[name=user]")
	p.write("bob")
	p.focus("[name=password]")
	p.write(passwordOf("bob"))
	eventually(t, "the popup's fields", func() bool { return p.value("[name=password]") == passwordOf("bob") })
	p.press("Enter")
	p.must(p.page.Locator("#ask[open]").WaitFor())
	p.shot("08-dialog")
	p.must(p.page.Locator("#askYes").Click())
	p.await("connected")
	r := over(t, done)
	if r.err != nil {
		t.Fatal(r.err)
	}
	// LV-020: cookies of the popup's site are left behind, and the person is told.
	for _, k := range r.got.Bundle.in().State.Cookies {
		if k.Name == "tracker" || strings.Contains(k.Domain, "localhost") {
			t.Errorf("kept the cookie %s of %s", k.Name, k.Domain)
		}
	}
	kept, _ := p.page.Locator("#kept").InnerText()
	if r.got.Dropped == 0 || !strings.Contains(kept, "Left behind") {
		t.Errorf("dropped %d; the person reads %q", r.got.Dropped, kept)
	}
	b.isAlive(r.got.Bundle, "bob")
}

// A cookie called session proves nothing when every visitor has one, and a second
// factor is never taken for success, not even when the person says so.
func TestNotSignedInYet(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{Anonymous: true})
	s, done := b.start("alice", func(d *providers.Browser) {
		d.Success = providers.Match{All: []providers.Condition{{Cookie: "session"}}}
	})
	p := b.open(s)
	p.await("waiting")
	eventually(t, "the note that the site does not agree", func() bool {
		text, _ := p.page.Locator("#toast").InnerText()
		return strings.Contains(text, "does not take you for signed in")
	})
	select {
	case r := <-done:
		t.Fatalf("ended: %+v", r)
	default:
	}
}

// Where the definition has no probe, “I’m signed in” on the sign-in page stores nothing: neither where the rules
// do not hold in the second browser, nor where there is nothing to store.
func TestSaidTooEarly(t *testing.T) {
	b := newBench(t, func(o *Options) { o.PerOwner = 3 }, authtest.SiteOptions{})
	bare := pages(t, map[string]string{"/": `<p id=here>in`})
	for name, change := range map[string]func(*providers.Browser){
		"the rules do not hold": func(d *providers.Browser) {},
		"nothing to store": func(d *providers.Browser) {
			d.LoginURL, d.Domains, d.SecondFactor = bare.URL+"/", []string{strings.TrimPrefix(bare.URL, "http://")}, nil
			d.Success = providers.Match{All: []providers.Condition{{Selector: "#here"}, {Cookie: "none"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, done := b.start("alice", func(d *providers.Browser) {
				d.Probe, d.Identity = nil, nil
				change(d)
			})
			p := b.open(s)
			p.await("waiting")
			p.must(p.page.Locator("#done").Click())
			p.must(p.page.Locator("#toast", playwright.PageLocatorOptions{HasText: "does not take you for signed in"}).WaitFor())
			select {
			case r := <-done:
				t.Fatalf("ended: %+v", r)
			default:
			}
		})
	}
	// Who is signed in needs no probe.
	s, done := b.start("bob", func(d *providers.Browser) { d.Probe, d.Identity = nil, nil })
	b.open(s).signIn("alice")
	if r := over(t, done); r.err != nil {
		t.Fatal(r.err)
	}
}

// Backspace, arrows, select all, an input method and a paste box.
func TestKeyboard(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	p.focus("[name=user]")
	p.write("Ünï@ß€")
	p.press("Backspace")
	p.press("Home")
	p.press("Delete")
	p.press("End")
	p.write("!")
	eventually(t, "editing keys", func() bool { return p.value("[name=user]") == "nï@ß!" })
	p.press("Control+a")
	p.write("x")
	eventually(t, "select all", func() bool { return p.value("[name=user]") == "x" })
	_, err := p.page.Evaluate(`() => { const k = document.getElementById("keys"), e = (t, d) => k.dispatchEvent(new CompositionEvent(t, {data: d, bubbles: true}));
		e("compositionstart", ""); e("compositionupdate", "に"); e("compositionupdate", "にほ"); e("compositionend", "日本") }`)
	p.must(err)
	eventually(t, "an input method", func() bool { return p.value("[name=user]") == "x日本" })
	p.press("F6")
	if on, _ := p.page.Evaluate(`document.activeElement.id`); on != "done" {
		t.Errorf("F6 leads to %v: the picture is a keyboard trap", on)
	}
	p.must(p.page.Locator("#paste").Click())
	p.must(p.page.Locator("#askFields input").Fill(" pasted"))
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the paste box", func() bool { return p.value("[name=user]") == "x日本 pasted" })
}

// A phone: touch, its own width, lists at the bottom.
func TestPhone(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.openWith(s, playwright.BrowserNewContextOptions{
		Viewport: &playwright.Size{Width: 390, Height: 760}, HasTouch: playwright.Bool(true), IsMobile: playwright.Bool(true), DeviceScaleFactor: playwright.Float(2),
		ColorScheme: playwright.ColorSchemeDark,
	})
	p.await("waiting")
	eventually(t, "the phone's width", func() bool { w, _ := s.front.page.Size(); return w < 400 })
	x, y := p.at("[name=user]")
	p.must(p.page.Touchscreen().Tap(int(x), int(y)))
	eventually(t, "focus by touch", func() bool {
		on, _ := p.front().Evaluate(`document.activeElement.name`)
		return on == "user"
	})
	p.write("alice")
	eventually(t, "the name", func() bool { return p.value("[name=user]") == "alice" })
	p.shot("09-phone-dark")
	x, y = p.at("select")
	p.must(p.page.Touchscreen().Tap(int(x), int(y)))
	p.must(p.page.Locator("#menu button").First().WaitFor())
	p.shot("10-phone-list")
	p.must(p.page.Locator("#menu button", playwright.PageLocatorOptions{HasText: "East"}).Tap())
	eventually(t, "the choice by touch", func() bool { return p.value("select") == "east" })
}

// The page's window follows the person's.
func TestResize(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	p.must(p.page.SetViewportSize(900, 600))
	eventually(t, "the new width on the site", func() bool {
		w, _ := p.front().Evaluate("innerWidth")
		return num(w) > 800 && num(w) < 900
	})
}

// A site that keeps half a mailbox in its databases is signed in without it: every call would have to open the whole.
func TestDatabasesThatAreTooLarge(t *testing.T) {
	site := pages(t, map[string]string{"/": `<script>document.cookie = "session=abcdefgh"; localStorage.token = "abcdefgh"</script>in`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", func(d *providers.Browser) {
		d.LoginURL, d.Domains, d.SecondFactor = site.URL, []string{strings.TrimPrefix(site.URL, "http://")}, nil
	})
	b.open(s).await("waiting")
	for size, want := range map[int]bool{1000: true, 20_000_000: false} {
		put := `new Promise((f) => { const o = indexedDB.open("mail", 1); o.onupgradeneeded = () => o.result.createObjectStore("all"); o.onsuccess = () => {
			const put = o.result.transaction("all", "readwrite"); put.objectStore("all").put("x".repeat(%d), 1); put.oncomplete = () => f("put") } })`
		if got := s.front.page.Eval(t.Context(), fmt.Sprintf(put, size)); len(got) != 1 {
			t.Fatal(got)
		}
		got, err := capture(t.Context(), s.rules, s.context, nil, nil, false, 1280, 720)
		if err != nil {
			t.Fatal(err)
		}
		in := got.Bundle.in()
		if len(in.State.Cookies) != 1 || len(in.State.Origins) != 1 || len(in.State.Origins[0].LocalStorage) == 0 {
			t.Errorf("%d: %d cookies, %d origins", size, len(in.State.Cookies), len(in.State.Origins))
		} else if kept := len(in.State.Origins[0].IndexedDB) > size; kept != want || got.Bundle.Partial() == want {
			t.Errorf("%d bytes in a database: kept %v", size, kept)
		}
	}
}
