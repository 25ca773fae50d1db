package mcp

import (
	"context"
	"sync/atomic"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 loses a notification that a handler sends right before it returns: the goroutine
// that forwards it races with the final answer (measured 48 of 600; none when at
// least 1 ms lies between). So a tool that sent some waits a moment.
const settleTime = 3 * time.Millisecond

// progress sends notifications/progress for one call, when the client asked for them.
type progress struct {
	s     *Server
	ctx   context.Context
	token protocol.ProgressToken
	sent  atomic.Int64
}

func newProgress(s *Server, ctx context.Context, req protocol.CallToolRequest) *progress {
	p := &progress{s: s, ctx: ctx}
	if req.Params.Meta != nil {
		p.token = req.Params.Meta.ProgressToken
	}
	return p
}

// send tells the client how far things are. A notification that cannot be sent is no reason to fail.
func (p *progress) send(message string) {
	if p.token == nil {
		return
	}
	_ = p.s.core.SendNotificationToClient(p.ctx, string(protocol.MethodNotificationProgress), map[string]any{
		"progressToken": p.token, "progress": p.sent.Add(1), "message": message,
	})
}

func (p *progress) settle() {
	if p.sent.Load() == 0 {
		return
	}
	select {
	case <-time.After(settleTime):
	case <-p.ctx.Done():
	}
}
