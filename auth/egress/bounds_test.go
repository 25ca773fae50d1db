package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// BF-032: endless bodies, and small ones that unpack to endless ones.
func TestDoBoundsTheBody(t *testing.T) {
	c, url := newTLS(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		var to io.Writer = w
		if r.URL.Path == "/gzip" {
			w.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(w)
			defer zw.Close()
			to = zw
		}
		io.Copy(to, zeros(64<<20))
	})
	for _, path := range []string{"/plain", "/gzip"} {
		r := Request{Method: "GET", Target: mustParse(t, url+path), MaxBody: 100 << 10}
		_, err := c.Do(t.Context(), r)
		mustFail(t, err, KindTooLarge)
		r.Truncate = true
		res, err := c.Do(t.Context(), r)
		if err != nil || !res.Truncated || len(res.Body) != 100<<10 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// BF-032: gzip members without content never end and never grow.
func TestDoBoundsEmptyMembers(t *testing.T) {
	var member bytes.Buffer
	gzip.NewWriter(&member).Close()
	c, url := newPlain(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		many := bytes.Repeat(member.Bytes(), 1000)
		for range 10_000 {
			if _, err := w.Write(many); err != nil {
				return
			}
		}
	})
	if res, err := get(t, c, url); err == nil {
		t.Fatalf("an answer of %d bytes", len(res.Body))
	}
}

func TestDoDecodes(t *testing.T) {
	c, url := newPlain(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Encoding"] = strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "+")
		switch {
		case r.URL.Query().Has("empty"):
			w.WriteHeader(http.StatusNoContent)
		case r.Method != "HEAD":
			zw := gzip.NewWriter(w)
			fmt.Fprint(zw, "hello")
			zw.Close()
		}
	})
	res, err := get(t, c, url+"/gzip")
	if err != nil || string(res.Body) != "hello" || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Content-Length") != "" {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := get(t, c, url+"/gzip?empty"); err != nil || res.Status != 204 || len(res.Body) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := c.Do(t.Context(), Request{Method: "HEAD", Target: mustParse(t, url+"/gzip")}); err != nil || len(res.Body) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	for _, encoding := range []string{"br", "gzip+gzip", "identity+gzip"} { // which leaves something encoded
		_, err = get(t, c, url+"/"+encoding)
		mustFail(t, err, KindAnswer)
	}
}

// RF-016: what came with the header of an answer is not lost with a body that cannot be read; and it is no answer.
func TestDoGivesTheHeaderBesideABodyError(t *testing.T) {
	c, url := newPlain(t, Options{IdleTimeout: 80 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "sid=2")
		switch r.URL.Path {
		case "/foreign":
			w.Header().Set("Content-Encoding", "br")
			fmt.Fprint(w, "body")
		case "/long":
			fmt.Fprint(w, strings.Repeat("body", 100))
		case "/cut":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "body")
		case "/half":
			fmt.Fprint(w, "body")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	for path, kind := range map[string]Kind{"/foreign": KindAnswer, "/long": KindTooLarge, "/cut": KindNetwork, "/half": KindTimeout} {
		res, err := c.Do(t.Context(), Request{Method: "GET", Target: mustParse(t, url+path), MaxBody: 100})
		if e := mustFail(t, err, kind); !e.Sent || res == nil || res.Status != http.StatusOK || res.Header.Get("Set-Cookie") != "sid=2" || res.Header.Get("Content-Encoding") != "" || res.Body != nil {
			t.Errorf("%s: %+v, %v", path, res, err)
		}
		if res, err := (&http.Client{Transport: c.RoundTripper(100)}).Get(url + path); err == nil {
			t.Errorf("%s: a library gets %v", path, res.Status)
		}
	}
}

// BF-032: 10 MiB of headers, and a million of them.
func TestDoBoundsTheHeader(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			w.Header().Set("X-Long", strings.Repeat("a", 10<<20))
			return
		}
		for i := range 100_000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), "a")
		}
	}
	for _, path := range []string{"/long", "/many"} {
		c, url := newPlain(t, Options{}, handler)
		_, err := get(t, c, url+path)
		if e := mustFail(t, err, KindTooLarge); !e.Sent {
			t.Error("Sent is false")
		}
		// Go's HTTP/2 breaks a header off half-way and calls it a protocol error.
		c, url = newTLS(t, Options{}, handler)
		_, err = get(t, c, url+path)
		mustFail(t, err, KindAnswer)
	}
}

// BF-033: silence before the header, silence inside the body, one byte at a time; nothing is left running.
func TestDoBoundsTime(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/mute" {
			<-r.Context().Done()
			return
		}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; r.Context().Err() == nil; n++ {
			if r.URL.Path == "/half" && n > 2 {
				<-r.Context().Done()
			}
			if r.URL.Path == "/slow" && n > 80 {
				return
			}
			fmt.Fprint(w, "a")
			w.(http.Flusher).Flush()
			<-tick.C
		}
	}
	for name, start := range map[string]func(*testing.T, Options, http.HandlerFunc) (*Client, string){"HTTP/1.1": newPlain, "HTTP/2": newTLS} {
		t.Run(name, func(t *testing.T) {
			c, url := start(t, Options{HeaderTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond, Timeout: 1500 * time.Millisecond}, handler)
			before := runtime.NumGoroutine()
			for _, path := range []string{"/mute", "/half", "/drip"} {
				started := time.Now()
				_, err := get(t, c, url+path)
				e := mustFail(t, err, KindTimeout)
				if !e.Sent || !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > 5*time.Second {
					t.Errorf("%s: %v after %v", path, e, time.Since(started))
				}
			}
			// Slow is not silent: this one lasts longer than IdleTimeout.
			if res, err := get(t, c, url+"/slow"); err != nil || len(res.Body) < 80 {
				t.Error(err)
			}
			c.CloseIdle()
			for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
				}
			}
		})
	}
}

// BF-022, BF-033: a server that changes to another protocol, though nobody asked, and then is silent. The call is over at
// once, and so is the connection.
func TestDoSwitchesToNothing(t *testing.T) {
	for _, header := range []string{"Connection: Upgrade\r\nUpgrade: websocket\r\n", ""} {
		ended := make(chan error, 1)
		c, url := newPlain(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\n%s\r\nhello", header)
			conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = io.Copy(io.Discard, conn)
			ended <- err
		})
		_, err := get(t, c, url)
		if e := mustFail(t, err, KindAnswer); !e.Sent {
			t.Error("Sent is false")
		}
		if err := <-ended; errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is left open")
		}
	}
}

// BF-032, BF-033: the bounds that hold when nobody sets any.
func TestDefaultBounds(t *testing.T) {
	c := New(Options{})
	got := []time.Duration{c.opt.DialTimeout, c.opt.TLSTimeout, c.opt.HeaderTimeout, c.opt.Timeout, c.parties.base.TLSHandshakeTimeout, c.parties.base.ResponseHeaderTimeout}
	want := []time.Duration{5 * time.Second, 5 * time.Second, 30 * time.Second, time.Minute, 5 * time.Second, 30 * time.Second}
	if !slices.Equal(got, want) || c.parties.base.MaxResponseHeaderBytes != 64<<10 {
		t.Errorf("%v, and %d bytes of header", got, c.parties.base.MaxResponseHeaderBytes)
	}
}
