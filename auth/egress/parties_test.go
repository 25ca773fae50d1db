package egress

import (
	"io"
	"net/http"
	"sync"
	"testing"
)

// seen tells which connection each request came on.
type seen struct {
	mu    sync.Mutex
	conns map[string]string // remote address, by path
}

func (s *seen) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[r.URL.Path] = r.RemoteAddr
	_, _ = io.WriteString(w, r.Proto)
}

func (s *seen) on(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[path]
}

func as(t *testing.T, c *Client, party any, url string) (proto string) {
	t.Helper()
	res, err := c.Do(t.Context(), Request{Method: "GET", Target: mustParse(t, url), Party: party})
	if err != nil {
		t.Fatal(err)
	}
	return string(res.Body)
}

// What one owner's request leaves on a connection is not there when another owner's comes.
func TestPartiesKeepApart(t *testing.T) {
	for proto, start := range map[string]func(*testing.T, Options, http.HandlerFunc) (*Client, string){"HTTP/1.1": newPlain, "HTTP/2.0": newTLS} {
		t.Run(proto, func(t *testing.T) {
			s := seen{conns: map[string]string{}}
			c, url := start(t, Options{}, s.serve)
			for path, party := range map[string]any{"/alice": "alice", "/bob": "bob", "/nobody": nil} {
				if got := as(t, c, party, url+path); got != proto {
					t.Fatalf("over %s", got)
				}
				as(t, c, party, url+path+"/again")
			}
			alice, bob, nobody := s.on("/alice"), s.on("/bob"), s.on("/nobody")
			if alice == bob || bob == nobody || nobody == alice {
				t.Error("two parties share a connection")
			}
			if s.on("/alice/again") != alice || s.on("/bob/again") != bob || s.on("/nobody/again") != nobody {
				t.Error("a party's connection is not kept")
			}
			c.CloseIdle()
			if as(t, c, "bob", url+"/bob"); s.on("/bob") == bob {
				t.Error("a connection outlived CloseIdle")
			}
		})
	}
}

// However many parties there are, the connections of maxParties are kept: not those of whom asked longest ago.
func TestManyParties(t *testing.T) {
	s := seen{conns: map[string]string{}}
	c, url := newPlain(t, Options{}, s.serve)
	for n := range maxParties {
		as(t, c, n, url+"/")
	}
	as(t, c, 0, url+"/first")
	as(t, c, maxParties, url+"/one/more") // in the place of 1
	if n := len(c.parties.known); n != maxParties {
		t.Errorf("%d parties", n)
	}
	first := s.on("/first")
	if as(t, c, 0, url+"/first"); s.on("/first") != first {
		t.Error("who asked lately has lost the connection")
	}
	if c.parties.known[1] != nil {
		t.Error("who asked longest ago is still known")
	}
}
