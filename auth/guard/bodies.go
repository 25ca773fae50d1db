package guard

import (
	"io"
	"net/http"
	"net/netip"
)

// bodies counts the bytes of bodies in memory, those that still arrive too, until their requests are answered. Nobody need have
// signed in to send one, or ever end it, and by HTTP/2 a connection brings a hundred at once.
type bodies struct {
	most int64 // of all; an address may have a quarter
	of   shares
}

var (
	crowded = &refusal{http.StatusTooManyRequests, "too_many_bytes", "Too much is being sent from your address at once. Wait for an answer, then try again."}
	full    = &refusal{http.StatusServiceUnavailable, "too_many_bytes", "Too much is being sent to this server at once. Try again in a moment."}
)

var everybody = netip.MustParsePrefix("::/0")

// take counts n bytes more of an address, or says why there is no room for them.
func (b *bodies) take(from netip.Prefix, n int64) *refusal {
	if !b.of.take(from, n, b.most/4) {
		return crowded
	}
	if !b.of.take(everybody, n, b.most) {
		b.of.give(from, n)
		return full
	}
	return nil
}

func (b *bodies) give(from netip.Prefix, n int64) {
	b.of.give(from, n)
	b.of.give(everybody, n)
}

// counted is a body that is counted piece by piece as it is read. A *refusal ends it where there is no room.
type counted struct {
	io.ReadCloser
	in   *bodies
	from netip.Prefix
	n    int64
}

// count has the body of r counted until done is called.
func (g *guard) count(r *http.Request) (done func()) {
	if r.ContentLength == 0 {
		return func() {}
	}
	c := &counted{ReadCloser: r.Body, in: &g.bodies, from: ClientNetwork(r, g.opt.TrustedProxies)}
	r.Body = c
	return func() { c.in.give(c.from, c.n) }
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if no := c.in.take(c.from, int64(n)); no != nil {
		return 0, no
	}
	c.n += int64(n)
	return n, err
}
