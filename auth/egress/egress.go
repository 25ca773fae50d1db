// Package egress is the one guarded way out: token endpoints, discovery and brokered calls all leave through it.
//
// A URL becomes a Target (one strict parse, one canonical form), a Target is matched against a host list, and
// Client.Do sends exactly that Target to an address that was checked at the moment it was dialled. No proxy from the
// environment, no redirects, no silent retries of a request that changes something, and a bound on every byte and second.
// RequestHeaders, ResponseHeaders, Redactor and Sanitize guard what travels beside and inside the request.
// Start with Parse and New. What a server sends beyond its answer net/http quotes to the standard logger: a program that
// uses this package keeps that to itself.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Defaults for the zero values of Options and Request.
const (
	DefaultMaxBody = 1 << 20 // decoded bytes of an answer

	maxResponseHeader = 64 << 10

	// keepTime is how long an idle connection is kept. Its buffers hold the last request, credential and all, so it
	// spans an agent's next call and not much more.
	keepTime = 10 * time.Second

	// A server that is silent for pingAfter is asked over HTTP/2 whether it is there, and the connection ends when it
	// does not say so within pingTime. Otherwise one that died, with the network that it came from, would be kept for as
	// long as calls come, and each would run into its time limit. Together they are less than HeaderTimeout.
	pingAfter = 15 * time.Second
	pingTime  = 10 * time.Second
)

// Resolver turns a host name into addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configures a Client. The zero value reaches public addresses over https only.
type Options struct {
	// Loopback permits 127.0.0.0/8 and ::1, and plain http there (--unsafe-loopback).
	Loopback bool
	// Private lists networks that may be dialled all the same (--unsafe-private-net), see CheckPrivate.
	Private []netip.Prefix
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver Resolver
	// RootCAs verifies servers; nil means the system's.
	RootCAs *x509.CertPool
	// UserAgent is sent when a request does not carry one; empty means "latchpost".
	UserAgent string
	// Failed is told by Do, before it returns, that a server could not be reached or gave no proper answer. For the operator, who may
	// know more than the caller: see Error.Detail. nil tells nobody.
	Failed func(host string, err *Error)

	DialTimeout   time.Duration // lookup and connect; 0 means 5 s
	TLSTimeout    time.Duration // handshake; 0 means 5 s
	HeaderTimeout time.Duration // from the request's last byte to the answer's header; 0 means 30 s
	IdleTimeout   time.Duration // longest silence inside a body; 0 means 10 s
	Timeout       time.Duration // everything, body included; 0 means 60 s
}

// Client sends requests under the rules of this package. It is safe for concurrent use; make one and share it,
// because it keeps idle connections.
type Client struct {
	opt     Options
	own     func() ([]net.Addr, error) // addresses of this machine
	parties parties
}

// New makes a Client.
func New(opt Options) *Client {
	opt.UserAgent = orElse(opt.UserAgent, "latchpost")
	opt.DialTimeout = orElse(opt.DialTimeout, 5*time.Second)
	opt.TLSTimeout = orElse(opt.TLSTimeout, 5*time.Second)
	opt.HeaderTimeout = orElse(opt.HeaderTimeout, 30*time.Second)
	opt.IdleTimeout = orElse(opt.IdleTimeout, 10*time.Second)
	opt.Timeout = orElse(opt.Timeout, 60*time.Second)
	c := &Client{opt: opt, own: net.InterfaceAddrs}
	c.parties.base = &http.Transport{
		Proxy:                  nil, // HTTP_PROXY in a host's configuration must not see our traffic
		DialContext:            c.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: opt.RootCAs},
		TLSHandshakeTimeout:    opt.TLSTimeout,
		ResponseHeaderTimeout:  opt.HeaderTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    32, // as many calls as one owner may have under way
		IdleConnTimeout:        keepTime,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTime},
		DisableCompression:     true, // decoded by us, under our bound
	}
	return c
}

// CloseIdle drops the connections that nobody uses.
func (c *Client) CloseIdle() { c.parties.closeIdle() }

// Request is one request. Header must not hold Host, lengths, or hop-by-hop fields; Do refuses them.
type Request struct {
	Method string // GET HEAD POST PUT PATCH DELETE OPTIONS
	Target Target
	Header http.Header
	Body   []byte
	// MaxBody bounds the decoded answer in bytes; 0 means DefaultMaxBody.
	MaxBody int64
	// Timeout bounds the whole exchange; 0 means Options.Timeout.
	Timeout time.Duration
	// Close ends the connection with the answer, and with it the buffers that hold what was sent and answered: for
	// token endpoints, where both are secret.
	Close bool
	// Party, a comparable value, is for whom the request is: no other party's comes over the same connection. nil shares with nil.
	Party any
	// Truncate cuts a longer answer at MaxBody and sets Response.Truncated; otherwise it is an error of KindTooLarge.
	Truncate bool
}

// Response is an answer, read to its end (or to its bound) and decoded. Redirects arrive as they are: never followed.
// Beside an error it is the status and the header alone.
type Response struct {
	Status    int
	Header    http.Header // without Content-Encoding and Content-Length, which described the encoded body; no trailers
	Body      []byte
	Truncated bool
}

func orElse[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
