package browserlogin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// driverDir is where the tests keep the driver between runs.
var driverDir = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "latchpost", "browser")
	if _, err := FindChromium(Options{}); err != nil {
		return "", err
	}
	return dir, Install(context.Background(), Options{DriverDir: dir}, nil)
})

// needBrowser gives the driver directory. Without Chromium a laptop skips; CI fails.
func needBrowser(t testing.TB) string {
	t.Helper()
	dir, err := driverDir()
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return dir
}

// theUser is the second Chromium of the tests: the person's own browser.
var theUser = sync.OnceValues(func() (playwright.Browser, error) {
	dir, err := driverDir()
	if err != nil {
		return nil, err
	}
	o := Options{DriverDir: dir}
	node, err := findNode(context.Background(), o)
	if err != nil {
		return nil, err
	}
	exe, _ := FindChromium(o)
	d, err := startDriver(o, node, false)
	if err != nil {
		return nil, err
	}
	userDriver = d
	return d.pw.Chromium.Launch(playwright.BrowserTypeLaunchOptions{
		ExecutablePath: &exe, ChromiumSandbox: playwright.Bool(true), Args: []string{"--headless=new", "--disable-gpu"},
	})
})

var userDriver *driver

func TestMain(m *testing.M) {
	code := m.Run()
	if userDriver != nil {
		userDriver.close()
	}
	os.Exit(code)
}

// bench is a pool behind a real HTTP server, a practice site, and a person.
type bench struct {
	t    testing.TB
	pool *Pool
	srv  *httptest.Server
	site *authtest.Site

	mu      sync.Mutex
	allowed func(*http.Request, string) error
}

// result is what Login.Done got.
type result struct {
	got *Captured
	err error
}

func newBench(t testing.TB, change func(*Options), site authtest.SiteOptions) *bench {
	t.Helper()
	b := &bench{t: t}
	o := Options{
		DriverDir: needBrowser(t), TempDir: shortTemp(t),
		Dial:    egress.New(egress.Options{Loopback: true}).DialContext,
		Origins: func() []string { return []string{b.srv.URL} },
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		Allowed: func(r *http.Request, request string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.allowed != nil {
				return b.allowed(r, request)
			}
			return nil
		},
	}
	if change != nil {
		change(&o)
	}
	var err error
	if b.pool, err = New(o); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/live/", b.pool.Handler())
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("../auth/web/static"))))
	b.srv = httptest.NewServer(mux)
	b.site = authtest.NewSite(site)
	t.Cleanup(func() {
		b.pool.Close()
		b.srv.Close()
		b.site.Close()
	})
	return b
}

// definition is the practice site's.
func (b *bench) definition() *providers.Browser {
	at := strings.TrimPrefix(b.site.URL, "http://")
	return &providers.Browser{
		LoginURL: b.site.URL + "/login", Domains: []string{at}, Usage: "token",
		Success:      providers.Match{All: []providers.Condition{{URL: "^" + b.site.URL + "/account$"}, {Cookie: "session"}}},
		SecondFactor: &providers.Match{Any: []providers.Condition{{URL: "^" + b.site.URL + "/login/code$"}}},
		Probe:        &providers.Probe{URL: b.site.URL + "/api/session"},
		Identity:     &providers.BrowserIdentity{URL: b.site.URL + "/api/session", Label: []string{"user"}},
	}
}

// start begins a login for owner, with changes to the definition.
func (b *bench) start(owner string, change func(*providers.Browser)) (*session, <-chan result) {
	b.t.Helper()
	s, done, err := b.tryStart(owner, change)
	if err != nil {
		b.t.Fatal(err)
	}
	return s, done
}

func (b *bench) tryStart(owner string, change func(*providers.Browser)) (*session, <-chan result, error) {
	site := b.definition()
	if change != nil {
		change(site)
	}
	done := make(chan result, 1)
	path, err := b.pool.Start(Login{
		Request: newID(), Owner: owner, Name: "Practice", Asked: "Claude (unverified)", Site: site,
		Done: func(_ context.Context, got *Captured, err error) error {
			done <- result{got, err}
			return nil
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return b.pool.login(strings.TrimPrefix(path, "/live/")), done, nil
}

func (b *bench) url(s *session) string { return b.srv.URL + "/live/" + s.id }

// person is somebody in front of the live view.
type person struct {
	t    testing.TB
	s    *session
	ctx  playwright.BrowserContext
	page playwright.Page
}

// open lets a person open the login's page in a browser of their own.
func (b *bench) open(s *session) *person {
	b.t.Helper()
	return b.openWith(s, playwright.BrowserNewContextOptions{Viewport: &playwright.Size{Width: 1280, Height: 820}})
}

func (b *bench) openWith(s *session, o playwright.BrowserNewContextOptions) *person {
	b.t.Helper()
	user, err := theUser()
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := user.NewContext(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	p, err := c.NewPage()
	if err != nil {
		b.t.Fatal(err)
	}
	p.SetDefaultTimeout(15_000)
	p.OnPageError(func(err error) { b.t.Errorf("script error in the live view: %v", err) })
	p.OnConsole(func(m playwright.ConsoleMessage) {
		if m.Type() == "error" && strings.Contains(m.Text(), "Content Security Policy") {
			b.t.Errorf("the live view breaks its own policy: %s", m.Text())
		}
	})
	if os.Getenv("LIVE_TRACE") != "" {
		p.OnResponse(func(r playwright.Response) { fmt.Println(time.Now().Format("05.000"), r.Status(), r.URL()) })
		p.OnRequest(func(r playwright.Request) { fmt.Println(time.Now().Format("05.000"), r.URL()) })
		p.OnWebSocket(func(w playwright.WebSocket) {
			fmt.Println("ws", w.URL())
			w.OnClose(func(playwright.WebSocket) { fmt.Println("ws closed") })
			w.OnSocketError(func(e string) { fmt.Println("wserr", e) })
			w.OnFrameReceived(func(b []byte) { fmt.Println(time.Now().Format("05.000"), "recv", string(b[:min(len(b), 200)])) })
			w.OnFrameSent(func(b []byte) { fmt.Println(time.Now().Format("05.000"), "sent", string(b)) })
		})
	}
	if _, err := p.Goto(b.url(s)); err != nil {
		b.t.Fatal(err)
	}
	return &person{b.t, s, c, p}
}

// await waits until the page says phase.
func (p *person) await(phase string) {
	p.t.Helper()
	if err := p.page.Locator(`#veil[data-phase="` + phase + `"]`).WaitFor(playwright.LocatorWaitForOptions{State: playwright.WaitForSelectorStateAttached, Timeout: playwright.Float(25_000)}); err != nil {
		at, _ := p.page.Locator("#veil").GetAttribute("data-phase")
		text, _ := p.page.Locator("#text").InnerText()
		p.shot("unexpected-" + phase)
		p.t.Fatalf("the page says %q (%s), not %q", at, text, phase)
	}
}

// shot keeps a picture of the person's screen in LATCHPOST_ARTEFACTS, if that is set.
func (p *person) shot(name string) {
	dir := os.Getenv("LATCHPOST_ARTEFACTS")
	if dir == "" {
		return
	}
	_ = os.MkdirAll(dir, 0o755)
	if _, err := p.page.Screenshot(playwright.PageScreenshotOptions{Path: playwright.String(filepath.Join(dir, name+".png"))}); err != nil {
		p.t.Error(err)
	}
}

// front is the page of the server's browser that the person sees.
func (p *person) front() playwright.Page {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.front == nil {
		p.t.Fatal("there is no page in front")
	}
	return p.s.front.page.p
}

// eventually polls, because two browsers and a network lie between cause and effect.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// seen waits until the page in front has an element.
func (p *person) seen(selector string) {
	p.t.Helper()
	eventually(p.t, selector+" on the site", func() bool {
		p.s.mu.Lock()
		t := p.s.front
		p.s.mu.Unlock()
		if t == nil {
			return false
		}
		n, err := t.page.Count(p.t.Context(), selector)
		return err == nil && n > 0
	})
}

// at gives the point on the person's screen where an element of the site is shown.
func (p *person) at(selector string) (x, y float64) {
	p.t.Helper()
	p.seen(selector)
	eventually(p.t, "a picture of the page as it is", func() bool {
		inner, err := p.front().Evaluate("innerWidth + 'x' + innerHeight")
		drawn, err2 := p.page.Evaluate("Number(picture.dataset.w) === stage.clientWidth && picture.dataset.w + 'x' + picture.dataset.h") // or it is about to change
		return err == nil && err2 == nil && inner == drawn
	})
	box, err := p.front().Locator(selector).First().BoundingBox()
	if err != nil || box == nil {
		p.t.Fatalf("%s is not on the page: %v", selector, err)
	}
	view, err := p.page.Evaluate(`() => { const c = document.getElementById("picture"), r = c.getBoundingClientRect(); return [r.left, r.top, r.width / (Number(c.dataset.w) || c.width)] }`)
	if err != nil {
		p.t.Fatal(err)
	}
	v := view.([]any)
	scale := num(v[2])
	return num(v[0]) + (box.X+box.Width/2)*scale, num(v[1]) + (box.Y+box.Height/2)*scale
}

func num(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

func (p *person) click(selector string) {
	p.t.Helper()
	x, y := p.at(selector)
	p.must(p.page.Mouse().Click(x, y))
}

// focus clicks into a field, once: a click lands where it was aimed.
func (p *person) focus(selector string) {
	p.t.Helper()
	p.click(selector)
	eventually(p.t, "focus on "+selector, func() bool {
		on, err := p.front().Locator(selector).First().Evaluate("e => e === document.activeElement", nil)
		return err == nil && on == true
	})
}

func (p *person) write(s string) { p.t.Helper(); p.must(p.page.Keyboard().Type(s)) }
func (p *person) press(s string) { p.t.Helper(); p.must(p.page.Keyboard().Press(s)) }

// paste is a paste of the person's own clipboard into the picture.
func (p *person) paste(s string) {
	p.t.Helper()
	_, err := p.page.Evaluate(`(s) => { const d = new DataTransfer(); d.setData("text/plain", s);
		document.getElementById("keys").dispatchEvent(new ClipboardEvent("paste", {clipboardData: d, bubbles: true, cancelable: true})) }`, s)
	p.must(err)
}

func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// eval gives the value of an expression on the site.
func (p *person) eval(js string) any {
	p.t.Helper()
	v, err := p.front().Evaluate(js)
	p.must(err)
	return v
}

// value of a field on the site.
func (p *person) value(selector string) string {
	v, _ := p.front().Locator(selector).First().InputValue()
	return v
}

// over waits for the end of a login.
func over(t testing.TB, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(40 * time.Second):
		t.Fatal("the login never ended")
		return result{}
	}
}

var errStranger = errors.New("not the person the request was made for")

func (b *bench) allow(fn func(*http.Request, string) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = fn
}

// shortTemp is t.TempDir with a name that leaves room for a socket, and that the driver's user may walk through.
func shortTemp(t testing.TB) string {
	dir, err := os.MkdirTemp("", "lp")
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(dir, 0o711)
	t.Cleanup(func() {
		left, _ := os.ReadDir(dir)
		if err := os.RemoveAll(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind in the temporary directory: %v %v", left, err)
		}
	})
	return dir
}
