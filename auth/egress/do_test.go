package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// dns answers every name with its addresses and counts the questions.
type dns struct {
	addrs []netip.Addr
	asked atomic.Int32
}

func (d *dns) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	d.asked.Add(1)
	return d.addrs, nil
}

func resolvesTo(addrs ...string) *dns {
	d := &dns{}
	for _, a := range addrs {
		d.addrs = append(d.addrs, netip.MustParseAddr(a))
	}
	return d
}

// newTLS starts a server that is example.com over HTTP/2 and HTTP/1.1, and a client that trusts and finds it.
func newTLS(t *testing.T, opt Options, h http.HandlerFunc) (c *Client, url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quietLog
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	opt.Loopback, opt.RootCAs, opt.Resolver = true, pool, resolvesTo("127.0.0.1")
	c = New(opt)
	t.Cleanup(c.CloseIdle)
	return c, strings.Replace(s.URL, "127.0.0.1", "example.com", 1)
}

// newPlain starts a server for HTTP/1.1 on loopback.
func newPlain(t *testing.T, opt Options, h http.HandlerFunc) (c *Client, url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quietLog
	s.Start()
	t.Cleanup(s.Close)
	opt.Loopback = true
	c = New(opt)
	t.Cleanup(c.CloseIdle)
	return c, s.URL
}

func get(t *testing.T, c *Client, url string) (*Response, error) {
	t.Helper()
	return c.Do(t.Context(), Request{Method: "GET", Target: mustParse(t, url)})
}

// mustFail returns the *Error of a request that has to fail with kind.
func mustFail(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("got %v (%s), want kind %s", err, KindOf(err), kind)
	}
	return e
}

// BF-004, BF-020, BF-045: the canonical host is dialled, named in TLS and in Host; one credential; fixed encodings.
func TestDo(t *testing.T) {
	var got *http.Request
	var body []byte
	c, url := newTLS(t, Options{UserAgent: "latchpost/1"}, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "hello")
	})
	target := mustParse(t, strings.Replace(url, "example.com", "EXAMPLE.com.", 1)+"/a%20b/%7E?q=%2F..&r=a+b")
	res, err := c.Do(t.Context(), Request{Method: "POST", Target: target, Header: http.Header{"Authorization": {"Bearer x"}}, Body: []byte("in")})
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != 201 || string(res.Body) != "hello" || res.Truncated || res.Header.Get("X-Answer") != "yes" {
		t.Errorf("%+v", res)
	}
	if got.Host != target.Authority() || got.TLS.ServerName != "example.com" || got.ProtoMajor != 2 || string(body) != "in" {
		t.Errorf("host %q, SNI %q, %s, body %q", got.Host, got.TLS.ServerName, got.Proto, body)
	}
	if got.RequestURI != "/a%20b/~?q=%2F..&r=a+b" {
		t.Errorf("sent %s", got.RequestURI)
	}
	for name, want := range map[string]string{"Authorization": "Bearer x", "Accept-Encoding": "gzip", "User-Agent": "latchpost/1"} {
		if !reflect.DeepEqual(got.Header[name], []string{want}) {
			t.Errorf("%s: %q", name, got.Header[name])
		}
	}
}

// BF-017, BF-019, BF-021, BF-022, BF-045: a bad request never reaches net/http, whoever built it.
func TestDoRefuses(t *testing.T) {
	c, url := newPlain(t, Options{}, func(http.ResponseWriter, *http.Request) { t.Error("the request was sent") })
	target := mustParse(t, url+"/")
	for _, method := range []string{"", "GET\r\nX:", "CONNECT", "TRACE", "PRI", "get", "G ET"} {
		_, err := c.Do(t.Context(), Request{Method: method, Target: target})
		mustFail(t, err, KindRequest)
	}
	for name, value := range map[string]string{"Host": "evil", "hOsT": "evil", "Connection": "x-api-key", "Transfer-Encoding": "chunked",
		"content-length": "3", "Upgrade": "websocket", "Expect": "100-continue", "A b": "x", "": "x", "X-A": "a\r\nHost: evil", "X-B": "a\x00",
		"Accept-Encoding": "zstd", "Te": "trailers", ":authority": "evil", "X\r\nY": "x"} {
		_, err := c.Do(t.Context(), Request{Method: "GET", Target: target, Header: http.Header{name: {value}}})
		mustFail(t, err, KindRequest)
	}
	for _, change := range []func(*Target){
		func(g *Target) { g.Host = "evil.test@127.0.0.1" }, func(g *Target) { g.Path = "/../x" }, func(g *Target) { g.Path = "/%7e" },
		func(g *Target) { g.RawQuery = "a b" }, func(g *Target) { g.Scheme = "file" }, func(g *Target) { g.Host = "LOCALHOST" },
		func(g *Target) { g.Port = 0 },
	} {
		bad := target
		change(&bad)
		_, err := c.Do(t.Context(), Request{Method: "GET", Target: bad})
		mustFail(t, err, KindURL)
	}
}

// BF-010, PD-002: the address that is dialled is the address that was checked, and there is one lookup.
func TestDoChecksTheAddress(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "::1", "::"} {
		names := resolvesTo(addr)
		_, err := New(Options{Resolver: names}).Do(t.Context(), Request{Method: "GET", Target: mustParse(t, "https://rebind.test/")})
		e := mustFail(t, err, KindAddress)
		if e.Sent || e.Error() != "address not allowed" || !strings.Contains(e.Detail(), " is ") {
			t.Errorf("%s: %q, %q", addr, e.Error(), e.Detail())
		}
		if n := names.asked.Load(); n != 1 {
			t.Errorf("%s: %d lookups", addr, n)
		}
	}
	if err := New(Options{}).control(t.Context(), "tcp", "127.0.0.1:80", nil); KindOf(err) != KindAddress {
		t.Error("the last check before connect lets loopback pass:", err)
	}
}

// BF-010: a name that is public at one moment and private at the next; what counts is the answer that is dialled.
func TestDoRebinding(t *testing.T) {
	var hits atomic.Int32
	c, url := newTLS(t, Options{}, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	names := resolvesTo("10.0.0.1", "127.0.0.1") // the allowed one, in this test, is the second
	c.opt.Resolver = names
	if _, err := get(t, c, url); err != nil || hits.Load() != 1 || names.asked.Load() != 1 {
		t.Fatalf("%v, %d hits, %d lookups", err, hits.Load(), names.asked.Load())
	}
	c.CloseIdle()
	c.opt.Resolver = resolvesTo("10.0.0.1")
	_, err := get(t, c, url)
	mustFail(t, err, KindAddress)
}

func TestDialTriesTheNextAddress(t *testing.T) {
	c, url := newTLS(t, Options{}, func(http.ResponseWriter, *http.Request) {})
	c.opt.Resolver = resolvesTo("127.0.0.2", "127.0.0.1") // nobody listens on the first
	if _, err := get(t, c, url); err != nil {
		t.Fatal(err)
	}
}

// BF-011, BF-012, BF-013, PD-009: a redirect is an answer. Nobody follows it, and the thief sees nothing.
func TestDoFollowsNothing(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer thief.Close()
	var hits atomic.Int32
	c, url := newTLS(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		status := http.StatusFound
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		to := thief.URL + "/?code=secret"
		if r.URL.Query().Has("self") {
			to = r.RequestURI
		}
		http.Redirect(w, r, to, status)
	})
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, query := range []string{"", "?self"} {
			hits.Store(0)
			target := mustParse(t, fmt.Sprintf("%s/%d%s", url, status, query))
			r := Request{Method: "POST", Target: target, Body: []byte("refresh_token=s"), Header: http.Header{"X-Api-Key": {"k"}}}
			res, err := c.Do(t.Context(), r)
			if err != nil || res.Status != status || hits.Load() != 1 {
				t.Errorf("%d: %v, %v, %d hits", status, res, err, hits.Load())
			} else if got := ResponseHeaders(res.Header); query == "" && (got.Get("Location") != "" || !strings.HasPrefix(got.Get("Location-Host"), "127.0.0.1:")) {
				t.Errorf("the agent sees %v", got)
			}
			hits.Store(0)
			_, err = (&http.Client{Transport: c.RoundTripper(0)}).Get(target.String())
			if mustFail(t, err, KindRedirect); hits.Load() != 1 {
				t.Errorf("%d: the library went on, %d hits", status, hits.Load())
			}
		}
	}
}

// BF-016: a proxy from the environment sees nothing. The first use of the environment's proxy in a process is the one
// that counts, so the test also looks at the transport itself.
func TestDoIgnoresProxyVariables(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer evil.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"} {
		t.Setenv(name, evil.URL)
	}
	c, url := newTLS(t, Options{}, func(http.ResponseWriter, *http.Request) {})
	if _, err := get(t, c, url); err != nil || c.parties.base.Proxy != nil {
		t.Fatal(err)
	}
}

func TestDoCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, url := newTLS(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	_, err := c.Do(ctx, Request{Method: "POST", Target: mustParse(t, url)})
	if e := mustFail(t, err, KindCanceled); !e.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v", e)
	}
}

// PD-002: certificates are checked and TLS before 1.2 is refused.
func TestDoTLS(t *testing.T) {
	c, url := newTLS(t, Options{}, func(http.ResponseWriter, *http.Request) { t.Error("the request was sent") })
	stranger := New(Options{Loopback: true, Resolver: resolvesTo("127.0.0.1")})
	_, err := get(t, stranger, url)
	if e := mustFail(t, err, KindTLS); e.Sent {
		t.Error("Sent is true")
	}
	_, err = get(t, c, strings.Replace(url, "example.com", "other.test", 1))
	mustFail(t, err, KindTLS)

	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.Config.ErrorLog = quietLog
	old.StartTLS()
	defer old.Close()
	_, err = get(t, c, strings.Replace(old.URL, "127.0.0.1", "example.com", 1))
	mustFail(t, err, KindTLS)
}

// BF-024, BF-027: what an error prints, in any way, holds nothing of the query, the headers or the answer.
func TestErrorsTellNothing(t *testing.T) {
	const canary = "c4n4ry-s3cr3t"
	gone, _ := newPlain(t, Options{}, nil)
	s := httptest.NewServer(nil)
	closed := s.URL
	s.Close()
	broken, garbled := newRaw(t, func(int) string { return canary + " is no HTTP\r\n\r\n" })
	badHeader, header := newRaw(t, func(int) string { return "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n" })
	for _, try := range []struct {
		c    *Client
		url  string
		sent bool
	}{{gone, closed, false}, {broken, garbled, true}, {badHeader, header, true}} {
		_, err := try.c.Do(t.Context(), Request{Method: "POST", Target: mustParse(t, try.url+"/?access_token="+canary),
			Header: http.Header{"Authorization": {canary}}, Body: []byte(canary)})
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatal(err)
		}
		for _, text := range []string{e.Error(), e.Detail(), fmt.Sprintf("%v %+v %#v %s", *e, e, e, errors.Unwrap(e))} {
			if strings.Contains(text, canary) {
				t.Errorf("printed: %s", text)
			}
		}
		if strings.Contains(e.Error(), "127.0.0.1") || e.Sent != try.sent || Sent(err) != try.sent {
			t.Errorf("%v, sent %v", e, e.Sent)
		}
	}
}

func TestRoundTripper(t *testing.T) {
	c, url := newTLS(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-A"), body)
	})
	client := &http.Client{Transport: c.RoundTripper(64)}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", url+"/x?y=z", strings.NewReader("body"))
	req.Header.Set("X-A", "a")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "POST a body" || res.StatusCode != 200 {
		t.Errorf("%s %q", res.Status, b)
	}
	_, err = client.Post(url, "text/plain", strings.NewReader(strings.Repeat("a", 100)))
	mustFail(t, err, KindTooLarge)
	_, err = client.Post(url, "text/plain", zeros(2<<20))
	mustFail(t, err, KindRequest)
	_, err = client.Get("http://169.254.169.254/latest/meta-data/") // PD-002
	mustFail(t, err, KindURL)
}

func TestClientIsConcurrent(t *testing.T) {
	c, url := newTLS(t, Options{}, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			path := fmt.Sprintf("/%d", i)
			if res, err := get(t, c, url+path); err != nil || string(res.Body) != path {
				t.Error(path, res, err)
			}
		})
	}
	wg.Wait()
}
