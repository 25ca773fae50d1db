package guard

import (
	"cmp"
	"net/http"
	"net/netip"
	"sync"
)

// streams counts the requests of HTTP/2 that are under way. A connection may have a hundred: an address gets no more of them than
// it could have connections.
type streams struct {
	mu sync.Mutex
	of map[netip.Prefix]int
}

// admit counts a request until done is called, and ends one too many without an answer, which its client need not take. In HTTP/1
// connections are counted (Listen).
func (g *guard) admit(r *http.Request) (done func()) {
	if r.ProtoMajor < 2 {
		return func() {}
	}
	s, from := g.streams, network(ClientAddr(r, g.opt.TrustedProxies))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[from] >= cmp.Or(g.opt.MaxConnsPerIP, maxConnsPerIP) {
		g.opt.Refused("too_many_streams")
		panic(http.ErrAbortHandler) // resets the stream
	}
	s.of[from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[from]--; s.of[from] == 0 {
			delete(s.of, from)
		}
	}
}

// end has the client of HTTP/2 take all of an answer while its request is counted. What is left in buffers net/http sends
// afterwards, for as long as that takes.
func (a *answer) end(r *http.Request) {
	a.begin() // a handler that wrote nothing answers 200
	if r.ProtoMajor >= 2 {
		a.Flush()
	}
}
