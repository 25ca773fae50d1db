package mcp

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 serves the requests of stdio side by side, initialize too, so that a call right behind it may run before its
// client has a name and capabilities: the owner would be asked about an unnamed client. So what stands behind initialize is
// read when that has its answer. The bound is for an answer that never comes.
const openingTime = 5 * time.Second

// opening is an initialize that has no answer yet.
type opening struct {
	mu   sync.Mutex
	id   any           // as encoding/json reads it
	done chan struct{} // nil without one
}

// begin is called before mcp-go sees m.
func (o *opening) begin(m *message) {
	if m.method != string(protocol.MethodInitialize) || !m.asks() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id, o.done = idOf(m.id), make(chan struct{})
}

// wait returns when nothing, or nothing any more, has to be waited for.
func (o *opening) wait(ctx context.Context) {
	o.mu.Lock()
	done := o.done
	o.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(openingTime):
	case <-ctx.Done():
	}
}

// answered is called before the answer to id is written, which takes as long as the client likes.
func (o *opening) answered(id any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done != nil && o.id == id {
		close(o.done)
		o.done = nil
	}
}

// idOf is an id as mcp-go has it: two spellings of one are equal.
func idOf(raw json.RawMessage) (id any) {
	_ = json.Unmarshal(raw, &id)
	switch id.(type) {
	case string, float64:
		return id
	}
	return nil // nothing else is one, or can be compared
}
