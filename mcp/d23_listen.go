package mcp

import (
	"context"
	"net/http"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 answers subscriptions/listen at once where nothing is there to listen to, and its acknowledgement, which has to
// come first, is one of the notifications that it loses then (D3): half of them over HTTP. So the answer waits until the
// acknowledgement is out, and where that cannot be seen, over stdio, a moment.
type acknowledged struct {
	above
	once sync.Once
	out  chan struct{} // closed with the first flush
}

type acknowledgedKey struct{}

// d23 lets the answer to r wait for what mcp-go writes before it.
func d23(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	ack := &acknowledged{above: above{w}, out: make(chan struct{})}
	return ack, r.WithContext(context.WithValue(r.Context(), acknowledgedKey{}, ack))
}

func (w *acknowledged) Flush() {
	w.above.Flush()
	w.once.Do(func() { close(w.out) })
}

// d23Listen is called when mcp-go has made the acknowledgement and has the answer ready.
func d23Listen(ctx context.Context, _ any, _ *protocol.SubscriptionsListenRequest, _ *protocol.SubscriptionsListenResult) {
	var out <-chan struct{} // never, over stdio
	longest := settleTime
	if ack, ok := ctx.Value(acknowledgedKey{}).(*acknowledged); ok {
		out, longest = ack.out, endTime
	}
	select {
	case <-out:
	case <-time.After(longest):
	case <-ctx.Done():
	}
}
