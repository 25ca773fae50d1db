package browserlogin

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/guard"
)

// LV-001: ids are 256 bits, and guessing them tells nothing and is slowed down.
func TestLinkGuessing(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := newID()
		if raw, err := base64.RawURLEncoding.DecodeString(id); err != nil || len(raw) != 32 || seen[id] {
			t.Fatalf("%q is not 256 bits, or came twice", id)
		}
		seen[id] = true
	}
	b := newBench(t, nil, authtest.SiteOptions{})
	first, limited := "", 0
	for i := range 2 * missesPerMinute {
		resp, body := b.get(nil, "/live/"+newID())
		if resp.StatusCode == http.StatusTooManyRequests {
			limited++
			continue
		}
		if i == 0 {
			first = body
		}
		if resp.StatusCode != http.StatusNotFound || body != first {
			t.Fatalf("answer %d differs", i)
		}
	}
	if limited != missesPerMinute {
		t.Errorf("%d of %d guesses were limited", limited, 2*missesPerMinute)
	}
}

// LV-001: the limit is per client, whatever it calls its own addresses and whatever stands before us, and what is remembered is bounded.
func TestMissesPerClient(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	pool, err := New(Options{DriverDir: t.TempDir(), Network: func(r *http.Request) netip.Prefix { return guard.ClientNetwork(r, proxies) }})
	if err != nil {
		t.Fatal(err)
	}
	try := func(peer, forwarded string) bool {
		r, w := httptest.NewRequest(http.MethodGet, "/live/x", nil), httptest.NewRecorder()
		r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(peer), 1000).String()
		r.Header.Set("X-Forwarded-For", forwarded)
		pool.Handler().ServeHTTP(w, r)
		return w.Code == http.StatusTooManyRequests
	}
	limited := func(n int, try func(i int) bool) (all int) {
		for i := range n {
			if try(i) {
				all++
			}
		}
		return all
	}
	if n := limited(100, func(i int) bool { return try(fmt.Sprintf("2001:db8::%x", i+1), "") }); n != 100-missesPerMinute {
		t.Errorf("%d of 100 guesses from one /64 were slowed down", n)
	}
	if n := limited(100, func(i int) bool { return try("10.0.0.1", fmt.Sprintf("192.0.2.%d", i)) }); n != 0 {
		t.Errorf("%d clients of a proxy were taken for one", n)
	}
	if n := limited(100, func(i int) bool { return try("198.51.100.7", fmt.Sprintf("192.0.2.%d", i)) }); n != 100-missesPerMinute {
		t.Errorf("a client that names another address for itself: %d of 100 were slowed down", n)
	}
	limited(2*mostNetworks, func(i int) bool { return try(fmt.Sprintf("2001:db8:%x::1", i+1), "") })
	if n := len(pool.misses.count); n > mostNetworks+1 {
		t.Errorf("%d networks are remembered", n)
	}
}

func (b *bench) get(c *http.Client, path string) (*http.Response, string) {
	b.t.Helper()
	if c == nil {
		c = http.DefaultClient
	}
	resp, err := c.Get(b.srv.URL + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

// LV-002, ID-011: the link alone opens nothing. Whoever the identity check does not
// know gets the answer of a link that never was: no page, no ticket, no frame.
func TestStrangerIsRefused(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	b.allow(func(*http.Request, string) error { return errStranger })
	s, _ := b.start("mallory", nil)
	_, never := b.get(nil, "/live/"+newID())
	resp, body := b.get(nil, "/live/"+s.id)
	if resp.StatusCode != http.StatusNotFound || body != never || len(resp.Cookies()) > 0 {
		t.Errorf("a stranger got %d and %d cookies", resp.StatusCode, len(resp.Cookies()))
	}
	if _, resp, err := b.dial(s, b.srv.URL, nil); err == nil || resp.StatusCode != http.StatusNotFound {
		t.Error("a stranger's WebSocket was opened")
	}
	if s.view != nil {
		t.Error("a stranger watches")
	}
	none, err := New(Options{DriverDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if none.visitor(nil, s) == nil {
		t.Error("without an identity check everybody is let in")
	}
}

func (b *bench) dial(s *session, origin string, jar http.CookieJar) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(b.t.Context(), strings.Replace(b.url(s), "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Jar: jar}, HTTPHeader: http.Header{"Origin": {origin}},
	})
}

// enter opens the page as a browser would, and gives its cookies and its ticket.
func (b *bench) enter(s *session) (http.CookieJar, string) {
	b.t.Helper()
	jar, _ := cookiejar.New(nil)
	_, body := b.get(&http.Client{Jar: jar}, "/live/"+s.id)
	_, rest, ok := strings.Cut(body, `data-ticket="`)
	ticket, _, _ := strings.Cut(rest, `"`)
	if !ok || ticket == "" {
		b.t.Fatal("the page has no ticket")
	}
	return jar, ticket
}

func greet(ctx context.Context, c *websocket.Conn, ticket string) error {
	if err := c.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"t":"hello","ticket":%q,"w":800,"h":600,"take":false}`, ticket)); err != nil {
		return err
	}
	_, _, err := c.Read(ctx)
	return err
}

// LV-002: whoever signed out, or was made another person, watches and types no longer.
func TestViewerWhoMayNotLookAnyMore(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	time.Sleep(2 * mindful)
	p.await("waiting")
	b.allow(func(*http.Request, string) error { return errStranger })
	p.await("gone")
	p.shot("26-signed-out")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view != nil || s.ctx.Err() != nil {
		t.Errorf("the viewer is still there, or the login is over: %v", s.ctx.Err())
	}
}

// LV-006: exact Origin and Host, the cookie, and a ticket that works once.
func TestSocketHandshake(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	jar, ticket := b.enter(s)
	for _, origin := range []string{
		"", "null", "https://evil.example", b.srv.URL + ".evil.example", b.srv.URL + "/", strings.ToUpper(b.srv.URL), strings.Replace(b.srv.URL, "127.0.0.1", "localhost", 1),
		strings.Replace(b.srv.URL, "http", "https", 1), "http://127.0.0.1",
	} {
		if _, resp, err := b.dial(s, origin, jar); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("Origin %q was not refused with 403", origin)
		}
	}
	if _, _, err := b.dial(s, b.srv.URL, nil); err == nil {
		t.Error("a WebSocket without the cookie was opened")
	}
	rebound, err := http.NewRequest(http.MethodGet, b.url(s)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	rebound.Host = "rebound.example"
	rebound.Header.Set("Origin", b.srv.URL)
	if resp, err := http.DefaultClient.Do(rebound); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Error("a request to another Host was not refused")
	}
	try := func(ticket string) error {
		c, _, err := b.dial(s, b.srv.URL, jar)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		return greet(t.Context(), c, ticket)
	}
	if err := try(newID()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a wrong ticket ended with %v", err)
	}
	other, _ := b.enter(s)
	c, _, err := b.dial(s, b.srv.URL, other)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := greet(t.Context(), c, ticket); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a ticket worked with another browser's cookie: %v", err)
	}
	_, ticket = b.enter(s) // the wrong cookie spent the first one
	if err := try(ticket); err == nil {
		t.Error("a ticket worked without its cookie")
	}
	good, fresh := b.enter(s)
	c2, _, err := b.dial(s, b.srv.URL, good)
	if err != nil {
		t.Fatal(err)
	}
	defer c2.CloseNow()
	if err := greet(t.Context(), c2, fresh); err != nil {
		t.Errorf("the right browser was refused: %v", err)
	}
	c3, _, err := b.dial(s, b.srv.URL, good)
	if err != nil {
		t.Fatal(err)
	}
	defer c3.CloseNow()
	if err := greet(t.Context(), c3, fresh); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("a ticket worked twice: %v", err)
	}
}

// LV-025: floods and malformed messages end the viewer with 1008, and nobody else's.
func TestSocketAbuse(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	for name, abuse := range map[string]func(context.Context, *websocket.Conn) error{
		"flood": func(ctx context.Context, c *websocket.Conn) error {
			for range 100_000 {
				if err := c.Write(ctx, websocket.MessageText, []byte(`{"t":"mouse","k":"move","x":1,"y":1}`)); err != nil {
					return err
				}
			}
			return nil
		},
		"not json": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(`{{`))
		},
		"unknown": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(`{"t":"Page.navigate","url":"file:///etc/passwd"}`))
		},
		"negative": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(`{"t":"mouse","k":"down","x":-5,"y":1}`))
		},
		"binary": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageBinary, []byte{1, 2, 3})
		},
		"hello": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, []byte(`{"t":"hello","ticket":"","w":800,"h":600,"take":true}`))
		},
		"10 MiB": func(ctx context.Context, c *websocket.Conn) error {
			return c.Write(ctx, websocket.MessageText, make([]byte, 10<<20))
		},
	} {
		t.Run(name, func(t *testing.T) {
			jar, ticket := b.enter(s)
			c, _, err := b.dial(s, b.srv.URL, jar)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(8 << 20)
			// What another case left may still be leaving: take over.
			hello := fmt.Sprintf(`{"t":"hello","ticket":%q,"w":800,"h":600,"take":true}`, ticket)
			if err := c.Write(t.Context(), websocket.MessageText, []byte(hello)); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				for {
					if _, _, err := c.Read(context.Background()); err != nil {
						ended <- err
						return
					}
				}
			}()
			_ = abuse(t.Context(), c)
			err = <-ended
			want := websocket.StatusPolicyViolation
			if name == "10 MiB" {
				want = websocket.StatusMessageTooBig
			}
			if got := websocket.CloseStatus(err); got != want && !(name == "flood" || name == "10 MiB") || got == websocket.StatusNormalClosure {
				t.Errorf("ended with %v (%v)", got, err)
			}
		})
	}
	if s.ctx.Err() != nil {
		t.Error("the login itself ended")
	}
}

// LV-025: whoever asks for a new tab hundreds of times a second gets one after the other, and no more windows than there may be.
func TestNewTabsWithoutEnd(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	<-s.ready
	jar, ticket := b.enter(s)
	c, _, err := b.dial(s, b.srv.URL, jar)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(8 << 20)
	if err := greet(t.Context(), c, ticket); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			if _, _, err := c.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	first := s.front
	for range 300 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(`{"t":"do","k":"fresh"}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	eventually(t, "the new tab", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.tabs) == 1 && s.tabs[0] != first })
	if n := len(b.chromiums("renderer")); n > 2*s.pool.opt.Tabs {
		t.Errorf("%d processes of pages", n)
	}
}
