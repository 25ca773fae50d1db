package mcp

import (
	"net/http"

	protocol "github.com/mark3labs/mcp-go/mcp"
)

// mcp-go v1.2.1 files calls without a session under their JSON-RPC id alone, which everybody counts
// from 1: a notifications/cancelled of one client ends another's call. 2026-07-28 has no such
// message over HTTP (closing the stream cancels), so it stops here. Sessions are safe: their id is
// part of the key, and sessions.admit knows whose they are.
func d02(w http.ResponseWriter, m *message) (answered bool) {
	if m.method != string(protocol.MethodNotificationCancelled) {
		return false
	}
	refuse(w, http.StatusBadRequest, &rejection{nil, protocol.INVALID_REQUEST, "to cancel a call, close its stream"})
	return true
}
