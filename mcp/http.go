package mcp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// HTTPOptions say who may come in over HTTP.
type HTTPOptions struct {
	// Identify says who sent a request; it is asked for every one. Bearer makes one from a
	// token verifier. auth.ErrUnavailable is a 503, every other *auth.Error a 401, anything else a 500. It is asked again
	// as long as a stream is open, which auth.ErrDenied ends; auth.ErrExpired behind that lets it be.
	Identify func(*http.Request) (auth.Caller, error)
	// Metadata is the address of our RFC 9728 document, which challenges name; "" leaves it out.
	Metadata string
	// HostChecked means that a handler in front has checked Host. Otherwise a request over loopback
	// must name a loopback host.
	HostChecked bool
	// IdleTTL ends sessions of the protocols before 2026-07-28 that were not used for so long and have no open stream;
	// 0 = 30 minutes.
	IdleTTL time.Duration
	// Sessions that one caller may have at once, and open streams; 0 = 64. The least recently used session makes
	// room for a new one, a stream too many is refused. All clients of an owner may have 16 times as many.
	Sessions int
}

// manyClients is how many clients' sessions and streams one owner may have: where clients register themselves, an owner may
// have any number of those.
const manyClients = 16

// HTTP serves Streamable HTTP, for /mcp: 2026-07-28 without sessions, older protocols with.
// Host, Origin, content type and time limits are the matter of the handlers in front.
func (s *Server) HTTP(opts HTTPOptions) http.Handler {
	e := s.edge(opts)
	inner := server.NewStreamableHTTPServer(s.core,
		server.WithSessionIdManagerResolver(e.sessions),
		server.WithStreamableHTTPProtocolVersions(revisions()...),
		server.WithDisableLocalhostProtection(opts.HostChecked),
		server.WithStreamableHTTPLogger(slog.New(slog.DiscardHandler)), // it logs session ids and panics
	)
	s.atClose(inner.Shutdown)
	e.sessions.forget = forgetIn(inner)
	return e.enter(func(w http.ResponseWriter, r *http.Request, caller auth.Caller) {
		modern := protocol.IsModernProtocol(r.Header.Get(protocol.HeaderProtocolVersion))
		starts := false
		switch r.Method {
		case http.MethodGet, http.MethodDelete:
		case http.MethodPost:
			m, ok := e.message(w, r, caller)
			if !ok {
				return
			}
			modern = modern || m.modern
			if modern && d02(w, m) {
				return
			}
			starts = m.method == string(protocol.MethodInitialize)
			switch m.method {
			case string(protocol.MethodToolsCall):
				own, inside, done := d21(w, r)
				defer done()
				w, r = d16(own, inside)
			case string(protocol.MethodSubscriptionsListen):
				w, r = d23(w, r)
			}
			w, r = d20Writer(w, r, modern)
		default:
			notAllowed(w, "POST, GET, DELETE")
			return
		}
		if !modern && !starts && !e.sessions.admit(w, r, caller) {
			return
		}
		if r.Method == http.MethodGet {
			leave, ok := e.stay(w, caller)
			if !ok {
				return
			}
			defer leave()
			known, forget := e.remind(r)
			defer forget()
			inside, done := e.sessions.hold(known)
			defer done()
			r = inside
		}
		inner.ServeHTTP(w, r)
		if starts {
			e.sessions.begun(w.Header().Get(server.HeaderKeySessionID))
		}
	})
}

// edge is what stands in front of mcp-go's HTTP handlers.
type edge struct {
	s        *Server
	opts     HTTPOptions
	sessions *sessions
	streams  quota // by caller
	owners   quota // of streams, by owner
}

func (s *Server) edge(opts HTTPOptions) *edge {
	if opts.Identify == nil {
		panic("mcp: HTTPOptions.Identify is not set: nobody may come in unknown")
	}
	if opts.IdleTTL == 0 {
		opts.IdleTTL = 30 * time.Minute
	}
	if opts.Sessions == 0 {
		opts.Sessions = 64
	}
	return &edge{s: s, opts: opts, sessions: newSessions(s.now, opts.IdleTTL, opts.Sessions),
		streams: quota{max: opts.Sessions}, owners: quota{max: opts.Sessions * manyClients}}
}

// stay counts a stream that is open until somebody leaves. When it gives false, it has answered.
func (e *edge) stay(w http.ResponseWriter, caller auth.Caller) (leave func(), ok bool) {
	who := principalOf(caller)
	owner := principalOf(auth.Caller{Owner: caller.Owner}) // whichever client
	ok = e.streams.take(who)
	if ok && !e.owners.take(owner) {
		e.streams.give(who)
		ok = false
	}
	if !ok {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusTooManyRequests, &rejection{nil, codeBusy, "too many streams; close one"})
		return nil, false
	}
	return func() { e.streams.give(who); e.owners.give(owner) }, true
}

// tokenCheck is how often the token of an open stream is looked at again.
const tokenCheck = 30 * time.Second

// remind ends a stream when its token was taken back: nothing else would, and whoever has it would keep the places of its
// client. When the token has run out the stream goes on, because many hosts do not open another; every message brings its own.
func (e *edge) remind(r *http.Request) (inside *http.Request, forget func()) {
	ctx, cancel := context.WithCancel(r.Context())
	inside = r.WithContext(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(tokenCheck)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			switch _, err := e.opts.Identify(inside); {
			case errors.Is(err, auth.ErrExpired):
				return
			case errors.Is(err, auth.ErrDenied):
				cancel()
			}
		}
	}()
	return inside, func() { cancel(); <-done }
}

// enter identifies the caller and puts them into the context, for this request alone.
func (e *edge) enter(next func(http.ResponseWriter, *http.Request, auth.Caller)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = &unkept{above: above{w}}
		w.Header().Set("X-Accel-Buffering", "no") // or nginx holds back what is streamed
		caller, err := e.opts.Identify(r)
		if err != nil {
			e.turnAway(w, r, err)
			return
		}
		if !e.s.pace.allow(caller.Owner, 1, e.s.now) {
			tooFast(w)
			return
		}
		next(w, r.WithContext(WithCaller(r.Context(), caller)), caller)
	})
}

// message reads and checks the body, which counts by its length too, and that the caller's token allows what it asks.
// When it gives false, it has answered.
func (e *edge) message(w http.ResponseWriter, r *http.Request, caller auth.Caller) (*message, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err != nil {
		status := http.StatusBadRequest
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			status = http.StatusRequestEntityTooLarge
		}
		refuse(w, status, &rejection{nil, protocol.INVALID_REQUEST, "the body cannot be read, or is larger than 4 MiB"})
		return nil, false
	}
	if !e.s.pace.allow(caller.Owner, len(body)/lengthOfOne, e.s.now) {
		tooFast(w)
		return nil, false
	}
	m, bad := parse(body)
	if bad == nil {
		bad = oneOfEach(r.Header, m)
	}
	if bad != nil {
		refuse(w, http.StatusBadRequest, bad)
		return nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	if m.method == string(protocol.MethodToolsCall) {
		if t, known := e.s.tools[m.name]; known && t.scope != "" && !holds(caller, t.scope) {
			e.stepUp(w, caller, t.scope)
			return nil, false
		}
	}
	return m, true
}

// oneOfEach refuses a second value of the headers that repeat the body: mcp-go compares the first, and whoever stands
// between may go by the last.
func oneOfEach(h http.Header, m *message) *rejection {
	for _, name := range []string{protocol.HeaderProtocolVersion, protocol.HeaderMethod, protocol.HeaderName} {
		if len(h.Values(name)) > 1 {
			return &rejection{m.id, protocol.HEADER_MISMATCH, name + " is there twice"}
		}
	}
	return nil
}

// notAllowed answers a method that the path does not take, and says which ones it does.
func notAllowed(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods)
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
}

// refuse answers with a JSON-RPC error and an HTTP status.
func refuse(w http.ResponseWriter, status int, r *rejection) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(r.answer())
}
