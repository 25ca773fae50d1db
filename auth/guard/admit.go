package guard

import (
	"cmp"
	"net/http"
)

// admit counts a request of HTTP/2 until done is called, and ends one too many without an answer, which its client need not take.
// A connection may have a hundred under way: an address gets no more of them than it could have connections, which are what is
// counted in HTTP/1 (Listen).
func (g *guard) admit(r *http.Request) (done func()) {
	if r.ProtoMajor < 2 {
		return func() {}
	}
	from := ClientNetwork(r, g.opt.TrustedProxies)
	if !g.streams.take(from, 1, int64(cmp.Or(g.opt.MaxConnsPerIP, maxConnsPerIP))) {
		g.opt.Refused("too_many_streams")
		panic(http.ErrAbortHandler) // resets the stream
	}
	return func() { g.streams.give(from, 1) }
}

// end has the client of HTTP/2 take all of an answer while its request is counted. What is left in buffers net/http sends
// afterwards, for as long as that takes.
func (a *answer) end(r *http.Request) {
	a.begin() // a handler that wrote nothing answers 200
	if r.ProtoMajor >= 2 {
		a.Flush()
	}
}
