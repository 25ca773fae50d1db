package guard

import (
	"cmp"
	"net/http"
	"time"
)

var busy = &refusal{http.StatusTooManyRequests, "too_many_requests", "Too many requests from your address are under way. Wait for an answer, then try again."}

// admit counts a request until done is called, where its connection does not: one of HTTP/2 may have a hundred under way, and those
// of a trusted proxy are everybody's. An address gets no more of them than it could have connections, which are what is counted
// elsewhere (Listen). One too many of HTTP/2 ends without an answer, which its client need not take.
func (g *guard) admit(w http.ResponseWriter, r *http.Request) (done func(), no *refusal) {
	client := ClientAddr(r, g.opt.TrustedProxies)
	if r.ProtoMajor < 2 && client == ClientAddr(r, nil) {
		return func() {}, nil
	}
	from := network(client)
	if g.streams.take(from, 1, int64(cmp.Or(g.opt.MaxConnsPerIP, maxConnsPerIP))) {
		return func() { g.streams.give(from, 1) }, nil
	}
	if r.ProtoMajor >= 2 {
		g.opt.Refused("too_many_streams")
		panic(http.ErrAbortHandler) // resets the stream
	}
	w.Header().Set("Retry-After", "1")
	if r.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now()) // waits for no body; a writer in memory cannot
	}
	return func() {}, busy
}

// end has the client of HTTP/2 take all of an answer while its request is counted. What is left in buffers net/http sends
// afterwards, for as long as that takes.
func (a *answer) end(r *http.Request) {
	a.begin() // a handler that wrote nothing answers 200
	if r.ProtoMajor >= 2 {
		a.Flush()
	}
}
