package mcp

import (
	"context"
	"encoding/json"
	"sync"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 files a call of stdio under its id when a worker takes it up, and forgets a notifications/cancelled that comes
// before: right behind its call, or while a hundred others run. So the ids that were cancelled are kept as long as
// their calls are due, of which there are at most maxDue, and mcp-go is told again once it knows the call.
type cancels struct {
	mu  sync.Mutex
	due map[any]bool // whether it was cancelled, by the id of the call
}

type cancelsKey struct{}

// read takes note of a message before mcp-go sees it.
func (c *cancels) read(m *message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.method {
	case string(protocol.MethodToolsCall):
		if m.asks() {
			c.due[idOf(m.id)] = false
		}
	case string(protocol.MethodNotificationCancelled):
		if _, due := c.due[idOf(m.about)]; due {
			c.due[idOf(m.about)] = true
		}
	}
}

func (c *cancels) answered(id any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.due, id)
}

// d18 is called when mcp-go has filed a call, before it runs.
func (s *Server) d18(ctx context.Context, id any, _ *protocol.CallToolRequest) {
	c, ok := ctx.Value(cancelsKey{}).(*cancels)
	if !ok {
		return
	}
	c.mu.Lock()
	cancelled := c.due[id]
	c.mu.Unlock()
	if cancelled {
		again, _ := json.Marshal(map[string]any{
			"jsonrpc": "2.0", "method": protocol.MethodNotificationCancelled, "params": map[string]any{"requestId": id},
		})
		s.core.HandleMessage(ctx, again)
	}
}
