package browserlogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/playwright-community/playwright-go"
)

// This is the only file that knows playwright-go. The driver library panics,
// prints and looks into the environment in places; all of that is kept here.

// driver is the node process that speaks to the browsers.
type driver struct {
	pw  *playwright.Playwright
	dir *runDir
}

// libraryStarts: the library keeps its logger in a global that every start writes.
var libraryStarts sync.Mutex

var quiet = slog.New(slog.DiscardHandler)

// startDriver unpacks the driver into a directory of its own and starts it.
func startDriver(o Options, node string, headed bool) (*driver, error) {
	// With DEBUGP set the library prints every message, keystrokes among them.
	os.Unsetenv("DEBUGP")
	os.Unsetenv("PLAYWRIGHT_NODEJS_PATH")
	uid := dropTo()
	dir, err := newRunDir(o.TempDir, uid)
	if err != nil {
		return nil, err
	}
	d := &driver{dir: dir}
	if err := unpack(filepath.Join(o.DriverDir, driverFile), dir.path); err != nil {
		dir.remove()
		return nil, err
	}
	if err := writeWrapper(dir, node, uid, headed); err != nil {
		dir.remove()
		return nil, err
	}
	run := &playwright.RunOptions{DriverDirectory: dir.path, SkipInstallBrowsers: true, Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
	libraryStarts.Lock()
	defer libraryStarts.Unlock()
	if err := playwright.Install(run); err != nil { // patches one file of the unpacked driver; fetches nothing
		dir.remove()
		return nil, fmt.Errorf("the browser driver does not start: %w; run latchpost browser check", err)
	}
	if d.pw, err = playwright.Run(run); err != nil {
		dir.remove()
		return nil, fmt.Errorf("the browser driver does not start: %w; run latchpost browser check", err)
	}
	return d, nil
}

// alive tells whether the driver still answers.
func (d *driver) alive() bool {
	request, err := d.pw.Request.NewContext()
	if err != nil {
		return false
	}
	_ = request.Dispose()
	return true
}

func (d *driver) close() {
	_ = d.pw.Stop()
	d.dir.remove()
}

// launchArgs: no second --disable-features, it would undo the driver's own.
var launchArgs = []string{
	"--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
	"--disable-sync", "--disable-crash-reporter", "--disable-blink-features=AutomationControlled",
	// The first name is that of Chromium since 2023; the older one is ignored there.
	"--webrtc-ip-handling-policy=disable_non_proxied_udp", "--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--deny-permission-prompts",
	// Names are resolved by our proxy, once. The browser itself asks nobody.
	"--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
	// Or it would describe the forms of every login page to its maker.
	"--autofill-server-url=about:blank",
}

// nowhere is the proxy of all that Chromium does by itself, for which there is no switch: it asks its maker for the time, for updates
// and who is signed in. Pages go by the proxy of their context. Nothing listens here (RFC 863 gives the port to what discards).
const nowhere = "http://127.0.0.1:9"

// launch starts a browser on this machine whose contexts send all their traffic to proxy, or joins a remote one.
func (d *driver) launch(k kind, chromium, proxy string, sandbox bool) (*localBrowser, error) {
	var b playwright.Browser
	var err error
	if k.cdp != "" {
		if b, err = d.pw.Chromium.ConnectOverCDP(k.cdp); err != nil {
			return nil, fmt.Errorf("the remote browser does not answer: %s; check the address that stands after cdp: in --browser", brief(err))
		}
	} else {
		args := slices.Clone(launchArgs)
		if !k.headed {
			args = append(args, "--headless=new")
		}
		b, err = d.pw.Chromium.Launch(playwright.BrowserTypeLaunchOptions{
			ExecutablePath:  &chromium,
			Headless:        playwright.Bool(!k.headed),
			ChromiumSandbox: &sandbox,
			Args:            args,
			// The driver's own arguments let a page navigate without end, and every navigation is news to us; and any frame
			// open windows without a click, which take the keyboard from whoever types a password.
			IgnoreDefaultArgs: []string{"--enable-automation", "--disable-ipc-flooding-protection", "--disable-popup-blocking"},
			HandleSIGINT:      playwright.Bool(false),
			HandleSIGTERM:     playwright.Bool(false),
			HandleSIGHUP:      playwright.Bool(false),
			Proxy:             way(nowhere),
		})
		if err != nil {
			return nil, launchError(err)
		}
	}
	lb := &localBrowser{b: b, gone: make(chan struct{}), remote: k.cdp != ""}
	if !lb.remote {
		lb.proxy = way(proxy)
	}
	var once sync.Once
	b.OnDisconnected(func(playwright.Browser) { once.Do(func() { close(lb.gone) }) })
	if !b.IsConnected() {
		once.Do(func() { close(lb.gone) })
	}
	return lb, nil
}

// way is a proxy for everything, this machine's own addresses too.
func way(proxy string) *playwright.Proxy {
	return &playwright.Proxy{Server: proxy, Bypass: playwright.String("<-loopback>")}
}

// launchError turns the browser's own words into something to act on.
func launchError(err error) error {
	text := err.Error()
	for _, sign := range []string{"No usable sandbox", "Failed to move to new namespace", "sandbox_host_linux", "Operation not permitted", "zygote_host_impl"} {
		if strings.Contains(text, sign) {
			return fmt.Errorf("%w: this kernel or container does not let Chromium use its sandbox, and without it a hostile page could reach this machine. Allow user namespaces (in Docker: a seccomp profile that permits them), or accept the risk with --unsafe-no-sandbox", ErrNoSandbox)
		}
	}
	return fmt.Errorf("the browser (Chromium) does not start: %s; run latchpost browser check", brief(err))
}

var netError = regexp.MustCompile(`net::ERR_[A-Z_]+`)

// brief is the part of a driver error that holds no address and no page text.
func brief(err error) string {
	if err == nil {
		return ""
	}
	if code := netError.FindString(err.Error()); code != "" {
		return code
	}
	for _, known := range []string{"Timeout", "Target page, context or browser has been closed", "target closed", "could not read protocol"} {
		if strings.Contains(err.Error(), known) {
			return known
		}
	}
	return "the driver reports an error"
}

// ErrNoBrowser means that the browser or its driver has ended.
var ErrNoBrowser = errors.New("the browser has stopped; start the sign-in again")

// ErrNoSandbox means that Chromium's sandbox cannot work here.
var ErrNoSandbox = errors.New("browser sign-in is off")

// localBrowser is a Chromium that the driver holds.
type localBrowser struct {
	b      playwright.Browser
	gone   chan struct{}
	proxy  *playwright.Proxy // of its contexts; nil = a remote one has its own way
	remote bool
}

func (b *localBrowser) Gone() <-chan struct{} { return b.gone }
func (b *localBrowser) Close() error          { return b.b.Close() }

func (b *localBrowser) NewContext(o ContextOptions) (*Context, error) {
	size := &playwright.Size{Width: o.Width, Height: o.Height}
	opt := playwright.BrowserNewContextOptions{
		AcceptDownloads: playwright.Bool(false), Viewport: size, Screen: size, ServiceWorkers: playwright.ServiceWorkerPolicyAllow,
		IgnoreHttpsErrors: playwright.Bool(o.insecureTLS), Proxy: b.proxy,
	}
	if o.UserAgent != "" {
		opt.UserAgent = &o.UserAgent
	}
	if o.Locale != "" {
		opt.Locale = &o.Locale
	}
	if o.Timezone != "" {
		opt.TimezoneId = &o.Timezone
	}
	c, err := b.b.NewContext(opt)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoBrowser, brief(err))
	}
	return &Context{c: c}, nil
}

// Context is one profile in memory: cookies, storage, pages.
type Context struct {
	c playwright.BrowserContext

	fetching sync.Mutex
	fetcher  *fetcher // of the last request that Fetch made
}

// OnPage tells of each new page, popups too. fn must not block.
func (c *Context) OnPage(fn func(*Page)) { c.c.OnPage(func(p playwright.Page) { fn(&Page{p: p}) }) }

// Response is what is known of an answer before its body.
type Response struct {
	URL    string
	Status int
	Header func(name string) string
}

// OnResponse tells of every response. fn must not block.
func (c *Context) OnResponse(fn func(Response)) {
	c.c.OnResponse(func(r playwright.Response) {
		fn(Response{URL: r.URL(), Status: r.Status(), Header: func(name string) string { return r.Headers()[name] }})
	})
}

// OnFailed tells of main-frame requests that ended with an error such as net::ERR_ABORTED. fn must not block.
func (c *Context) OnFailed(fn func(p *Page, url, reason string)) {
	c.c.OnRequestFailed(func(r playwright.Request) {
		if f := r.Frame(); f != nil && r.IsNavigationRequest() && f.ParentFrame() == nil && r.Failure() != nil {
			fn(&Page{p: f.Page()}, r.URL(), brief(r.Failure()))
		}
	})
}

// NewPage opens an empty page.
func (c *Context) NewPage() (*Page, error) {
	p, err := c.c.NewPage()
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoBrowser, brief(err))
	}
	return &Page{p: p}, nil
}

// Pages is how many are open.
func (c *Context) Pages() int { return len(c.c.Pages()) }

// Cookies are all cookies of the context, with their values.
func (c *Context) Cookies() ([]Cookie, error) {
	got, err := c.c.Cookies()
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoBrowser, brief(err))
	}
	out := make([]Cookie, len(got))
	for i, k := range got {
		out[i] = Cookie{Name: k.Name, Value: k.Value, Domain: k.Domain, Path: k.Path, Expires: k.Expires, HTTPOnly: k.HttpOnly, Secure: k.Secure}
		if k.SameSite != nil {
			out[i].SameSite = string(*k.SameSite)
		}
	}
	return out, nil
}

// UserAgent is what the browser calls itself, whatever a page makes of that; "" when it does not say.
func (c *Context) UserAgent() string {
	s, err := c.c.Browser().NewBrowserCDPSession()
	if err != nil {
		return ""
	}
	defer s.Detach()
	v, _ := s.Send("Browser.getVersion", map[string]any{})
	m, _ := v.(map[string]any)
	ua, _ := m["userAgent"].(string)
	return ua
}

// InitScript runs before the page's own scripts in every frame from now on.
func (c *Context) InitScript(js string) error {
	return c.c.AddInitScript(playwright.Script{Content: &js})
}

// Close ends the context; what was in memory is gone.
func (c *Context) Close() error { return c.c.Close() }

// StorageState is the driver's JSON of cookies, localStorage and IndexedDB.
// The library writes only to a path; it gets the end of a pipe, so nothing
// secret reaches a disk.
func (c *Context) StorageState(ctx context.Context, indexedDB bool) (json.RawMessage, error) {
	raw, err := ask(ctx, func() (json.RawMessage, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer r.Close()
		var raw []byte
		read := make(chan error, 1)
		go func() {
			var err error
			raw, err = io.ReadAll(r)
			read <- err
		}()
		_, err = c.c.StorageState(playwright.BrowserContextStorageStateOptions{
			Path: playwright.String(fmt.Sprintf("/dev/fd/%d", w.Fd())), IndexedDB: &indexedDB,
		})
		w.Close()
		if e := <-read; err == nil {
			err = e
		}
		return raw, err
	})
	if err != nil {
		return nil, fmt.Errorf("the browser's storage cannot be read (%s)", brief(err))
	}
	return raw, nil
}

// SetStorageState is the way back. It fails as a whole when one value of an
// IndexedDB cannot be restored.
func (c *Context) SetStorageState(state json.RawMessage) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	go func() {
		_, _ = w.Write(state)
		w.Close()
	}()
	if err := c.c.SetStorageState(fmt.Sprintf("/dev/fd/%d", r.Fd())); err != nil {
		return fmt.Errorf("the storage cannot be put back (%s)", brief(err))
	}
	return nil
}

// Page is one tab.
type Page struct {
	p playwright.Page

	// The library's own list of frames may be read on its goroutine only; this one is kept by Listen.
	mu     sync.Mutex
	frames map[playwright.Frame]bool
}

func (p *Page) same(q *Page) bool { return q != nil && p.p == q.p }

// Opened tells whether a page of the site opened it.
func (p *Page) Opened() bool {
	opener, _ := p.p.Opener()
	return opener != nil
}

// URL is the address that the browser shows, query and all: never log it.
func (p *Page) URL() string { return p.p.URL() }

// Goto starts a navigation and returns once it is under way.
func (p *Page) Goto(url string) error {
	_, err := p.p.Goto(url, playwright.PageGotoOptions{WaitUntil: playwright.WaitUntilStateCommit, Timeout: playwright.Float(20_000)})
	if err != nil {
		return fmt.Errorf("the page does not open (%s)", brief(err))
	}
	return nil
}

func (p *Page) Back() {
	_, _ = p.p.GoBack(playwright.PageGoBackOptions{WaitUntil: playwright.WaitUntilStateCommit})
}
func (p *Page) Forward() {
	_, _ = p.p.GoForward(playwright.PageGoForwardOptions{WaitUntil: playwright.WaitUntilStateCommit})
}
func (p *Page) Reload() {
	_, _ = p.p.Reload(playwright.PageReloadOptions{WaitUntil: playwright.WaitUntilStateCommit})
}
func (p *Page) Close() { _ = p.p.Close() }

// OnGone tells that the page was closed or has crashed. fn must not block.
func (p *Page) OnGone(fn func()) {
	p.p.OnClose(func(playwright.Page) { fn() })
	p.p.OnCrash(func(playwright.Page) { fn() })
}
func (p *Page) BringToFront() { _ = p.p.BringToFront() }

// Resize sets the viewport, in CSS pixels.
func (p *Page) Resize(w, h int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := ask(ctx, func() (any, error) { return nil, p.p.SetViewportSize(w, h) })
	return err
}

// Size of the viewport; 0, 0 when the page decides.
func (p *Page) Size() (w, h int) {
	if s := p.p.ViewportSize(); s != nil {
		return s.Width, s.Height
	}
	return 0, 0
}

// Count of elements that match a CSS selector in the main frame.
func (p *Page) Count(ctx context.Context, selector string) (int, error) {
	return ask(ctx, p.p.Locator("css="+selector).Count)
}

// Text of the first element that matches, trimmed; "" when there is none, or one that is not of HTML.
func (p *Page) Text(ctx context.Context, selector string) string {
	// Asked outside the page's own world, which could answer with anything.
	text, _ := ask(ctx, func() (string, error) {
		return p.p.Locator("css=" + selector).First().InnerText(playwright.LocatorInnerTextOptions{Timeout: playwright.Float(5000)})
	})
	return strings.TrimSpace(text)
}

// Eval runs an expression in each frame and gives the strings that come back.
func (p *Page) Eval(ctx context.Context, js string) []string {
	var out []string
	for _, f := range p.everyFrame() {
		if s, ok := f.Eval(ctx, js); ok {
			out = append(out, s)
		}
	}
	return out
}

func (p *Page) everyFrame() []Frame { return append(p.children(), Frame{p.p.MainFrame()}) }

// Eval runs an expression in the page's own world, which may answer with anything.
func (f Frame) Eval(ctx context.Context, js string) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := ask(ctx, func() (any, error) { return f.f.Evaluate(js) })
	s, ok := v.(string)
	return s, ok && err == nil
}

// URL is the address that the browser knows the frame by.
func (f Frame) URL() string { return f.f.URL() }

// patience is how long one frame among others may take to answer.
const patience = 3 * time.Second

// ask puts a question to a page. One whose script never rests does not answer, and the library waits for it until
// the page or its context is closed; we wait until ctx ends. What the library panics over is an error.
func ask[T any](ctx context.Context, question func() (T, error)) (T, error) {
	type answer struct {
		is  T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("the library panics over what the page answers")}
		defer func() {
			_ = recover()
			got <- a
		}()
		a.is, a.err = question()
	}()
	select {
	case a := <-got:
		return a.is, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// children are the frames in the page.
func (p *Page) children() []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Frame
	for f := range p.frames {
		all = append(all, Frame{f})
	}
	return all
}

// PageEvents are told on the driver's goroutine: they must not block.
type PageEvents struct {
	Closed, Crashed func()
	Moved           func(child Frame) // a frame navigated; the zero Frame is the main one
	Dialog          func(Dialog)
	FileChooser     func()
	Download        func()
}

// Listen registers all of them at once.
func (p *Page) Listen(e PageEvents) {
	p.p.OnClose(func(playwright.Page) { e.Closed() })
	p.p.OnCrash(func(playwright.Page) { e.Crashed() })
	p.p.OnFrameNavigated(func(f playwright.Frame) {
		if f.ParentFrame() == nil {
			e.Moved(Frame{})
			return
		}
		p.mu.Lock()
		if p.frames == nil {
			p.frames = map[playwright.Frame]bool{}
		}
		p.frames[f] = true
		p.mu.Unlock()
		e.Moved(Frame{f})
	})
	p.p.OnFrameDetached(func(f playwright.Frame) {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.frames, f)
	})
	p.p.OnDialog(func(d playwright.Dialog) {
		e.Dialog(Dialog{Kind: d.Type(), Message: d.Message(), Default: d.DefaultValue(),
			Accept: func(text string) { _ = d.Accept(text) }, Dismiss: func() { _ = d.Dismiss() }})
	})
	p.p.OnFileChooser(func(playwright.FileChooser) { e.FileChooser() })
	p.p.OnDownload(func(playwright.Download) { e.Download() })
}

// Dialog is a JavaScript alert, confirm, prompt or beforeunload that waits.
type Dialog struct {
	Kind, Message, Default string
	Accept                 func(text string)
	Dismiss                func()
}

// CDP opens a session with the page.
func (p *Page) CDP() (CDP, error) { return newCDP(p.p.Context(), p.p) }

// Frame is a frame inside a page. It can be compared.
type Frame struct{ f playwright.Frame }

// FrameCDP opens a session with a frame that lives in a process of its own; others give an error.
func (p *Page) FrameCDP(f Frame) (CDP, error) { return newCDP(p.p.Context(), f.f) }

func newCDP(c playwright.BrowserContext, target any) (CDP, error) {
	s, err := c.NewCDPSession(target)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", ErrNoBrowser, brief(err))
	}
	return cdpSession{s}, nil
}

type cdpSession struct{ s playwright.CDPSession }

func (c cdpSession) Send(method string, params map[string]any) (map[string]any, error) {
	v, err := c.s.Send(method, params)
	m, _ := v.(map[string]any)
	return m, err
}

func (c cdpSession) On(event string, fn func(map[string]any)) {
	c.s.On(event, func(params map[string]any) { fn(params) })
}

func (c cdpSession) Close() error { return c.s.Detach() }
