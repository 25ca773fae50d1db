// Package authtest is the other side of a sign-in: an authorization server, an
// API and a web site that run in process on 127.0.0.1. The servers are honest by
// themselves; a test programs each fault it wants with Fault, and can ask
// afterwards what arrived. NewServer is where to start, NewAPI and NewSite stand
// beside it, and StartOIDCProvider runs somebody else's certified server, so that
// we are not our own referee. `latchpost demo` uses the same servers for practice.
package authtest

import (
	"net/http"
	"slices"
	"time"
)

// Options say how a Server behaves. The zero value is a server with
// DefaultClients and DefaultUsers, rotating refresh tokens and no grace.
type Options struct {
	// Clients are the registered OAuth apps. Nil means DefaultClients.
	Clients []Client

	// Users can sign in. Nil means DefaultUsers.
	Users []User

	// Lifetime of an access token. Zero means one hour. It is announced in
	// whole seconds.
	Lifetime time.Duration

	// Rotation says what a refresh does to the refresh token.
	Rotation Rotation

	// Grace is how long after a rotation the last refresh token still works, and
	// is answered with the same successor again. Zero means not at all.
	Grace time.Duration

	// JWT makes every access token a JWT (RFC 9068). Without it only those asked
	// for a resource (RFC 8707) are.
	JWT bool

	// JSON makes the token endpoint take a JSON body, like Notion or Atlassian,
	// and refuse a form.
	JSON bool

	// PKCEOptional takes authorization requests without PKCE, as older providers
	// do. A code that was asked for with PKCE still needs its verifier.
	PKCEOptional bool

	// DeviceInterval is the pause the device grant asks for. Zero means 5 s.
	DeviceInterval time.Duration

	// Hints shows the users and their passwords on the sign-in page, for a demo.
	Hints bool

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Rotation is what happens to a refresh token that is used.
type Rotation int

const (
	RotateAlways Rotation = iota // a new one each time; the old one coming back kills the family
	RotateNever                  // the old one stays, and the answer does not mention it
	RotateSame                   // the old one stays, and the answer repeats it
)

// Server is an OAuth 2.1 authorization server with OpenID Connect on top:
// authorization code with PKCE (S256 only), refresh, client credentials, device
// code, revocation, introspection, userinfo and discovery.
type Server struct {
	Host

	options Options
	ledger  ledger
	keys    keys
}

// NewServer starts a server on a free port of 127.0.0.1. It panics when there is
// none. Close it when done.
func NewServer(options Options) *Server {
	s := &Server{options: options, ledger: newLedger()}
	if s.options.Clients == nil {
		s.options.Clients = DefaultClients()
	}
	if s.options.Users == nil {
		s.options.Users = DefaultUsers()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /style.css", stylesheet)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET /.well-known/openid-configuration", s.metadata)
	mux.HandleFunc("GET /jwks", s.jwks)
	mux.HandleFunc("GET /authorize", s.showConsent)
	mux.HandleFunc("POST /authorize", s.decideConsent)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("POST /introspect", s.introspect)
	mux.HandleFunc("/userinfo", s.userinfo)
	mux.HandleFunc("POST /device_authorization", s.startDevice)
	mux.HandleFunc("GET /device", s.showDevice)
	mux.HandleFunc("POST /device", s.decideDevice)
	s.Host.start(mux, s.now)
	return s
}

// Change alters the options of a running server: shorter lifetimes, another
// client secret, no rotation. Tokens that are out stay as they are.
func (s *Server) Change(change func(*Options)) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	s.options.Clients = slices.Clone(s.options.Clients)
	s.options.Users = slices.Clone(s.options.Users)
	change(&s.options)
}

// current is a copy of the options as they are now.
func (s *Server) current() Options {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	return s.options
}

func (s *Server) now() time.Time {
	if now := s.current().Now; now != nil {
		return now()
	}
	return time.Now()
}

func (o Options) lifetime() time.Duration {
	if o.Lifetime == 0 {
		return time.Hour
	}
	return o.Lifetime
}

func (o Options) deviceInterval() time.Duration {
	if o.DeviceInterval == 0 {
		return 5 * time.Second
	}
	return o.DeviceInterval
}
