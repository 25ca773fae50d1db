package mcp

import "github.com/mark3labs/mcp-go/server"

// mcp-go v1.2.1 lets any web page read /sse (Access-Control-Allow-Origin: *) unless an origin is
// named. This one cannot exist (RFC 2606). The bearer token keeps pages out as well.
func d01() server.SSEOption {
	return server.WithSSECORS(server.WithCORSAllowedOrigins("https://nobody.invalid"))
}
