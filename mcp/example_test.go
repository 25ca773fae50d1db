package mcp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/mark3labs/mcp-go/client"
	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/mcp"
)

// A tool of another program that needs the user's account. Nobody is connected yet, so the agent gets a link for
// the user; after the sign-in the same call goes through.
func ExampleAuthenticated() {
	ctx := context.Background()
	var t cleanups
	defer t.run()
	v := authtest.NewVault(&t, authtest.Options{}) // what a program opens at its start, with one provider
	latchpost := mcp.New(v, mcp.Options{})

	mine := server.NewMCPServer("my program", "1")
	mine.AddTools(mcp.Authenticated(latchpost, protocol.NewTool("whoami"), auth.Need{Provider: "practice"},
		func(ctx context.Context, _ protocol.CallToolRequest, api *http.Client) (*protocol.CallToolResult, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.API.URL+"/api/me", nil)
			if err != nil {
				return nil, err
			}
			res, err := api.Do(req) // no credential in sight
			if err != nil {
				return nil, err
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			return protocol.NewToolResultText(string(text)), err
		}))

	agent, err := client.NewInProcessClient(mine)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer agent.Close()
	if _, err := agent.Initialize(ctx, protocol.InitializeRequest{}); err != nil {
		fmt.Println(err)
		return
	}
	res, err := agent.CallTool(ctx, protocol.CallToolRequest{Params: protocol.CallToolParams{Name: "whoami"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := res.StructuredContent.(map[string]any)
	fmt.Println(answer["type"], answer["provider_name"], answer["reason"])
	// Output: auth_required Practice provider not_connected
}

// cleanups is an authtest.Testing without a test.
type cleanups []func()

func (c *cleanups) Helper()                  {}
func (c *cleanups) Cleanup(f func())         { *c = append(*c, f) }
func (c *cleanups) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (c *cleanups) Context() context.Context { return context.Background() }

func (c *cleanups) TempDir() string {
	dir, err := os.MkdirTemp("", "latchpost")
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (c *cleanups) run() {
	for _, f := range slices.Backward(*c) {
		f()
	}
}
