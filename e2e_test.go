package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/browserlogin"
)

// TestInChromium is the product as people meet it: our server, providers beside it, and
// a real Chromium with a profile for each person. Each story has a house of its own.
func TestInChromium(t *testing.T) {
	c := openChromium(t)
	t.Run("remote", c.remoteStories)
	t.Run("local", c.localStories)
	t.Run("https", c.httpsStory)
}

// chromium is the browser of all the people in these tests.
type chromium struct {
	playwright.Browser
	exe string
}

// openChromium starts the browser until the test ends. Without it a laptop skips; CI fails.
func openChromium(t *testing.T) *chromium {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	exe, err := exec.LookPath("chromium")
	if err != nil {
		missing("people need a browser: %v; run make tools", err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("the browser's driver needs node: %v; run make tools", err)
	}
	if err := browserlogin.Install(t.Context(), browserlogin.Options{DriverDir: defaultBrowserDir()}, nil); err != nil {
		missing("the browser's driver: %v; run make tools", err)
	}
	archives, _ := filepath.Glob(filepath.Join(defaultBrowserDir(), "playwright-core-*.tgz"))
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", archives[0], "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("unpacking the driver: %v: %s", err, out)
	}
	if err := os.Symlink(node, filepath.Join(dir, "node")); err != nil {
		t.Fatal(err)
	}
	quiet := &playwright.RunOptions{DriverDirectory: dir, SkipInstallBrowsers: true, Stdout: io.Discard, Stderr: io.Discard}
	if err := playwright.Install(quiet); err != nil { // fetches nothing
		t.Fatal(err)
	}
	driver, err := playwright.Run(quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Stop() })
	browser, err := driver.Chromium.Launch(playwright.BrowserTypeLaunchOptions{
		ExecutablePath: &exe, ChromiumSandbox: sandbox(), Args: headless,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &chromium{browser, exe}
}

var headless = []string{"--headless=new", "--disable-gpu"}

func sandbox() *bool { return playwright.Bool(os.Geteuid() != 0) } // root cannot have one

// person is somebody with a browser of their own.
type person struct {
	t *testing.T
	playwright.Page
	name string

	mu         sync.Mutex
	answers    []playwright.Response
	violations []string // of a content security policy of any page
}

// person gives somebody a fresh profile. HL-009, HL-010: no page of a story may violate
// its content policy, whoever opened it.
func (c *chromium) person(t *testing.T, name string) *person {
	t.Helper()
	profile, err := c.NewContext(playwright.BrowserNewContextOptions{IgnoreHttpsErrors: playwright.Bool(true), Viewport: &desk})
	if err != nil {
		t.Fatal(err)
	}
	return settleIn(t, name, profile)
}

func settleIn(t *testing.T, name string, profile playwright.BrowserContext) *person {
	t.Helper()
	profile.SetDefaultTimeout(20_000)
	p := &person{t: t, name: name}
	profile.OnResponse(func(r playwright.Response) { p.mu.Lock(); defer p.mu.Unlock(); p.answers = append(p.answers, r) })
	profile.OnConsole(func(m playwright.ConsoleMessage) {
		if m.Type() == "error" && strings.Contains(m.Text(), "Content Security Policy") {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.violations = append(p.violations, m.Text())
		}
	})
	var err error
	if p.Page, err = profile.NewPage(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s was at %s", name, p.URL())
		}
		_ = profile.Close()
		for _, v := range p.broken() {
			t.Errorf("%s's browser reports: %s", name, v)
		}
	})
	return p
}

// broken gives the violations so far and forgets them.
func (p *person) broken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.violations
	p.violations = nil
	return found
}

func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("%s at %s: %v", p.name, p.URL(), err)
	}
}

// open goes to an address and gives the status of the answer.
func (p *person) open(address string) int {
	p.t.Helper()
	answer, err := p.Goto(address)
	p.must(err)
	return answer.Status()
}

// press presses a button or follows a link by its text.
func (p *person) press(text string) {
	p.t.Helper()
	p.must(p.Locator("button, a.button", playwright.PageLocatorOptions{HasText: text}).First().Click())
}

// reads waits until a page says something.
func (p *person) reads(text string) {
	p.t.Helper()
	if err := p.GetByText(text).First().WaitFor(); err != nil {
		p.t.Fatalf("%s does not read %q at %s, but: %s", p.name, text, p.URL(), p.text())
	}
}

func (p *person) text() string {
	p.t.Helper()
	text, err := p.Locator("body").InnerText()
	p.must(err)
	return text
}

// arrives waits until the browser is at an address that begins so.
func (p *person) arrives(prefix string) {
	p.t.Helper()
	p.loads(func() bool { return strings.HasPrefix(p.URL(), prefix) })
}

// loads waits until the page is whole, and is the one that is meant. WaitForURL and WaitForLoadState of playwright-go look first and
// listen then, and miss for good what happens in between.
func (p *person) loads(meant func() bool) {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !meant() {
			continue
		}
		if state, err := p.Evaluate("document.readyState"); err == nil && state == "complete" { // an error: the page has just gone
			return
		}
	}
	p.t.Fatalf("%s has not arrived, but is at %s", p.name, p.URL())
}

// leaves does something that ends the page, and waits for the next one.
func (p *person) leaves(do func() error) {
	p.t.Helper()
	p.js(`document.documentElement.dataset.old = ""`)
	p.must(do())
	p.must(p.Locator("html:not([data-old])").WaitFor())
	p.loads(func() bool { return true })
}

// js runs a script in the page, as somebody with the developer tools would.
func (p *person) js(script string, arg ...any) any {
	p.t.Helper()
	v, err := p.Evaluate(script, arg...)
	p.must(err)
	return v
}

// approve signs in wherever the browser has been sent, with the password of user, and
// goes on until it is back at an address that begins with back.
func (p *person) approve(user, back string) {
	p.t.Helper()
	all := authtest.DefaultUsers()
	at := slices.IndexFunc(all, func(u authtest.User) bool { return u.Name == user })
	for range 4 {
		if fields, err := p.Locator("[name=password]").Count(); err == nil && fields > 0 {
			p.must(p.Locator("[name=user]").Fill(user))
			p.must(p.Locator("[name=password]").Fill(all[at].Password))
		}
		p.leaves(func() error { return p.Locator("button[value=allow]").Click() })
		if strings.HasPrefix(p.URL(), back) {
			return
		}
	}
	p.t.Fatalf("%s never came back to %s", p.name, back)
}

var (
	desk  = playwright.Size{Width: 1180, Height: 900}
	phone = playwright.Size{Width: 390, Height: 844}
)

// shot looks at the page on a phone, where nothing may stick out sideways, and keeps
// pictures of it in LATCHPOST_ARTEFACTS, if that is set: phone and desk, light and dark.
func (p *person) shot(name string) {
	p.t.Helper()
	dir := os.Getenv("LATCHPOST_ARTEFACTS")
	for kind, size := range map[string]playwright.Size{"phone": phone, "desk": desk} {
		p.must(p.SetViewportSize(size.Width, size.Height))
		if wide := p.js(`document.documentElement.scrollWidth - innerWidth`); wide != 0 {
			p.t.Errorf("%s is %v pixels too wide for a %s", name, wide, kind)
		}
		for _, scheme := range []*playwright.ColorScheme{playwright.ColorSchemeLight, playwright.ColorSchemeDark} {
			if dir == "" {
				continue
			}
			p.must(p.EmulateMedia(playwright.PageEmulateMediaOptions{ColorScheme: scheme}))
			path := filepath.Join(dir, "e2e-"+name+"-"+kind+"-"+string(*scheme)+".png")
			_, err := p.Screenshot(playwright.PageScreenshotOptions{Path: &path, FullPage: playwright.Bool(true), Animations: playwright.ScreenshotAnimationsDisabled})
			p.must(err)
		}
	}
	p.must(p.SetViewportSize(desk.Width, desk.Height))
}
