package mcp

import (
	"context"
	"net/http"
	"slices"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

type sseKey struct{}

// mcp-go v1.2.1 offers 2026-07-28 over SSE and then refuses every call of it for want of headers.
// It also cannot elicit there (D5), so the mark tells elicitation to answer with -32042.
func d04(ctx context.Context, _ *http.Request) context.Context {
	ctx = context.WithValue(ctx, sseKey{}, true)
	return server.WithSupportedProtocolVersions(ctx, slices.DeleteFunc(revisions(), protocol.IsModernProtocol))
}

func overSSE(ctx context.Context) bool { return ctx.Value(sseKey{}) != nil }
