package mcp

import (
	"context"
	"net/http"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 keeps all that a client says of itself as long as its session lives: up to 4 MiB, ten times as much in maps,
// and a caller may have 64 sessions. So it gets to know only what is read later: the name, and what the client can be asked.
func d22(_ context.Context, _ any, req *protocol.InitializeRequest) {
	req.Params.ClientInfo = protocol.Implementation{Name: clean(req.Params.ClientInfo.Name, maxName)}
	req.Params.Capabilities.Experimental, req.Params.Capabilities.Extensions = nil, nil
}

// maxProbe bounds a message of 2026-07-28 over SSE, in bytes.
const maxProbe = 16 << 10

// d22SSE is for what a client says of itself in every message of 2026-07-28, which mcp-go keeps with the stream as well. Over SSE
// that revision is not offered (D4), so a client has nothing to say in it but the question whether it is spoken.
func d22SSE(w http.ResponseWriter, r *http.Request, m *message) (answered bool) {
	if !m.modern || r.ContentLength <= maxProbe {
		return false
	}
	refuse(w, http.StatusRequestEntityTooLarge, &rejection{m.id, protocol.INVALID_REQUEST, "too much for a message of 2026-07-28, which is not spoken over SSE; call initialize"})
	return true
}
