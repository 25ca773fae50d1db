package mcp

import (
	"context"
	"net/http"
	"sync"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

type (
	sseKey    struct{}
	streamKey struct{}
)

// mcp-go v1.2.1 lets any web page read /sse (Access-Control-Allow-Origin: *) unless an origin is
// named. This one cannot exist (RFC 2606). The bearer token keeps pages out as well.
func d01() server.SSEOption {
	return server.WithSSECORS(server.WithCORSAllowedOrigins("https://nobody.invalid"))
}

// mcp-go v1.2.1 offers 2026-07-28 over SSE and then refuses every call of it for want of headers.
// It also cannot elicit there (D5), so the mark tells elicitation to answer with -32042.
func d04(ctx context.Context, _ *http.Request) context.Context {
	ctx = context.WithValue(ctx, sseKey{}, true)
	return server.WithSupportedProtocolVersions(ctx, protocol.LegacyProtocolVersions())
}

func overSSE(ctx context.Context) bool { return ctx.Value(sseKey{}) != nil }

// streams knows whose each SSE stream is and when it ends: mcp-go lets anybody post
// to any stream, and goes on with calls whose stream is gone.
type streams struct {
	*sessions
	mu   sync.Mutex
	ends map[string]context.Context
}

type streamID struct{ id string }

// enter wraps the request of a stream; open, which mcp-go calls, notes the id that done forgets.
func (s *streams) enter(r *http.Request) (*http.Request, func()) {
	here := &streamID{}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), streamKey{}, here))
	return r.WithContext(ctx), func() {
		cancel()
		s.mu.Lock()
		delete(s.ends, here.id)
		s.mu.Unlock()
		s.end(here.id)
	}
}

// open is the SessionIDGenFunc.
func (s *streams) open(ctx context.Context, _ *http.Request) (string, error) {
	id := s.sessions.open(principal(callerFrom(ctx)))
	here := ctx.Value(streamKey{}).(*streamID)
	s.mu.Lock()
	defer s.mu.Unlock()
	here.id = id
	s.ends[id] = ctx
	return id, nil
}

// of gives the context that ends with owner's stream.
func (s *streams) of(id, owner string) (context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, there := s.ends[id]
	return ctx, there && s.use(id, owner)
}

// untilStreamEnds is ctx, cancelled also when the SSE stream that the answer goes to is gone.
func untilStreamEnds(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if stream, ok := ctx.Value(streamKey{}).(context.Context); ok {
		stop := context.AfterFunc(stream, cancel)
		return ctx, func() { stop(); cancel() }
	}
	return ctx, cancel
}
