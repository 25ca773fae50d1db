package mcp

import (
	"context"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// SSE serves the transport of 2024-11-05 for old clients: stream goes to /sse, post to /message.
func (s *Server) SSE(opts HTTPOptions) (stream, post http.Handler) {
	e := s.edge(opts)
	live := &streams{open: map[string]*openStream{}}
	inner := server.NewSSEServer(s.core,
		server.WithSessionIDGenerator(live.start),
		server.WithSSEContextFunc(d04),
		server.WithUseFullURLForMessageEndpoint(false),
		server.WithKeepAliveInterval(30*time.Second),
		server.WithSSEDisableLocalhostProtection(opts.HostChecked),
		d01(),
	)
	s.atClose(func(context.Context) error { inner.CloseSessions(); return nil })
	stream = e.enter(func(w http.ResponseWriter, r *http.Request, caller auth.Caller) {
		leave, ok := e.stay(w, caller)
		if !ok {
			return
		}
		defer leave()
		r, forget := e.remind(r)
		defer forget()
		w, r, done := live.enter(w, r)
		defer done()
		inner.SSEHandler().ServeHTTP(w, r)
	})
	post = e.enter(func(w http.ResponseWriter, r *http.Request, caller auth.Caller) {
		m, ok := e.message(w, r, caller)
		if !ok || d22SSE(w, r, m) {
			return
		}
		r, status, bad := live.post(r, r.URL.Query().Get("sessionId"), principalOf(caller), m)
		if bad != nil {
			refuse(w, status, bad)
			return
		}
		if m.method == "" { // an answer, though nothing is asked here (D5, D15)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		inner.MessageHandler().ServeHTTP(w, r.WithContext(d20(r.Context())))
	})
	return method(http.MethodGet, stream), method(http.MethodPost, post)
}

// method keeps others away, before anybody is asked who they are.
func method(only string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != only {
			notAllowed(w, only)
			return
		}
		next.ServeHTTP(w, r)
	})
}
