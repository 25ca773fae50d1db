package mcp

import (
	"context"
	_ "embed"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

// The card of MCP Apps (SEP-1865, 2026-01-26): hosts that know the extension show it with a result,
// all others pass over it.
const (
	appsExtension = "io.modelcontextprotocol/ui"
	cardURI       = "ui://latchpost/connect"
	cardType      = "text/html;profile=mcp-app"
)

//go:embed card.html
var card string

func cardResource() protocol.Resource {
	r := protocol.NewResource(cardURI, "connect_card",
		protocol.WithMIMEType(cardType),
		protocol.WithResourceDescription("Asks the user to sign in or to approve, and shows how it went"))
	r.Title = "Connect"
	return r
}

// readCard gives the same page to everybody: what it shows comes with the tool's result.
// No csp means that it may not reach the network at all.
func readCard(context.Context, protocol.ReadResourceRequest) ([]protocol.ResourceContents, error) {
	return []protocol.ResourceContents{protocol.TextResourceContents{
		URI: cardURI, MIMEType: cardType, Text: card,
		Meta: map[string]any{"ui": map[string]any{"prefersBorder": false}},
	}}, nil
}

func (t tool) appMeta() *protocol.Meta {
	var ui map[string]any
	switch {
	case t.card:
		ui = map[string]any{"resourceUri": cardURI, "visibility": []string{"model", "app"}}
	case t.hidden:
		ui = map[string]any{"visibility": []string{"app"}}
	default:
		return nil
	}
	return protocol.NewMetaFromMap(map[string]any{"ui": ui})
}

// authStatusForCard is wait_for_auth without the wait, so that the card can look without the model.
var authStatusForCard = tool{
	name: "auth_status", title: "How a sign-in stands",
	description: "For the connect card: tells at once how a sign-in or an approval stands. Agents use wait_for_auth.",
	scope:       ScopeConnect,
	input: `{"type":"object","additionalProperties":false,"required":["request_id"],"properties":{` +
		`"request_id":{"type":"string","maxLength":64,"description":"From auth_required or approval_required"}}}`,
	output: waitForAuth.output,
	reads:  true, repeats: true, local: true, hidden: true,
	run: (*Server).authStatus,
}

func (s *Server) authStatus(ctx context.Context, c call) (any, error) {
	var args struct {
		RequestID string `json:"request_id"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if err := required("request_id", args.RequestID); err != nil {
		return nil, err
	}
	status, err := s.broker.Wait(ctx, c.Caller, args.RequestID, 0, func(auth.Status) {})
	if err != nil {
		return nil, err
	}
	return waited(status), nil
}
