package mcp

import "github.com/mark3labs/mcp-go/server"

// mcp-go v1.2.1 runs 5 tool calls at a time over stdio, so that five waiting calls stall everything, and with a
// full queue it stops reading. So there are as many workers as it allows, and calls beyond
// maxDue are answered as busy before they reach the queue.
const (
	maxDue   = 1000
	codeBusy = -31000 // ours: outside of the range that JSON-RPC keeps for itself
)

func d09(s *server.StdioServer) {
	server.WithWorkerPoolSize(100)(s)
	server.WithQueueSize(2 * maxDue)(s)
}
