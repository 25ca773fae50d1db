package guard

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// HL-017: headers of more than 32 KiB, in one piece or in ten thousand.
func TestServerBoundsHeaders(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	for name, header := range map[string]string{
		"1 MiB": "X: " + strings.Repeat("a", 1<<20) + "\r\n", "33 KiB": "X: " + strings.Repeat("a", 33<<10) + "\r\n", "10k": strings.Repeat("X: a\r\n", 10_000),
	} {
		if got := raw(t, authority, "GET / HTTP/1.1\r\nHost: $HOST\r\n"+header+"\r\n"); status(got) != "431" {
			t.Errorf("%s: %.200q", name, got)
		}
	}
}

// HL-018: 256 MiB, announced or not, is refused before it is in memory.
func TestServerBoundsBody(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	for name, framing := range map[string]string{"announced": "Content-Length: 268435456\r\n\r\n", "endless": "Transfer-Encoding: chunked\r\n\r\n10000000\r\n"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%s", authority, framing)
		sent := make(chan struct{})
		go func() { defer close(sent); io.CopyN(c, zeros{}, 256<<20) }()
		got := make([]byte, 12)
		_, err = io.ReadFull(c, got)
		c.Close()
		<-sent
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; string(got) != "HTTP/1.1 413" || grown > 16<<20 {
			t.Errorf("%s: %q, %v, %d bytes allocated", name, got, err, grown)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// HL-018: the bound is the class's.
func TestServerBodyByClass(t *testing.T) {
	authority := start(t, Options{Class: func(path string) Class {
		if path == "/small" {
			return Class{MaxBody: 4}
		}
		return Class{MaxBody: 8}
	}}, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	for path, want := range map[string]string{"/small": "413", "/large": "200"} {
		got := raw(t, authority, "POST "+path+" HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345")
		if status(got) != want || want == "200" && !strings.HasSuffix(got, "12345") {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// HL-019: after a request whose framing two parties can read differently, nothing more on the connection is handled.
func TestServerClosesAmbiguous(t *testing.T) {
	for name, text := range map[string]string{
		"HTTP/1.1": "POST /first HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"2\r\n{}\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nHost: $HOST\r\n\r\n",
		"HTTP/1.0": "POST /first HTTP/1.0\r\nHost: $HOST\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 7\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nGET /admin HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n",
	} {
		var paths []string
		authority := start(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) })
		got := raw(t, authority, text)
		if !slices.Equal(paths, []string{"/first"}) || strings.Count(got, "HTTP/1.") != 1 {
			t.Errorf("%s: handled %q: %s", name, paths, got)
		}
	}
}

// HL-020, HL-021: framing that is ambiguous or cut off executes nothing.
func TestServerRefusesBadFraming(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	const post = "POST / HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\n"
	for name, text := range map[string]string{
		"two lengths":        post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
		"signed length":      post + "Content-Length: +2\r\n\r\n{}",
		"two hosts":          "GET / HTTP/1.1\r\nHost: $HOST\r\nHost: evil.example\r\n\r\n",
		"no host":            "GET / HTTP/1.1\r\n\r\n",
		"host with path":     "GET / HTTP/1.1\r\nHost: $HOST/b\r\n\r\n",
		"host with user":     "GET / HTTP/1.1\r\nHost: localhost@evil\r\nConnection: close\r\n\r\n",
		"bare line feed":     post + "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
		"bad chunk size":     post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		"two encodings":      post + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"space before colon": "GET / HTTP/1.1\r\nHost : $HOST\r\n\r\n",
		"HTTP/0.9":           "GET /\r\n\r\n",
		"HTTP/1.0, no host":  "GET / HTTP/1.0\r\n\r\n",
		"foreign absolute":   "GET http://evil.example/ HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n",
		"absolute with user": "GET http://$HOST@evil.example/ HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n",
	} {
		if got := raw(t, authority, text); !strings.HasPrefix(status(got), "4") && status(got) != "501" || strings.Contains(got, "evil") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// HL-021: half a body, then the end.
func TestServerRefusesHalfABody(t *testing.T) {
	authority := start(t, Options{}, forbidden(t))
	for name, framing := range map[string]string{"length": "Content-Length: 100\r\n\r\n{\"a\":", "chunks": "Transfer-Encoding: chunked\r\n\r\n64\r\n{\"a\":"} {
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%s", authority, framing)
		c.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(c); status(string(got)) != "400" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// HL-021: half a body, then silence, whether the request is refused for that or for something else.
func TestServerBoundsBodyTime(t *testing.T) {
	authority := start(t, Options{BodyTimeout: 50 * time.Millisecond}, forbidden(t))
	for name, want := range map[string]string{"$HOST": "400", "evil.example": "421"} {
		started := time.Now()
		got := raw(t, authority, "POST /mcp HTTP/1.1\r\nHost: "+name+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		if status(got) != want || time.Since(started) > 5*time.Second {
			t.Errorf("%s: %q after %v", name, got, time.Since(started))
		}
	}
}

// A stream that lasts longer than the time for bodies is not cut by it.
func TestServerStreams(t *testing.T) {
	gone := make(chan struct{})
	authority := start(t, Options{BodyTimeout: 30 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			close(gone)
		case <-time.After(200 * time.Millisecond):
			io.WriteString(w, "late")
		}
	})
	got := raw(t, authority, "POST /mcp HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	if !strings.Contains(got, "late") {
		t.Errorf("got %q", got)
	}
	select {
	case <-gone:
		t.Error("the request was canceled")
	default:
	}
}

// A WebSocket gets through the layers, and one from a foreign page does not (HL-005).
func TestServerWebSocket(t *testing.T) {
	authority := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		kind, b, _ := c.Read(r.Context())
		c.Write(r.Context(), kind, b)
	})
	dial := func(origin string) (*websocket.Conn, error) {
		c, _, err := websocket.Dial(t.Context(), "ws://"+authority, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		return c, err
	}
	c, err := dial("http://" + authority)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, b, err := c.Read(t.Context()); string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if c, err := dial("http://localhost:9999"); err == nil {
		c.CloseNow()
		t.Error("a foreign page opened a WebSocket")
	}
}

// HL-015, small: 300 connections that never finish their header. Others are served meanwhile, and each is closed in time.
func TestServerSlowHeaders(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0", Options{})
	if err != nil {
		t.Fatal(err)
	}
	authority := l.Addr().String()
	var served atomic.Int32
	s := Server(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }), Options{Hosts: []string{authority}})
	if s.ReadHeaderTimeout <= 0 || s.ReadHeaderTimeout > 10*time.Second {
		t.Fatal(s.ReadHeaderTimeout)
	}
	s.ReadHeaderTimeout = 700 * time.Millisecond
	go s.Serve(l)
	defer s.Close()
	quick := func() (longest time.Duration) { // of 20 requests
		for range 20 {
			started := time.Now()
			got := raw(t, authority, "GET / HTTP/1.1\r\nHost: $HOST\r\nConnection: close\r\n\r\n")
			longest = max(longest, time.Since(started))
			if status(got) != "200" {
				t.Errorf("%q after %v", got, time.Since(started))
			}
		}
		return longest
	}
	before := quick()
	var slow []net.Conn
	for range 300 {
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, "GET / HT")
		slow = append(slow, c)
	}
	took := quick()
	for _, c := range slow {
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatal("a slow connection stays open")
		}
	}
	if after := quick(); took > time.Second+max(before, after) {
		t.Errorf("%v beside slow connections, %v and %v without", took, before, after)
	}
	if served.Load() != 60 {
		t.Errorf("%d served", served.Load())
	}
}
