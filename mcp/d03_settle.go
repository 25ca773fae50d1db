package mcp

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// mcp-go v1.2.1 loses a notification that a handler sends right before it returns: the goroutine that forwards it races with
// the final answer (measured 48 of 600 on a quiet machine, none when at least 1 ms lies between; on a busy one 3 ms lost 3 of
// 150, 25 ms none). Only tools that wait for a person send any, so these wait a moment longer, but over HTTP, where they write
// it themselves (d21).
const settleTime = 25 * time.Millisecond

// notices are what a call tells its client before the answer.
type notices struct {
	s      *Server
	ctx    context.Context
	token  protocol.ProgressToken // nil when the client did not ask for progress
	sent   atomic.Int64           // how many of progress
	queued atomic.Bool            // mcp-go has got some to send
}

func newNotices(s *Server, ctx context.Context, req protocol.CallToolRequest) *notices {
	n := &notices{s: s, ctx: ctx}
	if req.Params.Meta != nil && comesBack(req.Params.Meta.ProgressToken) {
		n.token = req.Params.Meta.ProgressToken
	}
	return n
}

// comesBack reports whether a token is one by the specification that mcp-go, which reads numbers as float64, hands back as
// it came: another number could be that of another call. The others are told nothing meanwhile.
func comesBack(token protocol.ProgressToken) bool {
	switch token := token.(type) {
	case string:
		return len(token) <= maxID
	case float64:
		return token == math.Trunc(token) && math.Abs(token) < exact
	}
	return false
}

// progress tells how far things are. A notice that cannot be sent is no reason to fail.
func (n *notices) progress(message string) {
	if n.token == nil {
		return
	}
	told := map[string]any{"progressToken": n.token, "progress": n.sent.Add(1), "message": message}
	if tellOwn(n.ctx, notice(protocol.MethodNotificationProgress, told)) {
		return
	}
	n.queued.Store(true)
	_ = n.s.core.SendNotificationToClient(n.ctx, string(protocol.MethodNotificationProgress), told)
}

func notice(method protocol.MCPMethod, params map[string]any) protocol.JSONRPCNotification {
	return protocol.JSONRPCNotification{
		JSONRPC:      protocol.JSONRPC_VERSION,
		Notification: protocol.Notification{Method: string(method), Params: protocol.NotificationParams{AdditionalFields: params}},
	}
}

// complete tells a client before 2026-07-28 that what it was asked to open is done.
func (n *notices) complete(status *auth.Status) {
	if status.Status == auth.StatusPending || server.IsModernRequest(n.ctx) || !opensLinks(n.ctx) ||
		tellOwn(n.ctx, protocol.NewElicitationCompleteNotification(status.RequestID)) {
		return
	}
	n.queued.Store(true)
	_ = n.s.core.SendElicitationComplete(n.ctx, server.ClientSessionFromContext(n.ctx), status.RequestID)
}

func (n *notices) settle() {
	if !n.queued.Load() {
		return
	}
	select {
	case <-time.After(settleTime):
	case <-n.ctx.Done():
	}
}
