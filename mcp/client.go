package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	protocol "github.com/mark3labs/mcp-go/mcp"
)

// Client is a real MCP client on a pair of pipes, for the demo and for tests.
type Client struct{ inner *client.Client }

// Dial initializes a session with the server that reads out and writes in, under the client name.
func Dial(ctx context.Context, in io.Reader, out io.WriteCloser, name string) (*Client, error) {
	c := client.NewClient(transport.NewIO(in, out, io.NopCloser(emptyReader{})))
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	var hello protocol.InitializeRequest
	hello.Params.ProtocolVersion = protocol.LATEST_PROTOCOL_VERSION
	hello.Params.ClientInfo = protocol.Implementation{Name: name, Version: "1"}
	if _, err := c.Initialize(ctx, hello); err != nil {
		return nil, fmt.Errorf("initialize: %w", err)
	}
	return &Client{c}, nil
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, io.EOF }

// Call calls a tool and gives its structured answer; failed is the tool's isError.
func (c *Client) Call(ctx context.Context, tool string, args map[string]any) (answer map[string]any, failed bool, err error) {
	var req protocol.CallToolRequest
	req.Params.Name, req.Params.Arguments = tool, args
	result, err := c.inner.CallTool(ctx, req)
	if err != nil {
		return nil, false, err
	}
	raw, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return nil, false, err
	}
	return answer, result.IsError, json.Unmarshal(raw, &answer)
}

// Close ends the session.
func (c *Client) Close() error { return c.inner.Close() }
