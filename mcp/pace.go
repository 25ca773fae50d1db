package mcp

import (
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/latchpost/latchpost/auth"
)

// pace bounds how often the agents of one owner come in over HTTP, however many
// clients they are, so that the agents of other owners find the server idle enough.
type pace struct {
	perSecond int // 0 = no bound
	mu        sync.Mutex
	by        map[auth.Owner]*rate.Limiter
}

// lengthOfOne is how many bytes of a message count as one more request: to read them takes longer than a short call does.
const lengthOfOne = 16 << 10

// manyOwners is when pace forgets those who have not come for a while.
const manyOwners = 1000

// allow takes n requests into account, at most as many as in a second. Twice as many may come at once.
func (p *pace) allow(o auth.Owner, n int, clock func() time.Time) bool {
	if p.perSecond == 0 || n == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := clock() // within the lock: for times that are out of order a Limiter counts the same moments twice
	l := p.by[o]
	if l == nil {
		if len(p.by) >= manyOwners {
			maps.DeleteFunc(p.by, func(_ auth.Owner, l *rate.Limiter) bool { return l.TokensAt(now) >= float64(l.Burst()) })
		}
		if p.by == nil {
			p.by = map[auth.Owner]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(p.perSecond), 2*p.perSecond)
		p.by[o] = l
	}
	return l.AllowN(now, min(n, p.perSecond))
}

// tooFast is the answer to a request beyond the pace.
func tooFast(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusTooManyRequests, &rejection{nil, codeBusy, "too many requests from agents of this user; wait a second, then try again"})
}
