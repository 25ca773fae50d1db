package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// BenchmarkHTTP compares list_connections, with everything that stands in front of it, to a bare mcp-go
// server whose tool returns as many bytes.
func BenchmarkHTTP(b *testing.B) {
	broker := quiet{&fake{has: []auth.Info{{Provider: "practice", ProviderName: "Practice", Account: "ada@example.com", Method: "oauth_code", State: auth.Active, Scopes: []string{"read", "write"}}}}}
	ours := New(broker, Options{})
	listed, err := ours.listConnections(context.Background(), call{args: json.RawMessage("{}")})
	if err != nil {
		b.Fatal(err)
	}
	canned := result(listed, false)
	core := server.NewMCPServer("bare", "1", server.WithToolCapabilities(false))
	core.AddTool(protocol.NewTool("list_connections"), func(context.Context, protocol.CallToolRequest) (*protocol.CallToolResult, error) {
		return canned, nil
	})
	bare := server.NewStreamableHTTPServer(core, server.WithStateful(true))
	defer bare.Shutdown(context.Background())
	defer ours.Close(context.Background())
	handlers := map[string]http.Handler{"bare": bare, "latchpost": ours.HTTP(HTTPOptions{Identify: Bearer((&users{}).verify)})}
	for _, era := range []string{"2025-11-25", "2026-07-28"} {
		for _, name := range []string{"bare", "latchpost"} {
			b.Run(era+"/"+name, func(b *testing.B) {
				web := httptest.NewServer(handlers[name])
				defer web.Close()
				post := func(body string, headers map[string]string) (*http.Response, error) {
					req, err := http.NewRequest("POST", web.URL+"/mcp", strings.NewReader(body))
					if err != nil {
						return nil, err
					}
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", "Bearer T1")
					for k, v := range headers {
						req.Header.Set(k, v)
					}
					return web.Client().Do(req)
				}
				web.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 32
				res, err := post(fmt.Sprintf(hello, "{}"), nil)
				if err != nil {
					b.Fatal(err)
				}
				res.Body.Close()
				headers, body := map[string]string{"Mcp-Session-Id": res.Header.Get("Mcp-Session-Id")}, legacyCall("list_connections", "{}")
				if era == "2026-07-28" {
					headers, body = map[string]string{"MCP-Protocol-Version": era, "Mcp-Method": "tools/call", "Mcp-Name": "list_connections"}, modernCall("list_connections", "{}", "{}", "")
				}
				b.SetParallelism(8)
				b.ReportAllocs()
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						res, err := post(body, headers)
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
							b.Errorf("%d %v", res.StatusCode, err)
						}
						res.Body.Close()
					}
				})
			})
		}
	}
}

// quiet is a fake that does not remember its callers.
type quiet struct{ *fake }

func (q quiet) List(context.Context, auth.Caller, string) ([]auth.Info, error) { return q.has, nil }
