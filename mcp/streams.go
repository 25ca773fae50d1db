package mcp

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
)

// streams knows whose each SSE stream is and when it ends: mcp-go lets anybody post
// to any stream, and goes on with calls whose stream is gone.
type streams struct {
	mu   sync.Mutex
	open map[string]openStream
}

type openStream struct {
	owner principal
	until context.Context // ends with the stream
}

type (
	streamIDKey    struct{} // in the request of a stream: where start notes its id
	streamUntilKey struct{} // in a call: the stream that its answer goes to
)

// enter wraps the request of a stream; done ends it.
func (s *streams) enter(r *http.Request) (inside *http.Request, done func()) {
	id := new(string)
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), streamIDKey{}, id))
	return r.WithContext(ctx), func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, *id)
	}
}

// start is the server.SessionIDGenFunc: mcp-go calls it with the context of enter.
func (s *streams) start(ctx context.Context, _ *http.Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ctx.Value(streamIDKey{}).(*string)
	*id = rand.Text()
	s.open[*id] = openStream{principalOf(callerFrom(ctx)), ctx}
	return *id, nil
}

// post gives the request of a message to owner's stream id; false when there is none.
func (s *streams) post(r *http.Request, id string, owner principal) (*http.Request, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.open[id]
	if !ok || one.owner != owner {
		return nil, false
	}
	return r.WithContext(context.WithValue(r.Context(), streamUntilKey{}, one.until)), true
}

// untilStreamEnds is ctx, cancelled also when the SSE stream that the answer goes to is gone.
func untilStreamEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	stream, ok := ctx.Value(streamUntilKey{}).(context.Context)
	if !ok {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(stream, cancel)
	return ctx, func() { stop(); cancel() }
}
