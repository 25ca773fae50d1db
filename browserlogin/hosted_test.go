package browserlogin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/playwright-community/playwright-go"

	"github.com/latchpost/latchpost/auth/authtest"
)

// service plays a company that hosts browsers: a real Chromium behind its WebSocket, and
// a live view of single pages that a person uses in a browser of their own.
type service struct {
	t       *testing.T
	browser string // where its Chromium is
	srv     *httptest.Server

	mu       sync.Mutex
	answer   func(live string) map[string]any // what it says for the address of a view; nil: nothing, ever
	asked    []map[string]any
	views    map[string]string // by id, of which target
	referers []string
}

// secret is in every address of a live view. It must stand nowhere.
const secret = "canary-of-the-view"

func newService(t *testing.T) *service {
	t.Helper()
	v := &service{t: t, browser: elsewhere(t), views: map[string]string{}}
	v.answer = func(live string) map[string]any {
		return map[string]any{"error": nil, "liveURL": live, "liveURLId": "1"}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cdp", v.serveCDP)
	mux.HandleFunc("GET /live/{id}", v.serveView)
	mux.HandleFunc("GET /live/{id}/ws", v.serveInput)
	v.srv = httptest.NewServer(mux)
	t.Cleanup(v.srv.Close)
	return v
}

func (v *service) url() string { return v.srv.URL + "/live/" }

// use makes Options that reach it.
func (v *service) use(view string) func(*Options) {
	return func(o *Options) {
		o.Kind = "cdp:" + strings.Replace(v.srv.URL, "http", "ws", 1) + "/cdp?token=account-token"
		o.LiveView, o.Loopback = view, true
	}
}

const command = "command:Browserless.liveURL"

// wire is one message of the protocol.
type wire struct {
	ID      int64           `json:"id"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  map[string]any  `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
}

// serveCDP passes everything on but the service's own command.
func (v *service) serveCDP(w http.ResponseWriter, r *http.Request) {
	client, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer client.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	chromium, _, err := websocket.Dial(ctx, v.browser, nil)
	if err != nil {
		return
	}
	defer chromium.CloseNow()
	client.SetReadLimit(-1)
	chromium.SetReadLimit(-1)
	const ours = 1 << 30 // ids of the service's own questions
	var mu sync.Mutex
	waits := map[int64]wire{}
	say := func(c *websocket.Conn, m any) {
		data, _ := json.Marshal(m)
		_ = c.Write(ctx, websocket.MessageText, data)
	}
	go func() {
		defer cancel()
		for {
			kind, data, err := chromium.Read(ctx)
			if err != nil {
				return
			}
			var m wire
			_ = json.Unmarshal(data, &m)
			if m.ID < ours {
				if client.Write(ctx, kind, data) != nil {
					return
				}
				continue
			}
			mu.Lock()
			q := waits[m.ID]
			mu.Unlock()
			var of struct {
				TargetInfo struct{ TargetID string }
			}
			_ = json.Unmarshal(m.Result, &of)
			if a := v.mint(of.TargetInfo.TargetID, q.Params); a != nil {
				say(client, map[string]any{"id": q.ID, "sessionId": q.Session, "result": a})
			}
		}
	}()
	for {
		kind, data, err := client.Read(ctx)
		if err != nil {
			return
		}
		var m wire
		_ = json.Unmarshal(data, &m)
		if m.Method != "Browserless.liveURL" {
			if chromium.Write(ctx, kind, data) != nil {
				return
			}
			continue
		}
		mu.Lock()
		id := int64(ours + len(waits))
		waits[id] = m
		mu.Unlock()
		say(chromium, map[string]any{"id": id, "sessionId": m.Session, "method": "Target.getTargetInfo"})
	}
}

func (v *service) mint(target string, params map[string]any) map[string]any {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked = append(v.asked, params)
	id := secret + "-" + newID()
	v.views[id] = target
	if v.answer == nil {
		return nil
	}
	return v.answer(v.url() + id)
}

// target is the page of a view: by what was minted, or by the template.
func (v *service) target(r *http.Request) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := r.PathValue("id")
	if t := v.views[id]; t != "" {
		return t
	}
	return strings.TrimPrefix(id, secret+"-")
}

// The service's page: a picture, a mouse and a keyboard, straight to one page.
func (v *service) serveView(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.referers = append(v.referers, r.Referer())
	v.mu.Unlock()
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte(`<!doctype html><title>Live</title><body style="margin:0"><img id="shown" style="display:block"><script>
		const ws = new WebSocket(location.href.replace("http", "ws") + "/ws");
		let n = 0;
		const send = (method, params) => ws.send(JSON.stringify({ id: ++n, method, params }));
		const paint = (data) => { shown.src = "data:image/jpeg;base64," + data; document.body.dataset.on = 1; };
		ws.onopen = () => { send("Page.captureScreenshot", { format: "jpeg" }); send("Page.startScreencast", { format: "jpeg" }); };
		ws.onmessage = (e) => {
			const m = JSON.parse(e.data);
			if (m.method === "Page.screencastFrame") { paint(m.params.data); send("Page.screencastFrameAck", { sessionId: m.params.sessionId }); }
			if (m.result && m.result.data) paint(m.result.data);
		};
		ws.onclose = () => { document.body.dataset.over = 1; };
		for (const [on, type] of [["mousedown", "mousePressed"], ["mouseup", "mouseReleased"]])
			addEventListener(on, (e) => { e.preventDefault(); send("Input.dispatchMouseEvent", { type, x: e.clientX, y: e.clientY, button: "left", clickCount: 1 }); });
		addEventListener("keydown", (e) => { e.preventDefault(); send("Input.dispatchKeyEvent", { type: "keyDown", key: e.key, code: e.code, windowsVirtualKeyCode: e.keyCode, text: e.key.length === 1 ? e.key : e.key === "Enter" ? "\r" : "" }); });
		addEventListener("keyup", (e) => send("Input.dispatchKeyEvent", { type: "keyUp", key: e.key, code: e.code, windowsVirtualKeyCode: e.keyCode }));
	</script>`))
}

func (v *service) serveInput(w http.ResponseWriter, r *http.Request) {
	at, _ := url.Parse(v.browser)
	page, _, err := websocket.Dial(r.Context(), "ws://"+at.Host+"/devtools/page/"+v.target(r), nil)
	if err != nil {
		http.Error(w, "gone", http.StatusNotFound)
		return
	}
	defer page.CloseNow()
	user, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer user.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	pass := func(from, to *websocket.Conn) {
		defer cancel()
		from.SetReadLimit(-1)
		for {
			kind, data, err := from.Read(ctx)
			if err != nil || to.Write(ctx, kind, data) != nil {
				return
			}
		}
	}
	go pass(page, user)
	pass(user, page)
}

// link waits for the link on our page.
func (p *person) link() string {
	p.t.Helper()
	p.await("hosted")
	href, err := p.page.Locator("#link").GetAttribute("href")
	p.must(err)
	return href
}

// follow presses it, and gives the tab that opens.
func (p *person) follow() *visitor {
	p.t.Helper()
	p.link()
	tab, err := p.ctx.ExpectPage(func() error { return p.page.Locator("#link").Click() })
	p.must(err)
	p.must(tab.SetViewportSize(1280, 720))
	p.must(tab.Locator("body[data-on]").WaitFor())
	return &visitor{p, tab}
}

func phone(scheme *playwright.ColorScheme) playwright.BrowserNewContextOptions {
	return playwright.BrowserNewContextOptions{
		Viewport: &playwright.Size{Width: 390, Height: 760}, IsMobile: playwright.Bool(true), DeviceScaleFactor: playwright.Float(2), ColorScheme: scheme,
	}
}

// visitor is the person in the service's view.
type visitor struct {
	*person
	tab playwright.Page
}

// ended waits until the service's view shows nothing any more: its page is gone.
func (h *visitor) ended() {
	h.t.Helper()
	h.must(h.tab.Locator("body[data-over]").WaitFor(playwright.LocatorWaitForOptions{State: playwright.WaitForSelectorStateAttached}))
}

func (h *visitor) press(selector string) {
	h.t.Helper()
	h.seen(selector)
	box, err := h.front().Locator(selector).First().BoundingBox()
	if err != nil || box == nil {
		h.t.Fatalf("%s is not on the page: %v", selector, err)
	}
	h.must(h.tab.Mouse().Click(box.X+box.Width/2, box.Y+box.Height/2))
}

func (h *visitor) field(selector, text string) {
	h.t.Helper()
	h.press(selector)
	eventually(h.t, "focus on "+selector, func() bool {
		on, err := h.front().Locator(selector).First().Evaluate("e => e === document.activeElement", nil)
		return err == nil && on == true
	})
	h.must(h.tab.Keyboard().Type(text))
	eventually(h.t, text+" in "+selector, func() bool { return h.value(selector) == text })
}

// signIn is the whole sign-in in the service's view. The list works as the browser has it.
func (h *visitor) signIn(name string) {
	h.t.Helper()
	h.field("[name=user]", name)
	h.field("[name=password]", passwordOf(name))
	h.must(h.tab.Keyboard().Press("Tab"))
	h.must(h.tab.Keyboard().Type("S"))
	eventually(h.t, "the choice in the list", func() bool { return h.value("select") == "south" })
	h.press("form button")
	for i, digit := range authtest.SecondFactor {
		h.field("[name=d"+string(rune('1'+i))+"]", string(digit))
	}
	h.must(h.tab.Keyboard().Press("Enter"))
}

// The whole way in the service's own view, both ways that it is given out: our page tells
// the states, and the session is captured and verified as always.
func TestHostedView(t *testing.T) {
	for name, view := range map[string]func(v *service) string{
		"command":  func(*service) string { return command },
		"template": func(v *service) string { return v.url() + secret + "-" + targetMark },
	} {
		t.Run(name, func(t *testing.T) {
			const idle = 8 * time.Second
			v := newService(t)
			var log safeBuffer
			b := newBench(t, func(o *Options) {
				v.use(view(v))(o)
				o.Idle = idle
				o.Log = slog.New(slog.NewTextHandler(&log, nil))
			}, authtest.SiteOptions{})
			if _, err := theUser(); err != nil { // whose start is not idleness
				t.Fatal(err)
			}
			s, done := b.start("alice", nil)
			screen := playwright.BrowserNewContextOptions{Viewport: &playwright.Size{Width: 1280, Height: 820}}
			if name == "template" {
				screen = phone(playwright.ColorSchemeLight)
			}
			p := b.openWith(s, screen)
			link := p.link()
			if !strings.HasPrefix(link, v.url()+secret) {
				t.Fatalf("the link is %q", link)
			}
			p.shot("30-hosted-" + name)
			if text, _ := p.page.Locator("#text").InnerText(); !strings.Contains(text, "127.0.0.1, which sees what you type") {
				t.Errorf("the person is told %q", text)
			}
			h := p.follow() // nobody is idle who works there
			p.await("away")
			p.shot("31-hosted-away-" + name)
			if opener, err := h.tab.Evaluate("window.opener"); err != nil || opener != nil {
				t.Errorf("the service's page reaches ours: %v, %v", opener, err)
			}
			if left, _ := p.page.Locator("#link").GetAttribute("href"); left != "" {
				t.Error("a link that was used is still on the page")
			}
			if name == "command" {
				time.Sleep(idle + time.Second) // reading a code from somewhere
			}
			h.signIn("alice")
			p.await("connected")
			p.shot("32-hosted-connected")
			r := over(t, done)
			if r.err != nil || r.got.Account != "alice" {
				t.Fatalf("%+v", r)
			}
			b.isAlive(r.got.Bundle, "alice")
			// The view ends with the login, and so does the way to it.
			h.ended()
			if resp, body := b.get(nil, "/live/"+s.id); resp.StatusCode != http.StatusNotFound || strings.Contains(body, secret) {
				t.Errorf("the link of a finished login answers %d", resp.StatusCode)
			}
			if content, _ := p.page.Content(); strings.Contains(content, secret) {
				t.Error("the address of the view is still on our page")
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, from := range v.referers {
				if from != "" {
					t.Errorf("the service was told about %s", from)
				}
			}
			if name == "command" {
				if q := v.asked[0]; len(v.asked) != 1 || q["interactable"] != true || q["showBrowserInterface"] != false || num(q["timeout"]) < 500_000 {
					t.Errorf("the service was asked %v", v.asked)
				}
			}
			if said := string(log.Bytes()); strings.Contains(said, secret) || strings.Contains(said, "account-token") {
				t.Error("the log has a credential")
			}
		})
	}
}

// Another person gets nothing; a second window of the same person gets no link before
// it takes over, and then the first one's view ends.
func TestHostedViewIsForOneViewer(t *testing.T) {
	v := newService(t)
	b := newBench(t, v.use(command), authtest.SiteOptions{})
	alices, expired := b.start("alice", nil)
	bobs, _ := b.start("bob", nil)
	b.allow(func(r *http.Request, request string) error {
		if request == bobs.login.Request {
			return errStranger
		}
		return nil
	})
	_, never := b.get(nil, "/live/"+newID())
	if _, body := b.get(nil, "/live/"+bobs.id); body != never {
		t.Error("another person's page tells something")
	}
	if _, resp, err := b.dial(bobs, b.srv.URL, nil); err == nil || resp.StatusCode != http.StatusNotFound {
		t.Error("another person's WebSocket was opened")
	}
	first := b.openWith(alices, playwright.BrowserNewContextOptions{Viewport: &playwright.Size{Width: 1280, Height: 820}, ColorScheme: playwright.ColorSchemeDark})
	first.link()
	first.shot("36-hosted-dark")
	h := first.follow()
	first.await("away")
	first.shot("37-hosted-away-dark")
	second := b.openWith(alices, phone(playwright.ColorSchemeDark))
	second.await("busy")
	if content, _ := second.page.Content(); strings.Contains(content, secret) {
		t.Error("a second window has a link")
	}
	v.mu.Lock()
	before := len(v.asked)
	v.mu.Unlock()
	if before != 1 {
		t.Errorf("%d views were asked for, of one page for one person", before)
	}
	second.must(second.page.Locator("#again").Click())
	first.await("moved")
	h.ended()
	second.link()
	second.shot("38-hosted-phone-dark")
	h = second.follow()
	second.await("away")
	second.shot("39-hosted-away-phone-dark")
	second.seen("[name=user]")
	alices.cancel(ErrTimeout)
	second.await("expired")
	h.ended()
	if content, _ := second.page.Content(); strings.Contains(content, secret) {
		t.Error("the page of an expired login has a link")
	}
	over(t, expired)
	eventually(t, "the end of the login", func() bool { return b.pool.login(alices.id) == nil })
	if resp, body := b.get(nil, "/live/"+alices.id); resp.StatusCode != http.StatusNotFound || strings.Contains(body, secret) {
		t.Errorf("the page of an expired login answers %d", resp.StatusCode)
	}
}

// A link may be good for one visit: another one comes when it is asked for. A window that
// the site opens has a link of its own, its question is asked on our page, and our own view
// is there for whoever wants it.
func TestHostedViewLinks(t *testing.T) {
	v := newService(t)
	b := newBench(t, v.use(command), authtest.SiteOptions{})
	s, done := b.start("bob", nil)
	p := b.open(s)
	used := p.link()
	p.follow()
	p.await("away")
	p.must(p.page.Locator("#again").Click())
	if p.link() == used {
		t.Error("the same link again")
	}
	p.shot("33-hosted-again")
	h := p.follow()
	p.await("away")
	h.press("[name=popup]")
	p.await("hosted")
	if text, _ := p.page.Locator("#text").InnerText(); !strings.Contains(text, "one more window") {
		t.Errorf("the popup is announced as %q", text)
	}
	p.shot("34-hosted-popup")
	h = p.follow()
	h.field("[name=user]", "bob")
	h.field("[name=password]", passwordOf("bob"))
	h.press("button")
	p.must(p.page.Locator("#ask[open]").WaitFor())
	p.await("away") // behind the question
	p.shot("35-hosted-question")
	p.must(p.page.Locator("#askYes").Click())
	p.await("connected")
	if r := over(t, done); r.err != nil || r.got.Account != "bob" {
		t.Fatalf("%+v", r)
	}
	s, _ = b.start("bob", nil)
	p = b.open(s)
	p.link()
	p.must(p.page.Locator("#own").Click())
	p.await("waiting")
	p.focus("[name=user]")
	p.write("alice")
	eventually(t, "typing in our own view", func() bool { return p.value("[name=user]") == "alice" })
	p.click("select")
	p.must(p.page.Locator("#menu button").First().WaitFor())
}

// Whatever else a service says, the person gets our own view, and soon. None of it is repeated.
func TestHostedViewFallsBack(t *testing.T) {
	v := newService(t)
	var log safeBuffer
	b := newBench(t, func(o *Options) {
		v.use(command)(o)
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	}, authtest.SiteOptions{})
	link := func(s string) map[string]any { return map[string]any{"error": nil, "liveURL": s} }
	for _, c := range []struct {
		name   string
		answer map[string]any
		why    error
	}{
		{"never", nil, errNoAnswer},
		{"error", map[string]any{"error": secret, "liveURL": v.url()}, errServiceSays},
		{"javascript", link("javascript:alert(1)//127.0.0.1/" + secret), errLinkForm},
		{"http", link("http://live.example/" + secret), errLinkForm},
		{"foreign host", link("https://evil.example/" + secret), errLinkHost},
		{"the account's token", link(v.url() + "x?token=account-token"), errLinkSecret},
	} {
		t.Run(c.name, func(t *testing.T) {
			logged := len(log.Bytes())
			v.mu.Lock()
			v.answer = func(string) map[string]any { return c.answer }
			v.mu.Unlock()
			s, done := b.start("alice", nil)
			p := b.open(s)
			if c.answer == nil {
				p.await("asking")
				began := time.Now()
				eventually(t, "our own view", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.hosted })
				if took := time.Since(began); took > linkTimeout+2*time.Second {
					t.Errorf("our own view came after %v", took)
				}
			}
			p.await("waiting")
			if text, _ := p.page.Locator("#toast").InnerText(); !strings.Contains(text, "did not open its own view") {
				t.Errorf("the person is told %q", text)
			}
			if content, _ := p.page.Content(); strings.Contains(content, secret) || strings.Contains(content, "evil.example") {
				t.Error("the page has what the service said")
			}
			p.focus("[name=user]")
			p.write("alice")
			eventually(t, "typing in our own view", func() bool { return p.value("[name=user]") == "alice" })
			if c.answer == nil {
				p.shot("40-hosted-fallback")
			}
			s.cancel(ErrCancelled)
			if r := over(t, done); !errors.Is(r.err, ErrCancelled) {
				t.Errorf("ended with %v", r.err)
			}
			if said := string(log.Bytes()[logged:]); !strings.Contains(said, c.why.Error()) || strings.Contains(said, secret) || strings.Contains(said, "evil.example") || strings.Contains(said, "account-token") {
				t.Errorf("the log has %s", said)
			}
			p.ctx.Close()
		})
	}
}

// Where a person may be sent, whatever the spelling.
func TestLiveViewAddresses(t *testing.T) {
	l, err := parseLiveView(Options{LiveView: command, LiveHosts: []string{"live.example"}}, kind{cdp: "wss://name:account-pass@Browsers.Example:3000/a-browser-of-all-people?token=account-token&stealth=on"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]error{
		"https://browsers.example/live/index.html?i=1&t=600000": nil,
		"https://live.example:8443/x":                           nil,
		"HTTPS://LIVE.EXAMPLE/x":                                nil,
		"http://live.example/x":                                 errLinkForm,
		"http://127.0.0.1/x":                                    errLinkForm,
		"javascript:alert(1)":                                   errLinkForm,
		"javascript://live.example/%0aalert(1)":                 errLinkForm,
		"data:text/html,x":                                      errLinkForm,
		"//live.example/x":                                      errLinkForm,
		"/x":                                                    errLinkForm,
		" https://live.example/x":                               errLinkForm,
		"https://live.example/\nx":                              errLinkForm,
		`https://evil.example\@live.example/`:                   errLinkForm,
		"https://live.example@evil.example/":                    errLinkForm,
		"https://evil.example/#live.example":                    errLinkForm,
		"https://evil.example/?live.example":                    errLinkHost,
		"https://live.example.evil.example/":                    errLinkHost,
		"https://evil-live.example/":                            errLinkHost,
		"https://liveˑexample/":                                 errLinkForm,
	} {
		if _, err := l.check(address); err != want {
			t.Errorf("%q: %v", address, err)
		}
	}
	if got := strings.Join(l.secrets, " "); got != "account-pass account-token a-browser-of-all-people" {
		t.Errorf("kept back are %s", got)
	}
}

func TestParseLiveView(t *testing.T) {
	const cdp = "wss://browsers.example/chromium?token=account-token"
	for _, c := range []struct {
		kind, view, hosts, want string
	}{
		{"", "", "", ""},
		{"local", "own", "", ""},
		{"cdp:" + cdp, "command:Browserless.liveURL", "", ""},
		{"cdp:" + cdp, "https://browsers.example/devtools/" + targetMark, "", ""},
		{"cdp:" + cdp, "https://live.example/?page=" + targetMark, "live.example", ""},
		{"local", "command:Browserless.liveURL", "", "--browser cdp:URL"},
		{"cdp:" + cdp, "command:", "", "name of a CDP command"},
		{"cdp:" + cdp, "command:Browserless.liveURL x", "", "name of a CDP command"},
		{"cdp:" + cdp, "https://browsers.example/live", "", targetMark},
		{"cdp:" + cdp, "https://live.example/" + targetMark, "", "not in --browser-live-view-hosts"},
		{"cdp:" + cdp, "http://browsers.example/" + targetMark, "", "not one of https"},
		{"cdp:" + cdp, "javascript:" + targetMark, "", "not one of https"},
		{"cdp:" + cdp, "https://" + targetMark + ".example/", "a.example", "not in --browser-live-view-hosts"},
		{"cdp:" + cdp, command, "https://live.example", "host names"},
		{"cdp:" + cdp, command, "live.example:8443", "host names"},
		{"cdp:" + cdp, command, "*.example", "host names"},
	} {
		o := Options{DriverDir: t.TempDir(), Kind: c.kind, LiveView: c.view}
		if c.hosts != "" {
			o.LiveHosts = strings.Split(c.hosts, ",")
		}
		_, err := New(o)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s, %s: %v", c.kind, c.view, c.hosts, err)
		}
		if err != nil && strings.Contains(err.Error(), "account-token") {
			t.Errorf("the error has the account's token: %v", err)
		}
	}
}
