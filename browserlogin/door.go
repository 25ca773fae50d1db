package browserlogin

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// door decides which browsers may look at one session. A browser that passed the
// identity check gets a cookie for this page and, with each page, a ticket that
// opens one WebSocket together with that cookie. Both are kept as hashes.
type door struct {
	mu      sync.Mutex
	cookies map[[32]byte]bool
	tickets map[[32]byte][32]byte // of which cookie
}

// viewCookie names the cookie of one session: neighbours on 127.0.0.1 share their
// cookies whatever their port, and two sessions must not overwrite each other's.
func (s *session) viewCookie(secure bool) string {
	sum := sha256.Sum256([]byte(s.id))
	name := "latchpost_live_" + hex.EncodeToString(sum[:6])
	if secure {
		return "__Host-" + name
	}
	return name
}

const (
	mostCookies = 16 // of one session; more browsers than that are not one person
	mostTickets = 64
)

// admit gives the browser its cookie (the one it has, if it is ours) and a ticket.
func (d *door) admit(cookie string) (kept, ticket string, ok bool) {
	if !d.knows(cookie) {
		cookie = newID()
		d.mu.Lock()
		if d.cookies == nil {
			d.cookies, d.tickets = map[[32]byte]bool{}, map[[32]byte][32]byte{}
		}
		full := len(d.cookies) >= mostCookies
		if !full {
			d.cookies[sha256.Sum256([]byte(cookie))] = true
		}
		d.mu.Unlock()
		if full {
			return "", "", false
		}
	}
	return cookie, d.ticket(cookie), true
}

func (d *door) knows(cookie string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cookies[sha256.Sum256([]byte(cookie))]
}

func (d *door) ticket(cookie string) string {
	ticket := newID()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.tickets) >= mostTickets {
		clear(d.tickets)
	}
	d.tickets[sha256.Sum256([]byte(ticket))] = sha256.Sum256([]byte(cookie))
	return ticket
}

// redeem takes a ticket, once.
func (d *door) redeem(ticket, cookie string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := sha256.Sum256([]byte(ticket))
	of, ok := d.tickets[h]
	delete(d.tickets, h)
	return ok && of == sha256.Sum256([]byte(cookie))
}

// misses slows down whoever tries addresses.
type misses struct {
	mu    sync.Mutex
	since time.Time
	count map[netip.Prefix]int
}

const (
	missesPerMinute = 30
	mostNetworks    = 8192 // that are counted one by one; all others share a count, and only who has no valid link notices
)

// tooMany notes a miss by a client and tells whether these were too many.
func (m *misses) tooMany(from netip.Prefix) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); m.count == nil || now.Sub(m.since) > time.Minute {
		m.since, m.count = now, map[netip.Prefix]int{}
	}
	if _, known := m.count[from]; !known && len(m.count) >= mostNetworks {
		from = netip.Prefix{}
	}
	m.count[from]++
	return m.count[from] > missesPerMinute
}

// sameHost tells whether a request came to the host that its Origin names.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host == host
}
