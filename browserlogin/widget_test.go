package browserlogin

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
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
	"github.com/latchpost/latchpost/providers"
)

// widgets is a page with what a picture cannot show: native popups, also inside a
// frame of another site, and a directory that asks for a password by HTTP.
func widgets(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		other := strings.Replace("http://"+r.Host, "127.0.0.1", "localhost", 1)
		fmt.Fprintf(w, `<!doctype html><title>widgets</title><style>* { font: 20px sans-serif; margin: 8px }</style>
			<input type=date id=day aria-label="Day of birth"><input type=color id=shade value="#ff0000"><input id=text>
			<select id=many><optgroup label=One><option>a<option disabled>b</optgroup><optgroup label=Two><option>c</optgroup></select>
			<p id=out>-</p><iframe id=frame src="%s/frame" width=500 height=160></iframe>
			<script>for (const e of document.querySelectorAll("input, select")) e.addEventListener("change", () => { out.textContent = e.id + "=" + e.value })</script>`, other)
	})
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><style>* { font: 20px sans-serif }</style><select id=inner><option>x<option>y</select><input id=code>
			<script>inner.onchange = () => { document.title = inner.value }</script>`)
	})
	mux.HandleFunc("GET /secret", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "carol" || password != "pässword" {
			w.Header().Set("WWW-Authenticate", `Basic realm="inside"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `<!doctype html><p id=in>Welcome in</p>`)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

func (b *bench) at(t *testing.T, address string) (*session, *person) {
	s, _ := b.start("alice", func(d *providers.Browser) { d.LoginURL = address })
	return s, b.open(s)
}

func TestNativePopups(t *testing.T) {
	srv := widgets(t)
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, srv.URL+"/page")
	p.await("waiting")
	out := func() string { return s.front.page.Text(t.Context(), "#out") }

	p.click("#day")
	p.must(p.page.Locator("#ask[open] input[type=date]").Fill("1999-12-31"))
	p.shot("22-date")
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the date", func() bool { return out() == "day=1999-12-31" })

	p.click("#shade")
	p.must(p.page.Locator("#ask[open] input[type=color]").Fill("#00ff00"))
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the colour", func() bool { return out() == "shade=#00ff00" })

	p.click("#many")
	p.must(p.page.Locator("#menu .group").First().WaitFor())
	if off, _ := p.page.Locator("#menu button").Nth(1).IsDisabled(); !off {
		t.Error("a disabled choice can be chosen")
	}
	p.press("ArrowDown") // from a over b, which is off, to c
	p.press("Enter")
	eventually(t, "the choice by keyboard", func() bool { return out() == "many=c" })

	// The frame is another site's: it lives in a process of its own.
	x, y := p.at("#frame")
	box, _ := p.front().Locator("#frame").BoundingBox()
	inner, _ := p.front().FrameLocator("#frame").Locator("#inner").BoundingBox()
	dx, dy := inner.X+inner.Width/2-(box.X+box.Width/2), inner.Y+inner.Height/2-(box.Y+box.Height/2)
	p.must(p.page.Mouse().Click(x+dx, y+dy))
	p.must(p.page.Locator("#menu button").First().WaitFor())
	list, err := p.page.Locator("#menu").BoundingBox()
	if p.must(err); math.Abs(list.X-(x+dx)) > inner.Width || math.Abs(list.Y-(y+dy)) > inner.Height {
		t.Errorf("the list in the frame was clicked at %.0f, %.0f, and its choices are at %+v", x+dx, y+dy, list)
	}
	p.must(p.page.Locator("#menu button", playwright.PageLocatorOptions{HasText: "y"}).Click())
	eventually(t, "the choice in the frame", func() bool {
		v, _ := p.front().FrameLocator("#frame").Locator("#inner").InputValue()
		return v == "y"
	})
	code, _ := p.front().FrameLocator("#frame").Locator("#code").BoundingBox()
	p.must(p.page.Mouse().Click(x+code.X+20-(box.X+box.Width/2), y+code.Y+10-(box.Y+box.Height/2)))
	p.paste("424242")
	eventually(t, "a paste into the frame", func() bool {
		v, _ := p.front().FrameLocator("#frame").Locator("#code").InputValue()
		return v == "424242"
	})
}

func TestBasicPrompt(t *testing.T) {
	srv := widgets(t)
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, srv.URL+"/secret")
	answer := func(user, password string) {
		t.Helper()
		p.must(p.page.Locator("#ask[open] input[type=password]").WaitFor())
		p.must(p.page.Locator("#askFields input").First().Fill(user))
		p.must(p.page.Locator("#askFields input").Last().Fill(password))
		p.shot("23-basic")
		p.must(p.page.Locator("#askYes").Click())
	}
	answer("carol", "wrong")
	eventually(t, "the prompt to come again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.prompt != nil })
	answer("carol", "pässword")
	p.seen("#in")
}

// A password goes to the site that asked for it, and not to the one that it leads to.
func TestBasicPromptAfterRedirect(t *testing.T) {
	var mu sync.Mutex
	var got []string
	asks := func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); ok {
			mu.Lock()
			got = append(got, r.Host+" "+password)
			mu.Unlock()
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="inside"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	evil := httptest.NewServer(http.HandlerFunc(asks))
	defer evil.Close()
	visits := 0
	victim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		visits++
		leads := visits > 1
		mu.Unlock()
		if leads {
			http.Redirect(w, r, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
			return
		}
		asks(w, r)
	}))
	defer victim.Close()
	b := newBench(t, nil, authtest.SiteOptions{})
	_, p := b.at(t, victim.URL)
	title := p.page.Locator("#askTitle")
	p.must(p.page.Locator("#ask[open] input[type=password]").WaitFor())
	p.must(p.page.Locator("#askFields input").Last().Fill("canary"))
	p.must(p.page.Locator("#askYes").Click())
	eventually(t, "the other site's own question", func() bool { text, _ := title.InnerText(); return strings.Contains(text, "localhost") })
	mu.Lock()
	defer mu.Unlock()
	if len(got) > 0 {
		t.Errorf("the password went to %v", got)
	}
	for at, want := range map[string]bool{"https://a.example": true, "https://a.example/": true, "http://a.example": false, "https://b.example": false, "": false} {
		if got := (&prompt{url: "https://a.example/secret"}).asks(map[string]any{"source": "Server", "origin": at}); got != want {
			t.Errorf("%q: %v", at, got)
		}
	}
	if (&prompt{url: "https://a.example/"}).asks(map[string]any{"source": "Proxy", "origin": "https://a.example"}) {
		t.Error("a proxy gets the password")
	}
}

// Copying gives what is marked, never out of a password field.
func TestCopy(t *testing.T) {
	srv := widgets(t)
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, srv.URL+"/page")
	p.await("waiting")
	p.must(p.ctx.GrantPermissions([]string{"clipboard-read", "clipboard-write"}))
	p.focus("#text")
	p.write("copy me")
	p.press("Control+a")
	p.press("Control+c")
	eventually(t, "the person's clipboard", func() bool {
		got, _ := p.page.Evaluate("navigator.clipboard.readText()")
		return got == "copy me"
	})
	s.front.page.Eval(t.Context(), `document.getElementById("text").type = "password"; ""`)
	p.must(p.page.Locator("#toast").WaitFor())
	_, _ = p.page.Evaluate(`navigator.clipboard.writeText("before")`)
	p.press("Control+a")
	p.press("Control+c")
	p.write("x") // by now the copy has had its turn
	eventually(t, "typing", func() bool { return p.value("#text") == "x" })
	if got, _ := p.page.Evaluate("navigator.clipboard.readText()"); got != "before" {
		t.Error("a password was copied")
	}
}

// Cutting takes away what the person got, and nothing else.
func TestCut(t *testing.T) {
	srv := widgets(t)
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, srv.URL+"/page")
	p.await("waiting")
	p.must(p.ctx.GrantPermissions([]string{"clipboard-read", "clipboard-write"}))
	p.focus("#text")
	p.write("some text")
	p.press("Home")
	p.press("Control+x") // nothing is marked
	p.write("-")
	eventually(t, "the whole text", func() bool { return p.value("#text") == "-some text" })
	p.press("Control+a")
	p.press("Control+x")
	eventually(t, "an empty field", func() bool { return p.value("#text") == "" })
	eventually(t, "the person's clipboard", func() bool {
		got, _ := p.page.Evaluate("navigator.clipboard.readText()")
		return got == "-some text"
	})
	for what, change := range map[string]string{"a password": `text.type = "password"; text.value = "canary"`, "more than is given out": `text.type = "text"; text.value = "canary".repeat(1000)`} {
		s.front.page.Eval(t.Context(), change+`; text.setSelectionRange(0, text.value.length); ""`)
		before := p.value("#text")
		p.press("Control+x")
		p.press("End")
		p.write("!")
		eventually(t, what+" that is still there", func() bool { return p.value("#text") == before+"!" })
	}
}

// A list that is longer than what is shown of it says so.
func TestLongList(t *testing.T) {
	site := pages(t, map[string]string{"/": `<select id=long></select><script>for (let i = 0; i < 600; i++) long.add(new Option("zone-" + i))</script>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	_, p := b.at(t, site.URL)
	p.await("waiting")
	p.click("#long")
	p.must(p.page.Locator("#menu", playwright.PageLocatorOptions{HasText: "100 more are not shown"}).WaitFor())
	p.press("Escape")
	p.write("zone-555") // as the list is told to be used
	eventually(t, "the choice that is not shown", func() bool { return p.value("#long") == "zone-555" })
}

// elsewhere starts a browser that is reached by its address.
func elsewhere(t testing.TB) (address string) {
	t.Helper()
	needBrowser(t)
	exe, _ := FindChromium(Options{})
	home := shortTemp(t)
	cmd := exec.Command(exe, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--user-data-dir="+home)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		eventually(t, "the remote browser's files to be free", func() bool { left, _ := filepath.Glob(home + "/*"); return removeAll(left) })
	})
	var said [4096]byte
	for end := time.Now().Add(20 * time.Second); address == "" && time.Now().Before(end); {
		n, err := out.Read(said[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, ok := strings.Cut(string(said[:n]), "listening on "); ok {
			address, _, _ = strings.Cut(rest, "\n")
		}
	}
	go func() {
		for {
			if _, err := out.Read(said[:]); err != nil {
				return
			}
		}
	}()
	return strings.TrimSpace(address)
}

// A browser elsewhere, reached by its address.
func TestRemoteBrowser(t *testing.T) {
	at := elsewhere(t)
	host, _, _ := strings.Cut(strings.TrimPrefix(at, "ws://"), "/")
	var said []string
	if err := Check(t.Context(), Options{
		DriverDir: needBrowser(t), TempDir: shortTemp(t), Kind: "cdp:" + at, Chromium: "/nowhere",
		LiveView: "http://" + host + "/view?page=" + targetMark, Loopback: true,
	}, func(step string) { said = append(said, step) }); err != nil || !slices.Contains(said, "its service's live view is at 127.0.0.1") {
		t.Errorf("the check without a browser here: %v, %q", err, said)
	}
	b := newBench(t, func(o *Options) { o.Kind = "cdp:" + at }, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.signIn("alice")
	p.await("connected")
	if r := over(t, done); r.err != nil || r.got.Account != "alice" {
		t.Fatalf("%+v", r)
	}
}

func TestParseKind(t *testing.T) {
	for s, want := range map[string]kind{"": {}, "local": {}, "headed": {headed: true}, "cdp:wss://browsers.example/x?token=y": {cdp: "wss://browsers.example/x?token=y"}} {
		if got, err := parseKind(s); err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"firefox", "cdp:", "cdp:file:///x", "cdp:nonsense", "wss://browsers.example/x?token=canary", "cdp:ftp://browsers.example/x?token=canary"} {
		if _, err := parseKind(s); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func removeAll(paths []string) bool {
	for _, path := range paths {
		if os.RemoveAll(path) != nil {
			return false
		}
	}
	return true
}
