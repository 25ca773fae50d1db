package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// Scopes of a Latchpost token, by what they let a caller do.
const (
	ScopeConnect = "latchpost:connect" // start sign-ins and wait for them
	ScopeUse     = "latchpost:use"     // brokered calls, and the list of connections
	ScopeRelease = auth.ScopeRelease   // raw credentials, where the owner granted that too
	ScopeRevoke  = "latchpost:revoke"  // end connections
)

// Scopes are those that a token may have, in the order in which they are listed.
var Scopes = []string{ScopeConnect, ScopeUse, ScopeRelease, ScopeRevoke}

// tool is one line of the catalogue.
type tool struct {
	name, title, description string
	scope                    string // that the caller's token needs; "" = any token
	input, output            string // JSON Schema; output without the parts that every answer may have
	reads, destroys, repeats bool   // annotations; openWorld is !local
	local                    bool
	card, hidden             bool // shown with the card of card.html; called by the card only
	run                      func(*Server, context.Context, call) (any, error)
}

// call is a tool call that has passed the checks in front of the tools.
type call struct {
	auth.Caller
	*notices
	request protocol.CallToolRequest
	args    json.RawMessage
	elicits bool      // the client can ask the user to open a link, and has not done so in this call
	asked   bool      // the client has asked so, and what followed was waited for
	until   time.Time // nobody waits for the user any longer
}

func catalogue() []tool {
	return []tool{listProviders, requestAuth, waitForAuth, getCredential, callAPI, listConnections, revoke, authStatusForCard}
}

func (t tool) definition() protocol.Tool {
	open := !t.local
	return protocol.Tool{
		Meta: t.appMeta(),
		Name: t.name, Title: t.title, Description: t.description,
		RawInputSchema:  json.RawMessage(t.input),
		RawOutputSchema: json.RawMessage(outputSchema(t.output)),
		Annotations: protocol.ToolAnnotation{
			Title: t.title, ReadOnlyHint: &t.reads, DestructiveHint: &t.destroys, IdempotentHint: &t.repeats, OpenWorldHint: &open,
		},
	}
}

// run wraps a tool for mcp-go: who asks, how much at once, panics, progress, questions to the
// user, and one place that turns answers and errors into results.
func (s *Server) run(t tool) server.ToolHandlerFunc {
	return func(ctx context.Context, req protocol.CallToolRequest) (res *protocol.CallToolResult, err error) {
		defer func() {
			if p := recover(); p != nil {
				res, err = internal(s.panicked(ctx, t.name)), nil
			}
		}()
		ctx, cancel := untilStreamEnds(ctx)
		defer cancel()
		caller := callerFrom(ctx)
		if t.scope != "" && !holds(caller, t.scope) {
			return s.failed(ctx, t.name, auth.ErrDenied.Say("this token lacks the scope %s; sign in to Latchpost again with it", t.scope)), nil
		}
		if !s.calls.take(principalOf(caller)) {
			return s.failed(ctx, t.name, auth.ErrLimit.After(1)), nil
		}
		defer s.calls.give(principalOf(caller))
		args, err := arguments(req)
		if err != nil {
			return s.failed(ctx, t.name, err), nil
		}
		told := newNotices(s, ctx, req)
		defer told.settle()
		return s.converse(ctx, t, call{Caller: caller, notices: told, request: req, args: args, until: s.now().Add(talkTime)}, req.Params.MultiRoundTripParams)
	}
}

// result carries an answer twice, because hosts show the model either the one or the other. What
// an embedder's tool made stays as it is.
func result(answer any, isError bool) *protocol.CallToolResult {
	if made, ok := answer.(*protocol.CallToolResult); ok {
		return made
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false) // the model reads this as it stands
	if err := enc.Encode(answer); err != nil {
		panic("mcp: an answer that is not JSON: " + err.Error())
	}
	line := bytes.TrimSpace(text.Bytes())
	content := []protocol.Content{protocol.NewTextContent(string(line))}
	if r, ok := answer.(response); ok && r.File != nil {
		content = append(content, r.File.link())
	}
	return &protocol.CallToolResult{Content: content, StructuredContent: json.RawMessage(line), IsError: isError}
}

// outputSchema adds what every tool may answer instead of its own.
func outputSchema(own string) string {
	if own != "" {
		own = "," + own
	}
	return fmt.Sprintf(`{"type":"object","required":["type","message"],"properties":{%s%s}}`, commonOutput, own)
}

const commonOutput = `"type":{"type":"string","description":"What this answer is; auth_required and approval_required mean that the user has to act, error that the call failed"},` +
	`"message":{"type":"string","description":"What happened and what to do next"},` +
	`"code":{"type":"string","description":"With type error: a word from a fixed set"},` +
	`"retry_after_ms":{"type":"integer","description":"With type error: when trying again makes sense"},` +
	`"request_id":{"type":"string","description":"What wait_for_auth takes"},` +
	`"provider_id":{"type":"string"},"provider_name":{"type":"string"},"account":{"type":"string"},"auth_method":{"type":"string"},` +
	`"reason":{"type":"string"},"required_scopes":{"type":"array","items":{"type":"string"}},` +
	`"url":{"type":"string","description":"Latchpost's own page, for the user to open"},` +
	`"match_code":{"type":"string","description":"The page shows the same code"},"user_code":{"type":"string"},` +
	`"expires_at":{"type":"string","description":"RFC 3339"},"poll_after_ms":{"type":"integer"}`
