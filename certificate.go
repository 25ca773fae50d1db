package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateLook is how often handshakes look at the files at most.
const certificateLook = time.Second

// certificate is what --tls-cert and --tls-key name. Who renews it replaces the files, and the next handshakes
// show the new one, without a restart. A pair that does not load, because one of the two is still the old one or for
// good, is told once; the one before goes on being shown.
type certificate struct {
	chain, key string // paths
	log        *slog.Logger

	mu     sync.Mutex
	shown  *tls.Certificate
	files  [2]os.FileInfo // as they were when they were last read
	looked time.Time
}

// forHandshake is a tls.Config's GetCertificate.
func (c *certificate) forHandshake(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown != nil && time.Since(c.looked) < certificateLook {
		return c.shown, nil
	}
	c.looked = time.Now()
	if !c.replaced() {
		return c.shown, nil
	}
	pair, err := tls.LoadX509KeyPair(c.chain, c.key)
	switch {
	case err == nil:
		if c.shown != nil {
			c.log.Info("the new certificate is shown from here on", "valid_until", pair.Leaf.NotAfter)
		}
		c.shown = &pair
	case c.shown != nil:
		c.log.Error("the new certificate does not load, so the one before is still shown; put a chain and its key in place", "error", err, "valid_until", c.shown.Leaf.NotAfter)
	default:
		return nil, err
	}
	return c.shown, nil
}

// certificateLeft is how long a certificate has to last to be no matter: who renews by itself has done so by then.
const certificateLeft = 14 * 24 * time.Hour

// worry says why clients will refuse a certificate, now or soon, nil when they will not. host is what they ask for; "" is anything.
func worry(leaf *x509.Certificate, host string) error {
	ends := leaf.NotAfter.UTC().Format(time.RFC3339)
	switch left := time.Until(leaf.NotAfter); {
	case left < 0:
		return fmt.Errorf("the TLS certificate has expired on %s: renew it", ends)
	case time.Now().Before(leaf.NotBefore):
		return fmt.Errorf("the TLS certificate is not valid before %s: take another one, or set the clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	case host != "" && leaf.VerifyHostname(host) != nil:
		return fmt.Errorf("the TLS certificate is not for %s, the host of --base-url: take one that names it", host)
	case left < certificateLeft:
		return fmt.Errorf("the TLS certificate expires on %s: renew it", ends)
	}
	return nil
}

// watch warns of a certificate that clients will refuse, at the start and each day.
func (c *certificate) watch(ctx context.Context, host string) {
	for {
		if pair, err := c.forHandshake(nil); err == nil { // else nothing is served, and that is told
			if err := worry(pair.Leaf, host); err != nil {
				c.log.Warn("clients refuse to connect, or will soon", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(24 * time.Hour):
		}
	}
}

// notAfter is when the certificate that is shown ends, in seconds since 1970; 0 when there is none.
func (c *certificate) notAfter() float64 {
	pair, err := c.forHandshake(nil)
	if err != nil {
		return 0
	}
	return float64(pair.Leaf.NotAfter.Unix())
}

// replaced reports whether there are other files than were last read, which it notes before they are: what changes
// while they are read is seen at the next look. Files that are not there are not others.
func (c *certificate) replaced() bool {
	is := [2]os.FileInfo{}
	for i, path := range []string{c.chain, c.key} {
		info, err := os.Stat(path)
		if err != nil {
			return c.shown == nil // whose error says it
		}
		is[i] = info
	}
	before := c.files
	c.files = is
	for i := range is {
		if before[i] == nil || !os.SameFile(before[i], is[i]) || !before[i].ModTime().Equal(is[i].ModTime()) || before[i].Size() != is[i].Size() {
			return true
		}
	}
	return false
}
