package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"strings"
	"sync"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 has one channel for the notifications of a session of the protocols before 2026-07-28, and whichever of its
// responses, or its GET stream, is the first to look takes them: what one call told came with the answer to another, or not
// at all. So over HTTP a call writes what it tells on its own response, in the form in which mcp-go would.
type ownStream struct {
	above
	header http.Header // mcp-go's, who sets it when it likes; what goes out is that of above
	asked  http.Header // the request's

	mu     sync.Mutex
	begun  bool // the status is out
	events bool // what goes out is an event stream
	over   bool // the response is done
}

const eventStream = "text/event-stream"

type ownStreamKey struct{}

// d21 lets the call in r write on its response, until it is done.
func d21(w http.ResponseWriter, r *http.Request) (_ http.ResponseWriter, inside *http.Request, done func()) {
	own := &ownStream{above: above{w}, header: http.Header{}, asked: r.Header}
	return own, r.WithContext(context.WithValue(r.Context(), ownStreamKey{}, own)), func() {
		own.mu.Lock()
		defer own.mu.Unlock()
		own.over = true
	}
}

// takesEvents reports whether a client accepts an event stream. Who does not say what they accept accepts everything.
func takesEvents(h http.Header) bool {
	all := h.Values("Accept")
	for kind := range strings.SplitSeq(strings.Join(all, ","), ",") {
		switch kind, _, _ := mime.ParseMediaType(kind); kind {
		case eventStream, "text/*", "*/*":
			return true
		}
	}
	return len(all) == 0
}

// tellOwn writes a notification on the response of the call itself. It gives false where there is none: over stdio, /sse and
// in process.
func tellOwn(ctx context.Context, n protocol.JSONRPCNotification) bool {
	own, ok := ctx.Value(ownStreamKey{}).(*ownStream)
	if ok {
		own.tell(n)
	}
	return ok
}

// tell writes a notification. One that cannot be sent is no reason to fail.
func (w *ownStream) tell(n protocol.JSONRPCNotification) {
	text, err := json.Marshal(n)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.begun && !w.events || !takesEvents(w.asked) {
		return
	}
	if !w.begun {
		h := w.above.Header()
		h.Set("Content-Type", eventStream)
		h.Set("Connection", "keep-alive")
		h.Set("Cache-Control", "no-cache")
		w.begin(http.StatusOK, true)
	}
	_ = w.event(text)
	w.above.Flush()
}

func (w *ownStream) begin(status int, events bool) {
	w.begun, w.events = true, events
	w.ResponseWriter.WriteHeader(status)
}

func (w *ownStream) event(message []byte) error {
	for _, part := range [][]byte{[]byte("event: message\ndata: "), message, []byte("\n\n")} {
		if _, err := w.ResponseWriter.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// Header is for mcp-go alone.
func (w *ownStream) Header() http.Header { return w.header }

// WriteHeader is mcp-go's beginning, if the call has not begun already.
func (w *ownStream) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beginAs(status)
}

func (w *ownStream) beginAs(status int) {
	if !w.begun {
		maps.Copy(w.above.Header(), w.header)
		w.begin(status, w.writesEvents())
	}
}

// writesEvents reports whether mcp-go knows that what goes out is an event stream.
func (w *ownStream) writesEvents() bool { return w.header.Get("Content-Type") == eventStream }

// Write makes an event of the answer, where mcp-go does not know that it has to. It gives every message to one Write.
func (w *ownStream) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beginAs(http.StatusOK)
	if !w.events || w.writesEvents() {
		return w.ResponseWriter.Write(b)
	}
	defer w.above.Flush()
	return len(b), w.event(bytes.TrimRight(b, "\n"))
}

func (w *ownStream) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun {
		w.above.Flush()
	}
}
