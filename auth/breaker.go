package auth

import (
	"sync"
	"time"
)

// breakers spare a token endpoint that is down: after a row of failures, of whatever
// connections, this process leaves it alone for a while and then lets one try through.
type breakers struct {
	mu sync.Mutex
	m  map[string]*breaker // by Connection.Bind, which names the endpoint
}

type breaker struct {
	failures int
	until    time.Time
}

const (
	breakAfter   = 5
	breakFor     = 30 * time.Second
	longestBreak = 5 * time.Minute
)

// wait is how long the endpoint is still to be left alone; 0 lets the caller through.
func (b *breakers) wait(endpoint string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.m[endpoint]
	if x == nil || x.failures < breakAfter {
		return 0
	}
	if left := x.until.Sub(now); left > 0 {
		return left
	}
	x.until = now.Add(breakFor) // for the others, while this one tries
	return 0
}

// rests reports whether the endpoint is left alone at the moment.
func (b *breakers) rests(endpoint string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.m[endpoint]
	return x != nil && x.failures >= breakAfter && x.until.After(now)
}

// heard notes that the endpoint answered, whatever it said.
func (b *breakers) heard(endpoint string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.m, endpoint)
}

// failed notes that the endpoint did not answer properly.
func (b *breakers) failed(endpoint string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.m[endpoint]
	if x == nil {
		if b.m == nil {
			b.m = map[string]*breaker{}
		}
		x = &breaker{}
		b.m[endpoint] = x
	}
	x.failures++
	x.until = now.Add(min(breakFor<<min(max(x.failures-breakAfter, 0), 10), longestBreak))
}
