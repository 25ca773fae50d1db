package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/latchpost/latchpost/auth/guard"
)

// door is where people come in: the listener that serves pages and callbacks.
//
// Every MCP host starts its own stdio process, and all of them share one store. The
// one that gets the port serves the pages of all; the others watch it and one of
// them takes over when it goes. That the neighbour on the port is really one of ours
// is proven with a key that only processes of this store have.
type door struct {
	listen  string
	fixed   string         // --base-url
	cert    *certificate   // nil is plain http
	proxies []netip.Prefix // --behind-proxy
	own     bool           // agents come here too: pages of a neighbour, or another port, will not do
	prove   func([]byte) []byte
	log     *slog.Logger
	url     atomic.Pointer[string]
}

const (
	watchInterval = 300 * time.Millisecond // at which the port is tried
	askInterval   = 7                      // at which tries who is there is asked
	patience      = 3                      // such questions without our answer: a neighbour may be busy, or wake from sleep

	portTaken = "the port belongs to another program; links use a free one. Providers that insist on an exact redirect URI will refuse it: end that program, or choose a port with --listen"
)

func newDoor(s *settings, prove func([]byte) []byte, log *slog.Logger) *door {
	d := &door{listen: cmp.Or(s.listen, defaultListen), fixed: s.baseURL, prove: prove, log: log}
	if s.serve.tlsCert != "" {
		d.cert = &certificate{chain: s.serve.tlsCert, key: s.serve.tlsKey, log: log}
	}
	d.proxies, _ = prefixes(s.serve.proxies) // checked at the start
	d.moveTo(d.listen)
	return d
}

// URL is the base of all links, without a slash at the end.
func (d *door) URL() string { return *d.url.Load() }

func (d *door) moveTo(address string) {
	url := d.fixed
	if url == "" {
		url = "http://" + strings.TrimSuffix(address, ":80") // as browsers write it, in Origin too
	}
	d.url.Store(&url)
}

// Share serves pages on the port, or leaves that to a neighbour until it goes. It
// returns once links work, with a function that waits for the end, which ctx brings.
func (d *door) Share(ctx context.Context, pages func(authority string) *http.Server) (wait func() error, err error) {
	l, err := guard.Listen(ctx, d.listen, guard.Options{TrustedProxies: d.proxies})
	if errors.Is(err, syscall.EADDRINUSE) && d.own {
		if d.neighbour(ctx) {
			return nil, fmt.Errorf("%s is taken by another latchpost of this store, a serve or a stdio, and agents would not find us there: end it, or choose a port with --listen", d.listen)
		}
		return nil, fmt.Errorf("%s is taken by another program, and agents would not find us there: end it, or choose a port with --listen", d.listen)
	}
	if errors.Is(err, syscall.EADDRINUSE) && !d.neighbour(ctx) {
		d.log.Warn(portTaken, "port", d.listen)
		l, err = guard.Listen(ctx, "127.0.0.1:0", guard.Options{})
	}
	if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listening on %s: %w; choose another address with --listen", d.listen, err)
	}
	done := make(chan error, 1)
	if l != nil {
		d.moveTo(l.Addr().String())
	}
	go func() { done <- d.serveOrWatch(ctx, l, pages) }()
	return func() error { return <-done }, nil
}

// serveOrWatch ends with ctx.
func (d *door) serveOrWatch(ctx context.Context, l net.Listener, pages func(string) *http.Server) error {
	for try, strange := 1, 0; l == nil; try++ {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchInterval):
		}
		got, err := guard.Listen(ctx, d.listen, guard.Options{TrustedProxies: d.proxies})
		switch {
		case err == nil:
			d.log.Info("took over the port", "address", d.listen)
			l = got
		case !errors.Is(err, syscall.EADDRINUSE) || try%askInterval != 0:
		case d.neighbour(ctx):
			strange = 0
		default:
			strange++
		}
		if strange == patience { // a stranger was faster than we are, and would be handed our links
			strange = 0
			d.log.Warn(portTaken, "port", d.listen)
			if l, err = guard.Listen(ctx, "127.0.0.1:0", guard.Options{}); err == nil {
				d.moveTo(l.Addr().String())
			}
		}
	}
	return d.serve(ctx, l, pages(l.Addr().String()))
}

// answer serves on l, by TLS when there is a certificate, and closes l at the end.
func (d *door) answer(l net.Listener, srv *http.Server) error {
	if d.cert == nil {
		return srv.Serve(l)
	}
	if _, err := d.cert.forHandshake(nil); err != nil { // deleted since it was checked
		return errors.Join(err, l.Close())
	}
	srv.TLSConfig.GetCertificate = d.cert.forHandshake
	return srv.ServeTLS(l, "", "")
}

// serve answers until ctx ends, and lets requests that run finish.
func (d *door) serve(ctx context.Context, l net.Listener, srv *http.Server) error {
	ended := make(chan error, 1)
	go func() { ended <- d.answer(l, srv) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving on %s: %w; start latchpost again", l.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return srv.Close()
	}
	return nil
}

// health is the answer of /healthz.
type health struct {
	Service string `json:"service"`
	Proof   string `json:"proof,omitempty"` // MAC over the challenge, under a key of this store
}

// Health says that the process lives, and proves whose it is when asked with ?challenge=.
func (d *door) Health(w http.ResponseWriter, r *http.Request) {
	h := health{Service: "latchpost"}
	if challenge := r.URL.Query().Get("challenge"); challenge != "" && len(challenge) <= 64 {
		at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		h.Proof = hex.EncodeToString(d.proof(challenge, at))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(h)
}

// proof is bound to the address, so that a stranger on one cannot have it made on another.
func (d *door) proof(challenge string, at net.Addr) []byte {
	var address netip.AddrPort
	if tcp, ok := at.(*net.TCPAddr); ok {
		address = netip.AddrPortFrom(tcp.AddrPort().Addr().Unmap(), tcp.AddrPort().Port())
	}
	return d.prove(fmt.Appendf(nil, "%s %s", address, challenge))
}

// neighbour reports whether the process on the port belongs to this store. Whether it serves by TLS is known to its
// own command line alone, so both ways are tried.
func (d *door) neighbour(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	plain, _ := d.challenge(ctx, "http")
	if plain {
		return true
	}
	secured, _ := d.challenge(ctx, "https")
	return secured
}

// challenge has the process on the port prove whose it is. By TLS it gives the certificate that is shown there as well.
func (d *door) challenge(ctx context.Context, scheme string) (ours bool, shown *x509.Certificate) {
	challenge := rand.Text()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+d.listen+"/healthz?challenge="+challenge, nil)
	if err != nil {
		return false, nil
	}
	var at net.Addr // which is a certain one also where d.listen is all
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			at = c.RemoteAddr()
		}
		return c, err
	}
	// #nosec G402 the certificate is for other names than this address, and it is the proof that tells whose process it is
	unverified := &tls.Config{InsecureSkipVerify: true}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: dial, TLSClientConfig: unverified},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // 101 is a bare connection, which ctx does not end
		return false, nil
	}
	var h health
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 4<<10)).Decode(&h); err != nil {
		return false, nil
	}
	if resp.TLS != nil {
		shown = resp.TLS.PeerCertificates[0]
	}
	proof, err := hex.DecodeString(h.Proof)
	return err == nil && hmac.Equal(proof, d.proof(challenge, at)), shown
}
