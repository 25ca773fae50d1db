package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Trace is where a client says that a call belongs in its trace: traceparent and
// tracestate of W3C Trace Context, from _meta. It is the client's word, good for
// finding things in logs and for nothing else.
type Trace struct{ Parent, State string }

// ID is the trace id: 32 hexadecimal digits.
func (t Trace) ID() string { return t.Parent[3:35] }

type traceKey struct{}

// TraceFrom gives the trace of the tool call that runs under ctx, when its client named one.
func TraceFrom(ctx context.Context) (t Trace, ok bool) {
	t, ok = ctx.Value(traceKey{}).(Trace)
	return t, ok
}

// maxState is what a tracestate may be long, in bytes: the least that the standard asks to be passed on.
const maxState = 512

var traceparent = regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$`)

// withTrace keeps what is well-formed (W3C Trace Context section 3.2) and drops the rest, as the standard wants.
func withTrace(ctx context.Context, meta *protocol.Meta) context.Context {
	if meta == nil {
		return ctx
	}
	parent, _ := meta.AdditionalFields["traceparent"].(string)
	ids := traceparent.FindStringSubmatch(parent)
	if ids == nil || strings.Trim(ids[1], "0") == "" || strings.Trim(ids[2], "0") == "" {
		return ctx
	}
	t := Trace{Parent: parent}
	state, _ := meta.AdditionalFields["tracestate"].(string)
	if len(state) <= maxState && !strings.ContainsFunc(state, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.State = state
	}
	return context.WithValue(ctx, traceKey{}, t)
}

// watched is a tool of the catalogue with its trace and, when somebody wants to know, its beginning and end.
func (s *Server) watched(t tool) server.ToolHandlerFunc {
	run := s.run(t)
	return func(ctx context.Context, req protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		ctx = withTrace(ctx, req.Params.Meta)
		if s.watch == nil {
			return run(ctx, req)
		}
		ctx, done := s.watch(ctx, t.name)
		res, err := run(ctx, req)
		done(outcome(res, err))
		return res, err
	}
}

// outcome is how a call ended, as one of few words. Only the front of an answer is read: its type stands there.
func outcome(res *protocol.CallToolResult, err error) string {
	if _, asks := errors.AsType[protocol.URLElicitationRequiredError](err); asks {
		return "input_required"
	}
	if err != nil {
		return "protocol_error"
	}
	if res.ResultType == protocol.ResultTypeInputRequired {
		return "input_required"
	}
	text, _ := res.StructuredContent.(json.RawMessage)
	if res.IsError {
		var f failure
		if json.Unmarshal(text, &f) != nil || f.Code == "" {
			return "error"
		}
		return f.Code
	}
	for _, asks := range []string{"auth_required", "approval_required"} {
		if bytes.HasPrefix(text, []byte(`{"type":"`+asks+`"`)) {
			return asks
		}
	}
	return "ok"
}
