package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// The official Go SDK signs in over every transport, in both generations of the protocol, with and without
// URL elicitation. Over SSE it falls back to 2025-11-25, and has to be told by -32042 what to open.
func TestGoClients(t *testing.T) {
	for _, version := range []string{"2025-11-25", "2026-07-28"} {
		for _, transport := range []string{"stdio", "http", "sse"} {
			for _, elicit := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", version, transport, elicit), func(t *testing.T) {
					t.Parallel()
					c := dialGo(t, transport, version, elicit)
					c.lookAround()
					first := c.call("request_auth", map[string]any{"provider": "practice"})
					switch {
					case elicit && transport == "sse":
						if first != "-32042" {
							t.Errorf("the first call: %s", first)
						}
					case elicit:
						if asked, _ := c.asked.Load().(string); first != "connected" || !strings.HasSuffix(asked, "/c/REQpractice") {
							t.Errorf("%s after being asked to open %q", first, asked)
						}
						return
					case first != "auth_required":
						t.Errorf("the first call: %s", first)
					}
					if got := c.call("wait_for_auth", map[string]any{"request_id": "REQpractice", "wait_seconds": 5}); got != "auth_status" || c.progress.Load() == 0 {
						t.Errorf("%s after %d notices", got, c.progress.Load())
					}
					if got := c.call("request_auth", map[string]any{"provider": "practice"}); got != "connected" {
						t.Errorf("the second call: %s", got)
					}
				})
			}
		}
	}
}

// goClient is a session of the Go SDK, and what its user saw.
type goClient struct {
	t        *testing.T
	session  *sdk.ClientSession
	asked    atomic.Value // the link, a string
	progress atomic.Int64
}

func dialGo(t *testing.T, transport, version string, elicit bool) *goClient {
	t.Helper()
	c := &goClient{t: t}
	options := &sdk.ClientOptions{
		Capabilities:                &sdk.ClientCapabilities{},
		ProgressNotificationHandler: func(context.Context, *sdk.ProgressNotificationClientRequest) { c.progress.Add(1) },
	}
	if elicit {
		options.Capabilities.Elicitation = &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}
		options.ElicitationHandler = func(_ context.Context, req *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			c.asked.Store(req.Params.URL)
			return &sdk.ElicitResult{Action: "accept"}, nil
		}
	}
	client := sdk.NewClient(&sdk.Implementation{Name: "go sdk", Version: "1"}, options)
	var err error
	c.session, err = client.Connect(t.Context(), goTransport(t, transport), &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.session.Close() })
	if transport == "sse" {
		version = "2025-11-25"
	}
	if got := c.session.InitializeResult().ProtocolVersion; got != version {
		t.Errorf("they speak %s, want %s", got, version)
	}
	return c
}

func goTransport(t *testing.T, name string) sdk.Transport {
	t.Helper()
	if name == "stdio" {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), self)
		command.Env = append(os.Environ(), asServer+"=1")
		return &sdk.CommandTransport{Command: command}
	}
	w := serve(t, New(slowPerson(), Options{}))
	web := &http.Client{Transport: withToken{w.Client().Transport}}
	if name == "sse" {
		return &sdk.SSEClientTransport{Endpoint: w.URL + "/sse", HTTPClient: web}
	}
	return &sdk.StreamableClientTransport{Endpoint: w.URL + "/mcp", HTTPClient: web}
}

// withToken sends the bearer token along.
type withToken struct{ http.RoundTripper }

func (w withToken) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer T1")
	return w.RoundTripper.RoundTrip(req)
}

// lookAround finds the tools and the card.
func (c *goClient) lookAround() {
	c.t.Helper()
	tools, err := c.session.ListTools(c.t.Context(), nil)
	if err != nil || len(tools.Tools) != len(catalogue()) {
		c.t.Fatalf("tools: %v %v", tools, err)
	}
	card, err := c.session.ReadResource(c.t.Context(), &sdk.ReadResourceParams{URI: cardURI})
	if err != nil || card.Contents[0].MIMEType != cardType {
		c.t.Fatalf("card: %v %v", card, err)
	}
}

// call gives the type of the answer, or the code of a protocol error.
func (c *goClient) call(tool string, args map[string]any) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	params := &sdk.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken(tool)
	res, err := c.session.CallTool(ctx, params)
	if refused, ok := errors.AsType[*jsonrpc.Error](err); ok {
		return strconv.FormatInt(refused.Code, 10)
	}
	if err != nil {
		c.t.Fatalf("%s: %v", tool, err)
	}
	answer, _ := res.StructuredContent.(map[string]any)
	kind, _ := answer["type"].(string)
	return kind
}
