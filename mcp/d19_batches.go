package mcp

import (
	"context"
	"slices"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 agrees to 2025-03-26, which demands that batches are taken, and takes none; nor did any revision before or after
// have them. So this one is not spoken: its clients are offered the one before, which they know as well, and not a later one, which
// they cannot know.
func d19(_ context.Context, _ any, req *protocol.InitializeRequest) {
	if v := req.Params.ProtocolVersion; v == protocol.ProtocolVersion20250326 || v == "" { // which mcp-go takes for the same
		req.Params.ProtocolVersion = protocol.ProtocolVersion20241105
	}
}

// revisions are those that are spoken, the newest first.
func revisions() []string {
	return slices.DeleteFunc(slices.Clone(protocol.ValidProtocolVersions), func(v string) bool { return v == protocol.ProtocolVersion20250326 })
}
