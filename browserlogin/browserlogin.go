// Package browserlogin signs a person in to a site that has no OAuth: a real
// browser runs on the server, the person sees it live and types into it, and
// Latchpost keeps the session that comes out.
//
// A Pool holds the browsers. Pool.Start begins one Login and gives the address
// of its live view, Pool.Handler serves that page, and Login.Done gets what was
// captured, or why nothing was. Read pool.go, then session.go, then viewer.go.
package browserlogin

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Options configure Install, Check and New. Zero values are usable.
type Options struct {
	// DriverDir is where Install puts the driver's archive. Required.
	DriverDir string
	// TempDir is where the browsers' own directories are made; "" is the system's.
	TempDir string
	// Node and Chromium name the programs; "" looks for them on the PATH.
	Node, Chromium string
	// Kind is "local" (also ""), "headed", or "cdp:URL" for a browser elsewhere.
	// A remote browser brings its own network and its own sandbox: neither the
	// filtering proxy nor the separation by owner reaches it.
	Kind string
	// LiveView is how a remote browser's service shows a page to a person: "own" (also "") is our
	// live view, "command:NAME" a CDP command whose answer has the address, anything else an
	// address with ${target_id} in it. LiveHosts are hosts that it may lead to beside Kind's own.
	LiveView  string
	LiveHosts []string
	// Loopback lets such an address be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool
	// UnsafeNoSandbox starts Chromium without its sandbox where the kernel refuses one.
	UnsafeNoSandbox bool

	// Dial connects the browsers to the world; it refuses what they must not reach.
	// nil allows public addresses only.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Origins are the exact origins of our own pages, such as https://latchpost.example.com.
	// The live view's WebSocket is refused from everywhere else.
	Origins func() []string
	// Network is all that the sender of a request can call its own, for a bound on guesses. nil takes the address alone.
	Network func(*http.Request) netip.Prefix
	// Allowed says whether the person behind r may see the login for this request id.
	// It is asked when the page opens, again for the WebSocket, and about once a second as long as that is open. nil refuses everybody.
	Allowed func(r *http.Request, request string) error

	// Total and Idle bound one login; zero is 10 and 2 minutes.
	Total, Idle time.Duration
	// Restart is how long a login whose browser died waits for the person to start again; zero is 1 minute.
	Restart time.Duration
	// Linger is how long a browser without a login stays warm; zero is 1 minute.
	Linger time.Duration
	// PerOwner and Max bound logins at the same time; zero is 2 and 8.
	PerOwner, Max int
	// Log gets what goes wrong, never an address with its query, input or page text. nil discards.
	Log *slog.Logger
	// Tabs bounds the tabs and popups of one login; zero is 6.
	Tabs int

	insecureTLS bool // tests have a certificate of their own
}

func (o Options) withDefaults() Options {
	o.Total = or(o.Total, 10*time.Minute)
	o.Idle = or(o.Idle, 2*time.Minute)
	o.Restart = or(o.Restart, time.Minute)
	o.Linger = or(o.Linger, time.Minute)
	o.PerOwner = or(o.PerOwner, 2)
	o.Max = or(o.Max, 8)
	o.Tabs = or(o.Tabs, 6)
	if o.Origins == nil {
		o.Origins = func() []string { return nil }
	}
	return o
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

var discardLog = log.New(io.Discard, "", 0)

func (p *Pool) logf(message string, args ...any) {
	if p.opt.Log != nil {
		p.opt.Log.Warn(message, args...)
	}
}
