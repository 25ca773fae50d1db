package auth

import (
	"hash/fnv"
	"io"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// outlasts reports whether the access token lives on although the sign-in is over.
func (v *Vault) outlasts(c *Connection) bool {
	return c.State == NeedsReauth && c.final() && c.Cause != causeRefused && c.Cause != CauseDamaged && v.now().Before(c.ExpiresAt)
}

// lastOf is the generation of c after which none can come: its own when cred, which it is to hold, cannot be renewed.
func (v *Vault) lastOf(c *Connection, p *providers.Provider, cred *Credential) int64 {
	method, err := v.connector(c.Method)
	if err != nil {
		return 0
	}
	if r, ok := method.(Refresher); ok && !r.Renews(p, cred) {
		return c.Version
	}
	return 0
}

// ended reports whether the clock alone says that a sign-in is over.
func (v *Vault) ended(c *Connection) bool {
	return c.final() && !c.ExpiresAt.IsZero() && !v.now().Before(c.ExpiresAt)
}

// due reports whether the credential should be renewed before it is used. The
// margin is a share of the lifetime, because lifetimes go from a minute to a
// year, less a little that differs from connection to connection, and it never makes a token that lives a minute be renewed more often than
// once a minute. A provider that tells lifetimes of seconds is not believed. Nor is the
// end of a token that was issued later than now: the clock was wrong, then or now.
func (v *Vault) due(c *Connection) bool {
	if c.ExpiresAt.IsZero() {
		return false
	}
	now, life := v.now(), c.ExpiresAt.Sub(c.IssuedAt)
	if c.IssuedAt.After(now.Add(clocksApart)) {
		return true
	}
	if life < minInterval {
		return !now.Before(c.ExpiresAt) && (life >= 10*time.Second || now.Sub(c.IssuedAt) >= minInterval)
	}
	margin := min(life/10, time.Minute, life-minInterval)
	return !now.Before(c.ExpiresAt.Add(-margin + jitter(c, margin/4)))
}

// jitter is a share of most that the connection alone decides, so that every process says the same: what was
// connected together is not renewed together.
func jitter(c *Connection, most time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = io.WriteString(h, c.ID)
	return most * time.Duration(h.Sum32()%1000) / 1000
}
