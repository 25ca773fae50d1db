package egress

import (
	"bufio"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

var quietLog = log.New(io.Discard, "", 0)

// newRaw starts a server that reads each request and answers what reply gives for the nth of its connection; the connection
// is closed after an answer that is empty or is not "HTTP/1.1 2xx" with a length.
func newRaw(t *testing.T, reply func(n int) string) (c *Client, url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for n := 0; ; n++ {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					io.Copy(io.Discard, req.Body)
					answer := reply(n)
					io.WriteString(conn, answer)
					if answer != emptyOK {
						return
					}
				}
			})
		}
	})
	c = New(Options{Loopback: true})
	t.Cleanup(func() {
		c.CloseIdle()
		l.Close()
		wg.Wait()
	})
	return c, "http://" + l.Addr().String()
}

const emptyOK = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// BF-037: a server takes the request on a kept connection and closes it. A POST is never sent again, also not when it carries an
// Idempotency-Key, on which net/http would; a GET once, though four more kept connections wait.
func TestDoRetries(t *testing.T) {
	for _, try := range []struct {
		method string
		body   string
		header http.Header
		most   int
	}{
		{"POST", "x", nil, 1},
		{"POST", "", nil, 1},
		{"POST", "x", http.Header{"Idempotency-Key": {"k"}}, 1},
		{"POST", "", http.Header{"X-Idempotency-Key": {"k"}}, 1},
		{"DELETE", "", nil, 1},
		{"PATCH", "x", nil, 1},
		{"PUT", "x", nil, 1},
		{"GET", "", nil, 2},
		{"HEAD", "", nil, 2},
	} {
		t.Run(try.method, func(t *testing.T) {
			var mu sync.Mutex
			sent := 0
			const kept = 5
			warm := make(chan struct{}) // closed when all first requests are in, so that each has its own connection
			c, url := newRaw(t, func(n int) string {
				mu.Lock()
				sent++
				if sent == kept {
					close(warm)
				}
				mu.Unlock()
				if n == 0 {
					<-warm
					return emptyOK
				}
				return ""
			})
			target := mustParse(t, url)
			var wg sync.WaitGroup
			for range kept {
				wg.Go(func() {
					if _, err := c.Do(t.Context(), Request{Method: "GET", Target: target}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			_, err := c.Do(t.Context(), Request{Method: try.method, Target: target, Header: try.header, Body: []byte(try.body)})
			if e := mustFail(t, err, KindNetwork); !e.Sent {
				t.Error("Sent is false")
			}
			mu.Lock()
			defer mu.Unlock()
			if n := sent - kept; n < 1 || n > try.most {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

// BF-037: an HTTP/2 server that refuses every stream. net/http alone would send each request seven times.
func TestDoRetriesHTTP2(t *testing.T) {
	for method, most := range map[string]int{"POST": 1, "DELETE": 1, "GET": 2} {
		t.Run(method, func(t *testing.T) {
			var mu sync.Mutex
			sent := 0
			s := httptest.NewUnstartedServer(http.NotFoundHandler())
			s.TLS = &tls.Config{NextProtos: []string{"h2"}}
			s.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
				io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface)))
				f := http2.NewFramer(conn, conn)
				f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if h, ok := frame.(*http2.HeadersFrame); ok {
						mu.Lock()
						sent++
						mu.Unlock()
						f.WriteRSTStream(h.StreamID, http2.ErrCodeRefusedStream)
					}
				}
			}}
			s.StartTLS()
			defer s.Close()
			c := New(Options{Loopback: true, Resolver: resolvesTo("127.0.0.1"), RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
			defer c.CloseIdle()
			_, err := c.Do(t.Context(), Request{Method: method, Target: mustParse(t, "https://example.com:"+s.URL[len("https://127.0.0.1:"):])})
			if e := mustFail(t, err, KindNetwork); !e.Sent {
				t.Error("Sent is false")
			}
			mu.Lock()
			defer mu.Unlock()
			if sent < 1 || sent > most {
				t.Errorf("sent %d times", sent)
			}
		})
	}
}
