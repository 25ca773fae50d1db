package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
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

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
	leave := share(t, first)
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
		if time.Since(gone) > 5*time.Second {
			t.Fatal("nobody took over")
		}
	}
	if took := time.Since(gone); took > time.Second {
		t.Errorf("taking over took %s", took)
	}
}

// CB-022: a port that is somebody else's is never advertised, even when that
// somebody speaks like us.
func TestTheDoorIsNotSharedWithStrangers(t *testing.T) {
	listen := freePort(t)
	stranger := &http.Server{Addr: listen, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"service":"latchpost","proof":"00"}`)
	})}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = stranger.Serve(l) }()
	t.Cleanup(func() { _ = stranger.Close() })

	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	share(t, h)
	if h.door.URL() == "http://"+listen {
		t.Fatal("links lead to the stranger")
	}
	if !alive(strings.TrimPrefix(h.door.URL(), "http://")) {
		t.Error("nobody serves where the links lead")
	}
}

// CB-022: nor when it has the proof made by a process of ours on another port.
func TestTheDoorIsNotSharedWithARelay(t *testing.T) {
	dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
	ours := newHouse(t, dir, "127.0.0.1:0")
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
		t.Fatal("links lead to the relay")
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
	if _, err := h.door.Share(t.Context(), h.pages); err == nil || !strings.Contains(err.Error(), listen+" is taken") {
		t.Fatalf("beside a neighbour: %v", err)
	}
	leave()
	share(t, h)
	if !alive(listen) {
		t.Error("nobody serves on the free port")
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

// HL-001, HL-031: a foreign Host is refused on every route, and there are no debug
// surfaces.
func TestRoutes(t *testing.T) {
	listen := freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.serves, h.settings.serve.sse = true, true
	share(t, h)
	ask := func(method, path, host string) int {
		req, err := http.NewRequest(method, "http://"+listen+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/", "/c/x", "/callback/github", "/done/x", "/secret/x", "/live/x", "/connections", "/approvals", "/activity", "/apps",
		"/login", "/logout", "/api/v1/connections", "/mcp", "/sse", "/message", "/healthz", "/readyz", "/static/latchpost.css"} {
		for _, method := range []string{"GET", "POST"} {
			if got := ask(method, path, "evil.example"); got != http.StatusMisdirectedRequest && got != http.StatusForbidden {
				t.Errorf("%s %s with a foreign Host: %d", method, path, got)
			}
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/metrics", "/.git/config", "/swagger"} {
		if got := ask("GET", path, listen); got != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, got)
		}
	}
	for _, path := range []string{"/mcp", "/sse", "/message"} {
		if got := ask("GET", path, listen); got != http.StatusUnauthorized && got != http.StatusMethodNotAllowed {
			t.Errorf("GET %s without a token: %d", path, got) // MC-011
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
