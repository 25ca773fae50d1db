package guard

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// maxResets is how many requests of one connection may be taken back before the connection has to end. A person who
// closes pages and an agent that cancels calls come to a handful; opening and resetting streams is a way to make a
// server work for nothing (CVE-2023-39325).
const maxResets = 1000

type resetsKey struct{}

// countResets gives each connection its count.
func countResets(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, resetsKey{}, new(atomic.Int64))
}

// resets counts a request that its client took back, when done is called, and sends away (GOAWAY in HTTP/2) a client
// that has done so too often.
func resets(w http.ResponseWriter, r *http.Request) (done func()) {
	count, counted := r.Context().Value(resetsKey{}).(*atomic.Int64)
	if !counted {
		return func() {}
	}
	if count.Load() > maxResets {
		w.Header().Set("Connection", "close")
	}
	return func() {
		if r.Context().Err() != nil {
			count.Add(1)
		}
	}
}
