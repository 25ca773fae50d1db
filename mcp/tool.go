package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/providers/strictjson"
)

// Scopes of a Latchpost token, by what they let a caller do.
const (
	ScopeConnect = "latchpost:connect" // start sign-ins and wait for them
	ScopeUse     = "latchpost:use"     // brokered calls, and the list of connections
	ScopeRelease = "latchpost:release" // raw credentials, where the owner granted that too
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
	elicits bool // the client can ask the user to open a link, and has not done so in this call
}

// maxWait bounds wait_seconds: hosts give up on a tool after 60 seconds.
const maxWait = 25

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
				res, err = s.panicked(ctx, t.name), nil
			}
		}()
		ctx, cancel := untilStreamEnds(ctx)
		defer cancel()
		caller := callerFrom(ctx)
		if t.scope != "" && !holds(caller, t.scope) {
			return s.failed(ctx, t.name, auth.ErrDenied.Say("this token lacks the scope %s; sign in to Latchpost again with it", t.scope)), nil
		}
		if !s.calls.take(principal(caller)) {
			return s.failed(ctx, t.name, auth.ErrLimit.After(1)), nil
		}
		defer s.calls.give(principal(caller))
		args, err := arguments(req)
		if err != nil {
			return s.failed(ctx, t.name, err), nil
		}
		told := newNotices(s, ctx, req)
		defer told.settle()
		return s.converse(ctx, t, call{Caller: caller, notices: told, request: req, args: args}, req.Params.MultiRoundTripParams)
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
	return &protocol.CallToolResult{
		Content:           []protocol.Content{protocol.NewTextContent(string(line))},
		StructuredContent: json.RawMessage(line),
		IsError:           isError,
	}
}

// arguments gives the bytes that the client sent, so that large numbers survive.
func arguments(req protocol.CallToolRequest) (json.RawMessage, error) {
	switch raw := req.GetRawArguments().(type) {
	case nil:
		return json.RawMessage("{}"), nil
	case json.RawMessage:
		if string(raw) == "null" {
			return json.RawMessage("{}"), nil
		}
		return raw, nil
	default: // called in process
		text, err := json.Marshal(raw)
		if err != nil {
			return nil, auth.ErrInvalid.Say("the arguments must be a JSON object")
		}
		return text, nil
	}
}

// read decodes the arguments into a struct that has a field for each of them.
func (c call) read(into any) error {
	err := strictjson.Decode(c.args, into, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth})
	wrong, bad := errors.AsType[*strictjson.Error](err)
	switch {
	case !bad:
		return err
	case wrong.Path == "":
		return auth.ErrInvalid.Say("the arguments are not in order: %s", wrong.Reason)
	case wrong.Reason == "unknown field":
		return auth.ErrInvalid.Say("unknown argument %s; the tool takes %s", clean(wrong.Path, 80), names(into))
	default:
		return auth.ErrInvalid.Say("argument %s: %s", clean(wrong.Path, 80), wrong.Reason)
	}
}

// names lists the arguments that a struct takes.
func names(args any) string {
	var all []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(args).Elem()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		all = append(all, name)
	}
	return strings.Join(all, ", ")
}

// required refuses arguments that are not there; pairs are name, value.
func required(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			return auth.ErrInvalid.Say("argument %s is missing", pairs[i])
		}
	}
	return nil
}

// waiting turns wait_seconds into a duration.
func waiting(seconds int) (time.Duration, error) {
	return time.Duration(seconds) * time.Second, between("wait_seconds", seconds, 0, maxWait)
}

func between(name string, n, least, most int) error {
	if n < least || n > most {
		return auth.ErrInvalid.Say("argument %s: must be %d to %d", name, least, most)
	}
	return nil
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
