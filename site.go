package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/guard"
	"github.com/latchpost/latchpost/auth/identity"
	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/auth/web"
	"github.com/latchpost/latchpost/mcp"
	"github.com/latchpost/latchpost/store"
)

// openServe makes the house one for remote agents: who they are, who their people are.
func (h *house) openServe() error {
	s := h.settings
	h.vault.Identified = s.remote()
	h.vault.DeviceFlow = s.serve.deviceFlow
	h.serves, h.door.own = true, true
	collectLess()
	runOneMore()
	if s.serve.issuer == "" {
		return nil
	}
	issuer := &identity.Issuer{
		URL: s.serve.issuer, Resource: h.resource(), ClientID: s.serve.clientID, OwnerClaim: s.serve.ownerClaim, OrgClaim: s.serve.orgClaim,
		Out: h.vault.Out, Loopback: s.unsafeLoopback,
	}
	if s.serve.issuerScopes != "" {
		issuer.Scopes = strings.Split(s.serve.issuerScopes, ",")
	}
	if s.serve.secretFile != "" {
		secret, err := os.ReadFile(s.serve.secretFile)
		if err != nil {
			return fmt.Errorf("--oidc-client-secret-file: %w", err)
		}
		issuer.ClientSecret = auth.NewSecret(strings.TrimSpace(string(secret)))
		clear(secret)
	}
	h.identity.Issuer = issuer
	if err := issuer.Check(); err != nil {
		return usagef("%s", err)
	}
	return nil
}

// usersOf is where the store keeps whose users its owners are.
const usersOf = "users_of"

// sameUsers refuses an issuer, or claims, by which the owners in the store could be other people: whoever has the same
// name there would get their connections. As long as nobody has come by it, it can be corrected.
func (h *house) sameUsers(ctx context.Context) error {
	r := h.settings.serve
	if r.issuer == "" {
		return nil
	}
	now := fmt.Sprintf("--oidc-issuer %s --owner-claim %s", r.issuer, cmp.Or(r.ownerClaim, "sub"))
	if r.orgClaim != "" {
		now += " --org-claim " + r.orgClaim
	}
	before, err := h.db.Meta(ctx, usersOf)
	fresh := errors.Is(err, auth.ErrNotFound)
	switch {
	case err != nil && !fresh:
		return err
	case before == now, fresh && h.cannotWrite != nil:
		return nil
	}
	if !fresh && !r.sameUsers {
		owners, err := h.db.Owners(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(owners, func(o store.Holdings) bool { return o.Owner != auth.Local }) { // nobody had come yet
			return h.db.SetMeta(ctx, usersOf, now)
		}
		return fmt.Errorf("the owners in this store are users by %s; by %s the same names may be other people, who would get their connections: correct the flags, take another store, or, where everybody keeps their name, start once with --unsafe-same-users", before, now)
	}
	return h.db.SetMeta(ctx, usersOf, now)
}

// collectLess lets garbage grow to four times what lives before it is collected: a
// server of many short calls keeps a few megabytes, and by the default of as much again
// collects many times a second. It saves an eighth of the processor time of a call.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// runOneMore has one thread more run Go code than there are processors. The one that waits for a commit to be on disk keeps
// its turn until the scheduler notices, and on two processors half of a server would stand still meanwhile.
func runOneMore() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + 1)
	}
}

// processors are those that the process may use, as it began.
var processors = runtime.GOMAXPROCS(0)

func (h *house) resource() string {
	if h.settings.serve.resource != "" {
		return h.settings.serve.resource
	}
	return h.door.URL() + "/mcp"
}

// newIdentity knows the sessions of people and the tokens that we issued.
func (h *house) newIdentity() *identity.Identity {
	return &identity.Identity{
		BaseURL: h.door.URL, Sessions: h.db, MAC: h.box.MAC("sign-in"), Audit: h.audit, Log: h.log,
		Tokens: &identity.Tokens{Store: tokenStore{h.db}, Audit: h.audit},
	}
}

// tokenStore turns the rows of the store into identity's tokens.
type tokenStore struct{ *store.DB }

func (s tokenStore) Token(ctx context.Context, hash []byte) (*identity.Token, error) {
	t, err := s.DB.Token(ctx, hash)
	return (*identity.Token)(t), err
}

func (s tokenStore) ListTokens(ctx context.Context, o auth.Owner) ([]identity.Token, error) {
	rows, err := s.DB.ListTokens(ctx, o)
	tokens := make([]identity.Token, len(rows))
	for i, t := range rows {
		tokens[i] = identity.Token(t)
	}
	return tokens, err
}

// pages is everything on the one listener, behind the layers that every request passes.
func (h *house) pages(authority string) *http.Server {
	base := h.door.URL()
	mux := http.NewServeMux()
	mux.Handle("/", h.site().Handler())
	people := h.identity.Handler()
	for _, path := range []string{"/login", "/login/", "/logout"} {
		mux.Handle(path, people)
	}
	mux.HandleFunc("GET /healthz", h.door.Health)
	mux.HandleFunc("GET /readyz", h.ready)
	end := func() {}
	if h.serves {
		end = h.mountMCP(mux)
	}
	layers := guard.Options{
		Hosts: hosts(authority, base), Origins: []string{base}, TLS: h.secure(), Class: class, TrustedProxies: h.door.proxies, Logger: h.log,
	}
	if h.metrics != nil {
		layers.Refused = h.metrics.refused
	}
	srv := guard.Server(mux, layers)
	srv.RegisterOnShutdown(end)
	return srv
}

func (h *house) secure() bool { return strings.HasPrefix(h.door.URL(), "https://") }

// site is the pages of people.
func (h *house) site() *web.Site {
	return web.New(h.vault, web.Options{
		Session: h.identity.Owner, LoginURL: "/login", Secure: h.secure(), Local: !h.vault.Identified,
		Live: h.browsers.Handler(), Unsafe: h.db.Declared, Log: h.log, Version: buildVersion(),
	})
}

// mountMCP adds what agents use, and gives what ends their streams: those that wait for nothing would hold a shutdown.
func (h *house) mountMCP(mux *http.ServeMux) (end func()) {
	server := h.mcp()
	opts := mcp.HTTPOptions{Identify: h.identity.Caller, HostChecked: true}
	if h.metrics != nil {
		opts.Identify = h.metrics.identify(opts.Identify)
	}
	var issuers []string
	if h.identity.Issuer != nil {
		issuers = []string{h.identity.Issuer.URL}
	} else { // the tokens are issued here: there is nobody to send a client to
		mux.HandleFunc("POST "+mcp.RegisterPath, mcp.Unregistered)
	}
	path := mcp.MetadataPath(h.resource())
	opts.Metadata = h.door.URL() + path
	mux.Handle("GET "+path, mcp.Metadata(h.resource(), issuers...))
	mux.Handle("/mcp", server.HTTP(opts))
	if h.settings.serve.sse {
		stream, post := server.SSE(opts)
		mux.Handle("/sse", stream)
		mux.Handle("/message", post)
	}
	return func() { _ = server.Close(context.Background()) } // which waits for nobody
}

// class gives the rules of each path to the guard.
func class(path string) guard.Class {
	switch {
	case path == "/mcp" || path == "/message" || path == "/sse":
		return guard.Class{API: true, MaxBody: 4 << 20, Types: []string{"application/json"}}
	case strings.HasPrefix(path, "/api/"):
		return guard.Class{API: true, Types: []string{"application/json"}}
	case path == mcp.RegisterPath:
		return guard.Class{API: true, Limited: true, MaxBody: 128 << 10, Types: []string{"application/json"}}
	case path == "/healthz", strings.HasPrefix(path, "/static/"), strings.HasPrefix(path, "/embed/"), strings.HasPrefix(path, "/live/"):
		return guard.Class{}
	}
	return guard.Class{Limited: true, MaxBody: 128 << 10, Types: []string{"application/x-www-form-urlencoded"}}
}

// hosts are the authorities under which we are reached: what we listen on, its
// spelling as localhost (some providers take no other redirect URI), and the base URL. Browsers leave out the usual port.
func hosts(authority, base string) []string {
	list := []string{authority}
	if host, port, err := net.SplitHostPort(authority); err == nil && host == "127.0.0.1" {
		list = append(list, "localhost:"+port)
	}
	for _, one := range list {
		if bare, usual := strings.CutSuffix(one, ":80"); usual && !strings.HasPrefix(base, "https:") {
			list = append(list, bare)
		}
	}
	if u, err := url.Parse(base); err == nil {
		list = append(list, strings.ToLower(u.Host))
	}
	return list
}

// ready says whether requests can be served: the store answers, and takes what is written.
func (h *house) ready(w http.ResponseWriter, r *http.Request) {
	_, err := h.db.Keys(r.Context())
	says := "the store does not answer; see the log"
	if err == nil {
		err, says = cmp.Or(h.cannotWrite, h.db.Failed()), "the store takes nothing that is written to it; see the log"
	}
	if err != nil {
		if r.Context().Err() == nil { // not just somebody who has left
			h.log.Error("not ready", "error", err)
		}
		http.Error(w, says, http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

// tickets seals what clients carry between the two halves of an elicitation; every
// process of a store can open it.
func (h *house) tickets() mcp.Sealer { return ticketBox{h.box} }

type ticketBox struct{ box *seal.Box }

func ticketPlace(bound []byte) seal.Place {
	return seal.Place{Table: "tickets", Field: "state", Bind: string(bound)}
}

func (t ticketBox) Seal(plain, bound []byte) ([]byte, error) {
	return t.box.Seal(ticketPlace(bound), plain)
}

func (t ticketBox) Open(sealed, bound []byte) ([]byte, error) {
	return t.box.Open(ticketPlace(bound), sealed)
}
