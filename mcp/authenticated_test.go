package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

func TestAuthenticated(t *testing.T) {
	broker := &fake{}
	s := New(broker, Options{})
	star := Authenticated(s, protocol.NewTool("star"), auth.Need{Provider: "practice", Scopes: []string{"write"}},
		func(ctx context.Context, req protocol.CallToolRequest, api *http.Client) (*protocol.CallToolResult, error) {
			ask, err := http.NewRequestWithContext(ctx, "PUT", "https://api.example/star/"+req.GetString("repo", "")+"?a=b", strings.NewReader("body"))
			if err != nil {
				return nil, err
			}
			ask.Header.Set("Accept", "text/plain")
			res, err := api.Do(ask)
			if err != nil {
				return nil, err
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			return protocol.NewToolResultText(res.Status + " " + string(text)), err
		})
	run := func() *protocol.CallToolResult {
		t.Helper()
		req := protocol.CallToolRequest{}
		req.Params.Arguments = map[string]any{"repo": "latchpost"}
		res, err := star.Handler(WithCaller(t.Context(), auth.Caller{Owner: auth.Owner{User: "ada"}, Client: "app"}), req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if text := run().Content[0].(protocol.TextContent).Text; text != "200 OK hello" {
		t.Errorf("answered %q", text)
	}
	if c := broker.lastCaller(); c.User != "ada" || c.Client != "app" {
		t.Errorf("called for %+v", c)
	}
	sent := broker.calls[0]
	if sent.Method != "PUT" || sent.URL != "https://api.example/star/latchpost?a=b" || sent.Account != "ada" || string(sent.Body) != "body" || sent.Headers["Accept"] != "text/plain" {
		t.Errorf("sent %+v", sent)
	}

	kind := func(res *protocol.CallToolResult) any {
		var got map[string]any
		if err := json.Unmarshal(res.StructuredContent.(json.RawMessage), &got); err != nil {
			t.Fatal(err)
		}
		if got["type"] == "error" {
			return got["code"]
		}
		return got["type"]
	}
	broker.call = func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) {
		return &auth.Response{Status: 200, Body: []byte("a piece"), Truncated: true}, nil
	}
	piece, err := (&http.Client{Transport: brokered{broker: broker}}).Get("https://api.example/")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(piece.Body); string(text) != "a piece" || !errors.Is(err, io.ErrUnexpectedEOF) || piece.ContentLength != -1 {
		t.Errorf("an answer that was cut: %q, %v, length %d", text, err, piece.ContentLength)
	}
	// Half way, through http.Client's own wrapping.
	broker.call = func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) { return nil, link("practice") }
	if got := kind(run()); got != "auth_required" {
		t.Errorf("more scopes wanted: %v", got)
	}
	broker.call = func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) {
		return nil, errors.New("CANARY")
	}
	if got := kind(run()); got != "internal" {
		t.Errorf("an error of its own: %v", got)
	}
	broker.get = func(auth.Need) (*auth.Handle, error) { return nil, link("practice") }
	if got := kind(run()); got != "auth_required" {
		t.Errorf("no connection: %v", got)
	}
}
