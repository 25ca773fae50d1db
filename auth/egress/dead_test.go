package egress

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// silencer passes connections on to a server. Those that there are when it is told to hush stay open, and nothing comes
// through any more, as after a change of the network.
type silencer struct {
	net.Listener
	server string
	era    atomic.Int32
	all    sync.WaitGroup
}

func newSilencer(t *testing.T, server string) *silencer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silencer{Listener: l, server: server}
	s.all.Go(func() {
		for {
			in, err := s.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", s.server)
			if err != nil {
				_ = in.Close()
				return
			}
			born := s.era.Load()
			s.all.Go(func() { s.pass(in, out, born) })
			s.all.Go(func() { s.pass(out, in, born) })
		}
	})
	return s
}

func (s *silencer) pass(to, from net.Conn, born int32) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if s.era.Load() != born {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (s *silencer) hush() { s.era.Add(1) }

// BF-033: a kept connection whose network is gone costs one call, not each one that comes while it is kept for the next.
func TestDoLeavesDeadConnections(t *testing.T) {
	for name, start := range map[string]func(*testing.T, Options, http.HandlerFunc) (*Client, string){"HTTP/1.1": newPlain, "HTTP/2": newTLS} {
		t.Run(name, func(t *testing.T) {
			c, url := start(t, Options{HeaderTimeout: 10 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/slow" {
					time.Sleep(500 * time.Millisecond)
				}
				_, _ = io.WriteString(w, r.Proto)
			})
			if name == "HTTP/1.1" {
				c.parties.base.ResponseHeaderTimeout = time.Second
			}
			c.parties.base.HTTP2.SendPingTimeout, c.parties.base.HTTP2.PingTimeout = 100*time.Millisecond, 2*time.Second
			port := url[strings.LastIndexByte(url, ':'):]
			s := newSilencer(t, "127.0.0.1"+port)
			t.Cleanup(s.all.Wait)
			t.Cleanup(func() { c.CloseIdle(); _ = s.Close() })
			url = strings.Replace(url, port, s.Addr().String()[len("127.0.0.1"):], 1)
			if res, err := get(t, c, url); err != nil || !strings.HasPrefix(name, strings.TrimSuffix(string(res.Body), ".0")) {
				t.Fatalf("%v, %v", res, err)
			}
			s.hush()
			if _, err := get(t, c, url); name == "HTTP/2" {
				if e := mustFail(t, err, KindNetwork); !e.Sent || e.Error() != "the connection broke" {
					t.Errorf("%v", e)
				}
			} else {
				mustFail(t, err, KindTimeout)
			}
			if _, err := get(t, c, url); err != nil {
				t.Errorf("the call after it: %v", err)
			}
			if _, err := get(t, c, url+"/slow"); err != nil { // a server that works on an answer is there all the same
				t.Errorf("a slow answer: %v", err)
			}
		})
	}
	if pingAfter+pingTime >= New(Options{}).opt.HeaderTimeout {
		t.Error("a call is over before anybody asks whether the server is there")
	}
}
