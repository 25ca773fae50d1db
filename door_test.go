package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/identity"
)

// newHouse opens the store in dir as one more process would.
func newHouse(t *testing.T, dir, listen string) *house {
	t.Helper()
	s := &settings{in: strings.NewReader(""), out: io.Discard, err: io.Discard, data: dir, listen: listen, logLevel: "error"}
	s.browser.dir = filepath.Join(dir, "browser")
	h, err := open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// share serves the pages of a house until the returned function is called.
func share(t *testing.T, h *house) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	wait, err := h.door.Share(ctx, h.pages)
	if err != nil {
		t.Fatal(err)
	}
	done := false
	stop = func() {
		if !done {
			done = true
			cancel()
			if err := wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return stop
}

// freePort is an address for a command that has to know its own before it starts. The kernel gives such a port to
// nobody who asks for any, nor to outgoing connections: Linux begins at 32768, others at 49152.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 20000+rand.N(12000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func alive(address string) bool {
	resp, err := http.Get("http://" + address + "/healthz")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ST-014: hosts start a process each; one serves the pages of all, and when it
// goes another takes over within a second.
func TestTheDoorIsTakenOver(t *testing.T) {
	dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
	first, second := newHouse(t, dir, listen), newHouse(t, dir, listen)
	came := time.Now()
	leave := share(t, first)
	for !alive(listen) && time.Since(came) < 20*time.Second {
	}
	usual := time.Since(came) // to begin to serve, on this machine as it is now
	share(t, second)
	if first.door.URL() != "http://"+listen || second.door.URL() != first.door.URL() {
		t.Fatalf("links lead to %s and %s", first.door.URL(), second.door.URL())
	}
	if !alive(listen) {
		t.Fatal("nobody serves")
	}
	leave()
	gone := time.Now()
	for !alive(listen) {
		if time.Since(gone) > 5*time.Second+usual {
			t.Fatal("nobody took over")
		}
	}
	if took := time.Since(gone); took > time.Second+usual {
		t.Errorf("taking over took %s, and serving at all %s", took, usual)
	}
}

// CB-022: a port that is somebody else's is never advertised, even when that
// somebody speaks like us; and one that changes to another protocol, and then is silent, keeps nobody waiting.
func TestTheDoorIsNotSharedWithStrangers(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"like us": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"service":"latchpost","proof":"00"}`)
		},
		"silent": func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			listen := freePort(t)
			stranger := &http.Server{Addr: listen, Handler: answer}
			l, err := net.Listen("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = stranger.Serve(l) }()
			t.Cleanup(func() { _ = stranger.Close() })

			h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
			begun := time.Now()
			share(t, h)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %s to go elsewhere", took)
			}
			if h.door.URL() == "http://"+listen {
				t.Fatal("links lead to the stranger")
			}
			if !alive(strings.TrimPrefix(h.door.URL(), "http://")) {
				t.Error("nobody serves where the links lead")
			}
		})
	}
}

// CB-022: nor when it has the proof made by a process of ours on another port, or on the same port of another address.
func TestTheDoorIsNotSharedWithARelay(t *testing.T) {
	for _, elsewhere := range []string{"127.0.0.1:0", "127.0.0.2:PORT"} {
		dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
		_, port, _ := net.SplitHostPort(listen)
		elsewhere = strings.Replace(elsewhere, "PORT", port, 1)
		if l, err := net.Listen("tcp", elsewhere); err == nil {
			_ = l.Close()
		} else {
			t.Logf("this machine has no %s: %v", elsewhere, err)
			continue
		}
		ours := newHouse(t, dir, elsewhere)
		share(t, ours)
		relay := &http.Server{Addr: listen, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resp, err := http.Get(ours.door.URL() + r.URL.RequestURI())
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(w, resp.Body)
		})}
		l, err := net.Listen("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = relay.Serve(l) }()
		t.Cleanup(func() { _ = relay.Close() })
		h := newHouse(t, dir, listen)
		share(t, h)
		if h.door.URL() == "http://"+listen {
			t.Errorf("links lead to the relay, with the proof of %s", elsewhere)
		}
	}
}

// CB-022: nor when a stranger was faster than we are, after the neighbour had left.
func TestTheDoorIsNotLeftToAStranger(t *testing.T) {
	dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
	var onPort atomic.Pointer[http.Handler]
	put := func(h http.Handler) { onPort.Store(&h) }
	put(newHouse(t, dir, listen).pages(listen).Handler)
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	there := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*onPort.Load()).ServeHTTP(w, r) })}
	go func() { _ = there.Serve(l) }()
	t.Cleanup(func() { _ = there.Close() })

	h := newHouse(t, dir, listen)
	share(t, h)
	if h.door.URL() != "http://"+listen {
		t.Fatalf("beside a neighbour links lead to %s", h.door.URL())
	}
	put(http.NotFoundHandler())
	for gone := time.Now(); h.door.URL() == "http://"+listen; time.Sleep(10 * time.Millisecond) {
		if time.Since(gone) > 20*time.Second {
			t.Fatal("links lead to the stranger")
		}
	}
	for moved := time.Now(); !alive(strings.TrimPrefix(h.door.URL(), "http://")); time.Sleep(10 * time.Millisecond) {
		if time.Since(moved) > 5*time.Second {
			t.Fatalf("nobody serves at %s, where the links lead", h.door.URL())
		}
	}
}

// CB-022: agents know one address, so serve does not start where a neighbour of this
// store, or anybody else, answers there.
func TestTheDoorOfAgentsIsTheirs(t *testing.T) {
	dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
	leave := share(t, newHouse(t, dir, listen))
	h := newHouse(t, dir, listen)
	if err := h.openServe(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.door.Share(t.Context(), h.pages); err == nil || !strings.Contains(err.Error(), listen+" is taken by another latchpost of this store") {
		t.Fatalf("beside a neighbour: %v", err)
	}
	stranger := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	stranger.door.own = true
	if _, err := stranger.door.Share(t.Context(), stranger.pages); err == nil || !strings.Contains(err.Error(), listen+" is taken by another program") {
		t.Fatalf("beside another store's: %v", err)
	}
	leave()
	share(t, h)
	if !alive(listen) {
		t.Error("nobody serves on the free port")
	}
}

// OP-001: a process whose listener fails ends and says so, instead of living on where nobody can come in.
func TestNobodyStaysBehindAFallenDoor(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	h.door.own, h.door.cert = true, &certificate{chain: "gone.pem", key: "gone.key"} // as if they had been deleted since they were checked
	ended := make(chan error, 1)
	go func() {
		ended <- h.run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil })
	}()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "serving on "+h.door.listen) || !strings.Contains(err.Error(), "start latchpost again") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it lives on")
	}
}

// HL-013: by default only loopback addresses are bound.
func TestTheDoorIsOnLoopback(t *testing.T) {
	s := &settings{}
	newFlags(commands()[0], s)
	if !isLoopback(s.listen) {
		t.Errorf("the default address %s can be reached from elsewhere", s.listen)
	}
}

// routes are examples of everything that is mounted.
var routes = []string{
	"/", "/c/x", "/c/x/app", "/callback/github", "/done/x", "/secret/x", "/live/x", "/live/x/ws", "/live/static/live.css", "/connections", "/approvals", "/approvals/x", "/activity", "/apps",
	"/login", "/login/x", "/logout", "/api/v1/connections", "/api/v1/approvals/x", "/embed/latchpost.js", "/static/latchpost.css", "/mcp", "/sse", "/message",
	"/.well-known/oauth-protected-resource/mcp", "/register", "/healthz", "/readyz", "/nowhere",
}

// Hosts that get a 401 and find no authorization server would register with this one. What they show their user then says
// what to do; where there is an issuer they register there.
func TestClientsThatWouldRegister(t *testing.T) {
	const metadata = `{"client_name":"host","redirect_uris":["http://127.0.0.1:1/callback"]}`
	register := func(listen string) (status int, refusal struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}) {
		t.Helper()
		resp, err := http.Post("http://"+listen+"/register", "application/json", strings.NewReader(metadata))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&refusal); err != nil && resp.StatusCode == http.StatusForbidden {
			t.Fatal(err)
		}
		return resp.StatusCode, refusal
	}
	_, listen := openDoor(t)
	if status, refusal := register(listen); status != http.StatusForbidden || refusal.Error != "access_denied" || !strings.Contains(refusal.Description, "latchpost token create") {
		t.Errorf("%d %+v", status, refusal)
	}
	listen = freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.serves, h.identity.Issuer = true, &identity.Issuer{URL: "https://id.example"}
	share(t, h)
	if status, _ := register(listen); status == http.StatusForbidden {
		t.Errorf("with an issuer: %d", status)
	}
}

// forAgents are the routes of agents, who bring a token.
var forAgents = []string{"/mcp", "/sse", "/message"}

// openDoor serves everything, over SSE too.
func openDoor(t *testing.T) (h *house, listen string) {
	t.Helper()
	listen = freePort(t)
	h = newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.serves, h.settings.serve.sse = true, true
	share(t, h)
	return h, listen
}

// knocks counts, so that each comes from another address and none is slowed down.
var knocks atomic.Uint32

// knock sends one request to the door as it is, and gives the status and what else came.
func knock(t *testing.T, listen, method, path string, header ...string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+listen+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	n := knocks.Add(1)
	from := &net.TCPAddr{IP: net.IPv4(127, 9, byte(n>>8), byte(n))}
	way := &http.Transport{DialContext: (&net.Dialer{LocalAddr: from}).DialContext, DisableKeepAlives: true}
	resp, err := way.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 64<<10)
	read, _ := io.ReadFull(resp.Body, body)
	return resp.StatusCode, fmt.Sprint(resp.Header) + string(body[:read])
}

// HL-001, HL-014, HL-031: a foreign Host is refused on every route, before anybody asks who comes, and not reflected; so is
// a method that nobody needs. There are no debug surfaces.
func TestRoutes(t *testing.T) {
	h, listen := openDoor(t)
	token, _, err := h.identity.Tokens.Create(t.Context(), auth.Local, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listen)
	for _, path := range routes {
		for _, host := range []string{"evil.example", "evil.example:" + port, "localhost", "127.0.0.1", "127.0.0.1:1", "localhost." + ":" + port, "[::1]:" + port, "127.1:" + port} {
			for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
				for _, bearer := range []string{"", "Bearer " + token.Reveal()} {
					got, text := knock(t, listen, method, path, "Host", host, "Authorization", bearer, "X-Forwarded-Host", listen)
					if got != http.StatusMisdirectedRequest && got != http.StatusForbidden || strings.Contains(text, "evil") {
						t.Errorf("%s %s under %s: %d %s", method, path, host, got, text)
					}
				}
			}
		}
		for _, method := range []string{"TRACE", "PUT", "PATCH", "OPTIONS", "PRI", "FOO", "get", "PROPFIND"} {
			if got, _ := knock(t, listen, method, path, "Authorization", "Bearer "+token.Reveal()); got != http.StatusMethodNotAllowed && got != http.StatusNotFound {
				t.Errorf("%s %s: %d", method, path, got)
			}
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/metrics", "/.git/config", "/swagger", "/swagger/index.html", "/openapi.json", "/.env", "/debug/requests"} {
		if got, _ := knock(t, listen, "GET", path); got != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, got)
		}
	}
	for _, path := range forAgents {
		if got, _ := knock(t, listen, "GET", path); got != http.StatusUnauthorized && got != http.StatusMethodNotAllowed {
			t.Errorf("GET %s without a token: %d", path, got) // MC-011
		}
	}
}

// Whatever is asked, and however it is answered, no frame may hold it, nothing inline runs in it, no other site may read it, and no
// cache keeps it for long.
func TestHeadersOfEveryAnswer(t *testing.T) {
	_, listen := openDoor(t)
	wanted := []string{
		"Content-Security-Policy:[default-src 'none'", "frame-ancestors 'none'", "X-Frame-Options:[DENY]", "X-Content-Type-Options:[nosniff]", "Referrer-Policy:[no-referrer]",
		"Cache-Control:[no-", "Cross-Origin-Opener-Policy:[same-origin]", "Cross-Origin-Resource-Policy:[", "Permissions-Policy:[camera=()",
	}
	for _, path := range append([]string{"//x", "/%2e%2e", "/c/%ff", "/static/x", "/embed/x", "/live/static/x", "/favicon.ico", "/api/v1/", "/c/"}, routes...) {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE", "TRACE"} {
			for _, header := range [][]string{{}, {"Host", "evil.example"}, {"Origin", "https://evil.example"}, {"If-None-Match", "*"}, {"Range", "bytes=9000000-"}, {"Sec-Purpose", "prefetch"}} {
				status, text := knock(t, listen, method, path, header...)
				for _, want := range wanted {
					if !strings.Contains(text, want) {
						t.Errorf("%s %s with %q: %d without %s: %.300s", method, path, header, status, want, text)
					}
				}
				public := strings.HasPrefix(path, "/.well-known/")
				if strings.Contains(text, "unsafe-") || strings.Contains(text, "Access-Control-Allow-Origin") && !public {
					t.Errorf("%s %s with %q: %d %.300s", method, path, header, status, text)
				}
			}
		}
	}
}

// MC-011: a request without a token is told where to read what is wanted, also when the tokens are issued here and no
// authorization server can be named.
func TestResourceMetadataWithoutIssuer(t *testing.T) {
	_, listen := openDoor(t)
	const path = "/.well-known/oauth-protected-resource/mcp"
	for _, agents := range forAgents {
		got, text := knock(t, listen, "POST", agents, "Content-Type", "application/json")
		if got != http.StatusUnauthorized && agents != "/sse" || got == http.StatusUnauthorized && !strings.Contains(text, `resource_metadata="http://`+listen+path+`"`) {
			t.Errorf("POST %s: %d %s", agents, got, text)
		}
	}
	got, text := knock(t, listen, "GET", path)
	if got != http.StatusOK || !strings.Contains(text, `"resource":"http://`+listen+`/mcp"`) || !strings.Contains(text, `"bearer_methods_supported":["header"]`) || strings.Contains(text, "authorization_servers") {
		t.Errorf("GET %s: %d %s", path, got, text)
	}
}

// ID-023: that there is some Authorization changes nothing anywhere: where a token counts a bad one is refused, and
// nowhere else does it open, or close, anything.
func TestSomeAuthorizationIsNone(t *testing.T) {
	h, listen := openDoor(t)
	token, _, err := h.identity.Tokens.Create(t.Context(), auth.Local, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range routes {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			header := []string{"Content-Type", "application/json", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
			if !strings.HasSuffix(path, "/ws") {
				header = header[:2]
			}
			if method != "POST" {
				header = header[2:]
			}
			without, _ := knock(t, listen, method, path, header...)
			for _, bad := range []string{"Bearer garbage", "Bearer lp_" + strings.Repeat("A", 43), "Basic bG9jYWw6bG9jYWw=", "Bearer " + token.Reveal()[:20], "Bearer"} {
				with, _ := knock(t, listen, method, path, append(header, "Authorization", bad)...)
				if slices.Contains(forAgents, path) && with != http.StatusUnauthorized && with != http.StatusMethodNotAllowed || with != without {
					t.Errorf("%s %s with %.10s…: %d, without %d", method, path, bad, with, without)
				}
			}
			if slices.Contains(forAgents, path) {
				continue
			}
			if with, _ := knock(t, listen, method, path, append(header, "Authorization", "Bearer "+token.Reveal())...); with != without {
				t.Errorf("an agent's token changes %s %s: %d, without it %d", method, path, with, without)
			}
		}
	}
}

// HL-018: 256 MiB, announced or not, to what takes a body, also from an agent that may come in: refused before it is in memory.
func TestHugeBodies(t *testing.T) {
	h, listen := openDoor(t)
	token, _, err := h.identity.Tokens.Create(t.Context(), auth.Local, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/mcp", "/message", "/secret/x", "/login", "/c/x", "/api/v1/approvals/x", "/live/x"} {
		kind := "application/x-www-form-urlencoded"
		if slices.Contains(forAgents, path) || strings.HasPrefix(path, "/api/") {
			kind = "application/json"
		}
		for name, framing := range map[string]string{"announced": "Content-Length: 268435456\r\n\r\n", "endless": "Transfer-Encoding: chunked\r\n\r\n10000000\r\n"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c, err := net.Dial("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n%s", path, listen, token.Reveal(), kind, framing)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				part := bytes.Repeat([]byte("a"), 64<<10)
				for range 4096 {
					if _, err := c.Write(part); err != nil {
						return
					}
				}
			}()
			got := make([]byte, 12)
			_, err = io.ReadFull(c, got)
			_ = c.Close()
			<-sent
			runtime.ReadMemStats(&after)
			if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; string(got) != "HTTP/1.1 413" || grown > 32 { // 4 MiB, read into a buffer that grows
				t.Errorf("%s, %s: %q, %v, %d MiB allocated", path, name, got, err, grown)
			}
		}
	}
}

// HL-003: another site's page gets nothing from the old transport, and may not even
// read that it got nothing.
func TestOtherSitesGetNothingFromSSE(t *testing.T) {
	listen := freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.serves, h.settings.serve.sse = true, true
	share(t, h)
	token, _, err := h.identity.Tokens.Create(t.Context(), auth.Local, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range []struct{ method, path, contentType string }{
		{"GET", "/sse", ""}, {"POST", "/message?sessionId=x", "text/plain"}, {"POST", "/mcp", "text/plain"}, {"OPTIONS", "/sse", ""},
	} {
		req, err := http.NewRequest(ask.method, "http://"+listen+ask.path, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
		if ask.contentType != "" {
			req.Header.Set("Content-Type", ask.contentType)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s from another site: %s, may be read by %q", ask.method, ask.path, resp.Status, resp.Header.Get("Access-Control-Allow-Origin"))
		}
	}
}

// Streams in which nothing happens do not hold the end of a server.
func TestIdleStreamsEndWithTheDoor(t *testing.T) {
	listen := freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.serves, h.settings.serve.sse = true, true
	stop := share(t, h)
	token, _, err := h.identity.Tokens.Create(t.Context(), auth.Local, "agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, session, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+listen+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Authorization": "Bearer " + token.Reveal(), "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Session-Id": session} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
		return resp
	}
	opened := ask("POST", "/mcp", "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agent","version":"1"}}}`)
	_, _ = io.Copy(io.Discard, opened.Body)
	streams := []*http.Response{ask("GET", "/mcp", opened.Header.Get("Mcp-Session-Id"), ""), ask("GET", "/sse", "", "")}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 2500*time.Millisecond { // with streams open it is three seconds
		t.Errorf("the end took %s", took)
	}
	for _, stream := range streams {
		if _, err := io.Copy(io.Discard, stream.Body); err != nil {
			t.Errorf("a stream was cut off: %v", err)
		}
	}
}

// HL-001: browsers leave out the usual port, in Host and in Origin; any other has to be there.
func TestHostsAreWrittenAsBrowsersDo(t *testing.T) {
	for listen, want := range map[string][]string{
		"127.0.0.1:80":   {"http://127.0.0.1", "127.0.0.1:80", "localhost:80", "127.0.0.1", "localhost", "127.0.0.1"},
		"[::1]:80":       {"http://[::1]", "[::1]:80", "[::1]", "[::1]"},
		"127.0.0.1:7823": {"http://127.0.0.1:7823", "127.0.0.1:7823", "localhost:7823", "127.0.0.1:7823"},
		"127.0.0.1:8080": {"http://127.0.0.1:8080", "127.0.0.1:8080", "localhost:8080", "127.0.0.1:8080"},
	} {
		base := newDoor(&settings{listen: listen}, nil, nil).URL()
		if got := append([]string{base}, hosts(listen, base)...); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
	}
	if got := hosts("127.0.0.1:80", "https://latchpost.example"); slices.Contains(got, "127.0.0.1") {
		t.Errorf("where people come by https: %q", got)
	}
}

// The pages for signing in stand beside the others, and end as they do: with what strangers may know.
func TestOneFooter(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), "127.0.0.1:7823")
	pages := h.pages("127.0.0.1:7823").Handler
	footer := regexp.MustCompile(`(?s)<footer>.*</footer>`)
	var want string
	for _, path := range []string{"/connections", "/login", "/c/nosuch", "/login?code=x"} {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:7823"+path, nil))
		got := footer.FindString(w.Body.String())
		if want == "" {
			want = got
		}
		if got == "" || got != want || strings.Contains(got, buildVersion()) {
			t.Errorf("%s ends with %q, others with %q", path, got, want)
		}
	}
}
