package mcp

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"sync"
)

// streams knows whose each SSE stream is and when it ends: mcp-go lets anybody post
// to any stream, and goes on with calls whose stream is gone.
type streams struct {
	mu   sync.Mutex
	open map[string]*openStream
}

type openStream struct {
	owner principal
	until context.Context // ends with the stream
	due   inFlight        // whose answers its client has not taken
}

// mostDue is how many calls of one stream may be without their answer. mcp-go keeps whatever its client does not read.
const mostDue = 256

type (
	streamIDKey    struct{} // in the request of a stream: where start notes its id
	streamUntilKey struct{} // in a call: the stream that its answer goes to
)

// enter wraps the request of a stream, and what it is answered by; done ends it.
func (s *streams) enter(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, inside *http.Request, done func()) {
	id := new(string)
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), streamIDKey{}, id))
	return answers{above{w}, s, id}, r.WithContext(ctx), func() {
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, *id)
	}
}

// answers counts those that went out on a stream.
type answers struct {
	above
	of *streams
	id *string
}

// Write takes one whole event from mcp-go.
func (a answers) Write(event []byte) (int, error) {
	out, _ := recoded(event)
	n, err := a.ResponseWriter.Write(out)
	if _, data, ok := bytes.Cut(event, []byte("data: ")); ok {
		a.of.mu.Lock()
		one := a.of.open[*a.id]
		a.of.mu.Unlock()
		if _, is := answerTo(data); is && one != nil {
			one.due.answered()
		}
	}
	if err == nil {
		n = len(event)
	}
	return min(n, len(event)), err
}

// start is the server.SessionIDGenFunc: mcp-go calls it with the context of enter.
func (s *streams) start(ctx context.Context, _ *http.Request) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ctx.Value(streamIDKey{}).(*string)
	*id = rand.Text()
	s.open[*id] = &openStream{owner: principalOf(callerFrom(ctx)), until: ctx}
	return *id, nil
}

// post gives the request of a message to owner's stream id, or says why not.
func (s *streams) post(r *http.Request, id string, owner principal, m *message) (inside *http.Request, status int, bad *rejection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.open[id]
	switch {
	case one == nil || one.owner != owner:
		return nil, http.StatusNotFound, &rejection{nil, codeNoSession, "no such session; open /sse again"}
	case m.asks() && !one.due.take(mostDue):
		return nil, http.StatusTooManyRequests, &rejection{m.id, codeBusy, "busy: too many answers wait in the stream; read them, then try again"}
	}
	return r.WithContext(context.WithValue(r.Context(), streamUntilKey{}, one.until)), 0, nil
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
