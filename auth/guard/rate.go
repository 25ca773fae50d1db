package guard

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rate bounds how often one address may ask where no sign-in is needed. What another site's page loads there is refused
// and not counted: images that nobody sees would keep the person who looks at that page away from ours.
func (g *guard) rate(w http.ResponseWriter, r *http.Request, class Class) *refusal {
	if class.Limited && g.loaded(r) {
		return foreign
	}
	if !class.Limited || g.buckets.allow(ClientNetwork(r, g.opt.TrustedProxies), g.opt.Now) {
		return nil
	}
	w.Header().Set("Retry-After", "1")
	return &refusal{http.StatusTooManyRequests, "rate_limited", "Too many requests. Try again in a moment."}
}

// loaded reports that a page of another origin, which is not listed, makes the browser fetch this as a part of itself, and not
// a person who follows a link.
func (g *guard) loaded(r *http.Request) bool {
	site, as := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
	return (site == "cross-site" || site == "same-site") && as != "" && as != "document" && !slices.Contains(g.opt.Origins, r.Header.Get("Origin"))
}

// network is what one client can call its own: an IPv4 address, or an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// generation is how many networks a generation of buckets holds.
const generation = 8192

// buckets holds a token bucket per network in two generations. When the young one is full it becomes the old one, and the old one is
// dropped: memory is bounded, and whoever keeps asking stays remembered.
type buckets struct {
	limit rate.Limit
	burst int

	mu         sync.Mutex
	young, old map[netip.Prefix]*rate.Limiter
}

func newBuckets(limit rate.Limit, burst int) *buckets {
	return &buckets{limit: limit, burst: burst, young: make(map[netip.Prefix]*rate.Limiter)}
}

func (b *buckets) allow(from netip.Prefix, clock func() time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.young[from]
	if bucket == nil {
		if len(b.young) >= generation {
			b.young, b.old = make(map[netip.Prefix]*rate.Limiter), b.young
		}
		if bucket = b.old[from]; bucket == nil {
			bucket = rate.NewLimiter(b.limit, b.burst)
		}
		b.young[from] = bucket
	}
	return bucket.AllowN(clock(), 1) // within the lock: of times out of order a Limiter counts some twice
}
