package guard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// start serves h behind the layers, for real, and returns its authority. The host and origin are added to opt.
func start(t *testing.T, opt Options, h http.HandlerFunc) (authority string) {
	t.Helper()
	return serve(t, opt, h, (*http.Server).Serve)
}

// serve runs a Server until the test ends; run has it answer on a listener.
func serve(t *testing.T, opt Options, h http.HandlerFunc, run func(*http.Server, net.Listener) error) (authority string) {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0", opt)
	if err != nil {
		t.Fatal(err)
	}
	authority = l.Addr().String()
	opt.Hosts = append(opt.Hosts, authority)
	opt.Origins = append(opt.Origins, "http://"+authority)
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := Server(h, opt)
	done := make(chan struct{})
	go func() { defer close(done); run(s, l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return authority
}

// raw sends bytes as they are and returns all that comes back until the server closes. $HOST stands for the authority.
func raw(t *testing.T, authority, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", authority)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, strings.ReplaceAll(text, "$HOST", authority))
	b, _ := io.ReadAll(c) // a reset after the answer is fine
	return string(b)
}

func status(answer string) string {
	line, _, _ := strings.Cut(answer, "\r\n")
	_, line, _ = strings.Cut(line, " ")
	code, _, _ := strings.Cut(line, " ")
	return code
}

func forbidden(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s %s reached the handler", r.Method, r.URL) }
}

func ok(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }

// ask sends one request through the layers, in memory, as a client under http://ours.test:1.
func ask(opt Options, h http.HandlerFunc, method, path, body string, header ...string) *httptest.ResponseRecorder {
	opt.Hosts, opt.Origins = append(opt.Hosts, "ours.test:1"), append(opt.Origins, "http://ours.test:1")
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	r := httptest.NewRequest(method, "http://ours.test:1"+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	New(opt)(h).ServeHTTP(w, r)
	return w
}

// HL-001: a name that is not ours, on every route and method, is refused first and not reflected.
func TestHost(t *testing.T) {
	for _, host := range []string{"evil.example", "evil.example:1", "ours.test", "ours.test:2", "ours.test.:1", "ours.test:1.evil.example", "", "x@ours.test:1", "127.0.0.1:1"} {
		for _, method := range []string{"GET", "POST", "TRACE"} {
			for _, path := range []string{"/", "/c/x", "/mcp", "/api/v1/x"} {
				w := ask(Options{}, forbidden(t), method, path, "", "Host", host, "X-Forwarded-Host", "ours.test:1")
				if w.Code != http.StatusMisdirectedRequest || host != "" && strings.Contains(fmt.Sprint(w.Header(), w.Body), host) {
					t.Errorf("%s %s under %q: %d %s", method, path, host, w.Code, w.Body)
				}
			}
		}
	}
	if w := ask(Options{}, ok, "GET", "/", "", "Host", "OURS.test:1"); w.Code != 200 {
		t.Error(w.Code)
	}
	if w := httptest.NewRecorder(); true {
		New(Options{})(forbidden(t)).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != http.StatusMisdirectedRequest {
			t.Error("without Hosts:", w.Code)
		}
	}
}

// HL-004, HL-005, HL-006: what a browser says about the page that sent the request.
func TestOrigin(t *testing.T) {
	const ours, evil = "http://ours.test:1", "https://evil.example"
	for _, try := range []struct {
		name, origin, site, host string
		want                     int
	}{
		{"our form", ours, "same-origin", "", 200},
		{"our form in an old browser", ours, "", "", 200},
		{"our form under no-referrer", "null", "same-origin", "", 200},
		{"no browser", "", "", "", 200},
		{"embedding page", "https://embed.example", "cross-site", "", 200},
		{"typed by the user", "", "none", "", 200},
		{"HL-004 sandboxed frame", "null", "cross-site", "", 403},
		{"HL-004 sandboxed frame in an old browser", "null", "", "", 403},
		{"HL-004 null from a sister site", "null", "same-site", "", 403},
		{"HL-004 null that the user typed", "null", "none", "", 403},
		{"HL-005 other port", "http://localhost:9999", "same-site", "", 403},
		{"HL-005 other port, no metadata", "http://ours.test:2", "", "", 403},
		{"HL-005 other scheme", "https://ours.test:1", "", "", 403},
		{"HL-005 same-site without origin", "", "same-site", "", 403},
		{"HL-006 rebound", "http://evil:1", "same-origin", "evil:1", 421},
		{"HL-006 rebound, origin is host", "http://evil:1", "same-origin", "", 403},
		{"cross-site", evil, "cross-site", "", 403},
		{"cross-site without origin", "", "cross-site", "", 403},
		{"unknown site word", "", "sideways", "", 403},
		{"suffix", "http://ours.test:1.evil.example", "", "", 403},
		{"case", "http://OURS.test:1", "", "", 403},
	} {
		t.Run(try.name, func(t *testing.T) {
			opt := Options{Origins: []string{"https://embed.example"}}
			var header []string
			for name, value := range map[string]string{"Origin": try.origin, "Sec-Fetch-Site": try.site, "Host": try.host} {
				if value != "" {
					header = append(header, name, value)
				}
			}
			for _, method := range []string{"POST", "DELETE"} {
				if w := ask(opt, ok, method, "/c/x", "", header...); w.Code != try.want {
					t.Errorf("%s: %d", method, w.Code)
				}
			}
			if w := ask(opt, ok, "GET", "/live/x/socket", "", append(header, "Upgrade", "websocket")...); w.Code != try.want {
				t.Errorf("websocket: %d", w.Code)
			}
			if w := ask(opt, ok, "GET", "/sse", "", header...); try.origin != "" && w.Code != try.want || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("GET: %d %v", w.Code, w.Header())
			}
		})
	}
	if w := ask(Options{}, forbidden(t), "POST", "/", "", "Origin", ours, "Origin", evil); w.Code != 403 {
		t.Error("two origins:", w.Code)
	}
	if w := ask(Options{}, ok, "GET", "/c/x", "", "Sec-Fetch-Site", "cross-site"); w.Code != 200 {
		t.Error("a link from elsewhere:", w.Code)
	}
}

// HL-014: net/http hands these to handlers.
func TestMethod(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	for _, line := range []string{"TRACE / HTTP/1.1", "PUT / HTTP/1.1", "PATCH / HTTP/1.1", "FOO / HTTP/1.1", "PRI / HTTP/1.1", "get / HTTP/1.1",
		"PRI * HTTP/2.0", "OPTIONS * HTTP/1.1", "CONNECT $HOST HTTP/1.1", "CONNECT / HTTP/1.1"} {
		got := raw(t, authority, line+"\r\nHost: $HOST\r\nConnection: close\r\n\r\n")
		if s := status(got); s != "405" && s != "404" && s != "400" {
			t.Errorf("%s: %s", line, got)
		}
	}
	for _, method := range methods {
		if w := ask(Options{}, ok, method, "/", ""); w.Code != 200 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

func TestContentType(t *testing.T) {
	for _, try := range []struct {
		types []string
		sent  []string
		want  int
	}{
		{nil, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{nil, []string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		{nil, []string{"Content-Type", "multipart/form-data; boundary=x"}, 200},
		{nil, []string{"Content-Type", "text/plain"}, 415},
		{nil, []string{"Content-Type", "text/plain; application/json"}, 415},
		{nil, []string{"Content-Type", "application/json", "Content-Type", "text/plain"}, 415},
		{nil, []string{"Content-Type", "application/json", "Content-Encoding", "gzip"}, 415},
		{nil, nil, 415},
		{[]string{"application/json"}, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
	} {
		opt := Options{Class: func(string) Class { return Class{Types: try.types} }}
		if w := ask(opt, ok, "POST", "/", "{}", try.sent...); w.Code != try.want {
			t.Errorf("%q: %d", try.sent, w.Code)
		}
	}
	if w := ask(Options{}, ok, "POST", "/", ""); w.Code != 200 {
		t.Error("an empty body needs no type:", w.Code)
	}
	if w := ask(Options{}, forbidden(t), "GET", "/", "x", "Content-Type", "application/json"); w.Code != 400 {
		t.Error("GET with a body:", w.Code)
	}
}

// HL-022, HL-023: no spelling of a path but the plain one reaches a handler, and no redirect cleans it up.
func TestPath(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	for _, path := range []string{"/static/..%2f..%2fetc/passwd", "/static/%2e%2e/x", "/static/../x", "/static/%2E./x", "/static/%5c..%5cx", `/static/\..\x`,
		"/static/%00", "/static/x%00.html", "//", "//evil.example/%2e%2e", "/./", "/a/./b", "/a//b", "/%252e%252e/", "/..", "/.", "/%c0%ae%c0%ae/",
		`/\evil.example`, "/%0d%0aX:y", "/%0a", "//evil.example/..", "/%2f/evil.example", "/%2e", "/a%2fb", "///", "/%ff"} {
		got := raw(t, authority, "GET "+path+" HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n")
		if s := status(got); s != "404" && s != "400" || strings.Contains(got, "Location") || strings.Contains(got, "evil") {
			t.Errorf("%s: %s", path, got)
		}
	}
	for _, path := range []string{"/", "/c/x", "/c/x/", "/.well-known/oauth-protected-resource/mcp", "/api/v1/a%20b%25", "/caf%C3%A9", "/a..b/...", "/x?next=//evil/../"} {
		if w := ask(Options{}, ok, "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// HL-022: what passes is clean, so that no mux redirects it.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/..%2f", "//x", "/%5c", "/a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := http.NewRequest("GET", "http://ours.test", nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = r.URL.Parse(path); err != nil || r.URL.Host != "ours.test" || !plainPath(r.URL.Path, r.URL.EscapedPath()) {
			return
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/", ok)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != 200 || strings.Contains(r.URL.Path, "..") && strings.Contains("/"+r.URL.Path+"/", "/../") || strings.Contains(r.URL.Path, `\`) {
			t.Fatalf("%q passed: %d %v", path, w.Code, w.Header())
		}
	})
}

func TestHeaders(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"answer": ok, "nothing": func(http.ResponseWriter, *http.Request) {}, "error": http.NotFound,
		"flush": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"panic": func(http.ResponseWriter, *http.Request) { panic("x") },
	} {
		for _, path := range []string{"/", "/../x"} {
			got, err := http.Get("http://" + start(t, Options{TLS: true}, h) + path)
			if err != nil {
				t.Fatal(err)
			}
			got.Body.Close()
			for header, want := range defaults {
				if v := got.Header.Values(header); !slices.Equal(v, want) {
					t.Errorf("%s: %s is %q", name, header, v)
				}
			}
			if got.Header.Get("Strict-Transport-Security") == "" {
				t.Errorf("%s: no HSTS", name)
			}
		}
	}
}

// MC-007: over HTTP, a panic in a handler gives an id and nothing of its value, neither to the client nor to the log.
func TestPanic(t *testing.T) {
	const canary = "c4n4ry"
	var log bytes.Buffer
	opt := Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Class: func(path string) Class { return Class{API: path == "/api"} }}
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", canary)
		panic(fmt.Errorf("%s", canary))
	}
	for _, path := range []string{"/", "/api"} {
		log.Reset()
		w := ask(opt, h, "GET", path, "")
		text := w.Body.String()
		if path == "/api" {
			var answer struct{ Error, Message string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Error != "internal_error" {
				t.Error(text, err)
			}
			text = answer.Message
		}
		id, ok := strings.CutPrefix(strings.TrimSpace(text), "internal error ")
		if w.Code != 500 || !ok || !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "TestPanic") {
			t.Errorf("%d %q, log %s", w.Code, text, &log)
		}
		if all := fmt.Sprint(w.Header(), w.Body, log.String()); strings.Contains(all, canary) {
			t.Errorf("the value is in %s", all)
		}
	}
	// Half an answer must not look like a whole one, and the process serves on.
	authority := start(t, opt, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			w.(http.Flusher).Flush()
			panic(canary)
		}
	})
	if got := raw(t, authority, "GET /late HTTP/1.1\r\nHost: $HOST\r\n\r\n"); strings.HasSuffix(got, "0\r\n\r\n") || strings.Contains(got, canary) {
		t.Errorf("got %q", got)
	}
	if got := raw(t, authority, "GET / HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n"); status(got) != "200" {
		t.Errorf("got %q", got)
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(0, 0)
	opt := Options{Rate: 1, Burst: 3, Now: func() time.Time { return now }, Class: func(path string) Class { return Class{Limited: path == "/login"} },
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Hosts: []string{"ours.test"}}
	h := New(opt)(http.HandlerFunc(ok))
	from := func(peer, forwarded, path string) int {
		r := httptest.NewRequest("GET", "http://ours.test"+path, nil)
		r.RemoteAddr = peer
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for i := range 5 {
		want := 200
		if i >= 3 {
			want = 429
		}
		if got := from("192.0.2.1:5", "1.2.3."+fmt.Sprint(i), "/login"); got != want {
			t.Errorf("request %d: %d; a client must not choose its address", i, got)
		}
	}
	for want, got := range map[string]int{"other path": from("192.0.2.1:5", "", "/c"), "other client": from("192.0.2.2:5", "", "/login"),
		"behind the proxy": from("10.0.0.1:5", "6.6.6.6, 192.0.2.3, 10.0.0.2", "/login")} {
		if got != 200 {
			t.Errorf("%s: %d", want, got)
		}
	}
	now = now.Add(time.Second)
	if got := from("192.0.2.1:5", "", "/login"); got != 200 {
		t.Error("a second later:", got)
	}
	g := newGuard(opt)
	for i := range 3 * generation {
		g.buckets.allow(network(netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})), func() time.Time { return now })
	}
	if n := len(g.buckets.young) + len(g.buckets.old); n > 2*generation {
		t.Errorf("%d buckets are kept", n)
	}
}

// A page that the person looks at cannot spend what their address may ask: its images, frames and scripts are refused and not
// counted. A link that the person follows from there is, and opens.
func TestForeignPagesUseNothingUp(t *testing.T) {
	opt := Options{Rate: 1, Burst: 2, Now: func() time.Time { return time.Unix(0, 0) }, Hosts: []string{"ours.test"}, Origins: []string{"https://embed.example"},
		Class: func(path string) Class { return Class{Limited: path != "/embed/x.js"} }}
	h := New(opt)(http.HandlerFunc(ok))
	get := func(path, site, dest string, more ...string) int {
		r := httptest.NewRequest("GET", "http://ours.test"+path, nil)
		for i, pairs := 0, append([]string{"Sec-Fetch-Site", site, "Sec-Fetch-Dest", dest}, more...); i < len(pairs); i += 2 {
			r.Header.Set(pairs[i], pairs[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for _, site := range []string{"cross-site", "same-site"} {
		for _, dest := range []string{"image", "iframe", "script", "empty", "object"} {
			if got := get("/login", site, dest); got != 403 {
				t.Errorf("%s of a %s page: %d", dest, site, got)
			}
		}
	}
	if got := get("/embed/x.js", "cross-site", "script"); got != 200 {
		t.Error("a script that others may load:", got)
	}
	if got := get("/c/x", "cross-site", "document"); got != 200 {
		t.Error("a link from there:", got)
	}
	if got := get("/c/x", "cross-site", "empty", "Origin", "https://embed.example"); got != 200 {
		t.Error("a listed page:", got)
	}
	if got := get("/c/x", "none", "document"); got != 429 {
		t.Error("a third page at once:", got)
	}
}

func TestListenBoundsConnections(t *testing.T) {
	var served atomic.Int32
	authority := start(t, Options{MaxConnsPerIP: 2}, func(w http.ResponseWriter, _ *http.Request) { served.Add(1) })
	open := func() net.Conn {
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	answers := func(c net.Conn) bool {
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", authority)
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	a, b := open(), open()
	defer b.Close()
	if !answers(a) || !answers(b) {
		t.Fatal("the first two are not served")
	}
	c := open()
	if answers(c) {
		t.Error("a third connection is served")
	}
	c.Close()
	a.Close()
	for end := time.Now().Add(10 * time.Second); ; {
		d := open()
		served := answers(d)
		d.Close()
		if served {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place of a closed connection is not given back")
		}
	}
}
