package mcp

import (
	"context"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

// opener is a host whose user opens every link.
type opener struct{ asked []string }

func (o *opener) Elicit(_ context.Context, req protocol.ElicitationRequest) (*protocol.ElicitationResult, error) {
	o.asked = append(o.asked, req.Params.URL)
	return &protocol.ElicitationResult{ElicitationResponse: protocol.ElicitationResponse{Action: protocol.ElicitationResponseActionAccept}}, nil
}

// mcp-go's own client, in process, in both generations.
func TestInProcessClient(t *testing.T) {
	for _, modern := range []bool{true, false} {
		host := &opener{}
		opts := []client.ClientOption{client.WithElicitationHandler(host),
			client.WithClientCapabilities(protocol.ClientCapabilities{Elicitation: &protocol.ElicitationCapability{URL: &struct{}{}}})}
		if !modern {
			opts = append(opts, client.WithLegacyProtocolOnly()) //lint:ignore SA1019 the older generations are what is tested here
		}
		agent, err := client.NewInProcessClientWithOptions(New(person(), Options{}).core, opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer agent.Close()
		if err := agent.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.Initialize(t.Context(), protocol.InitializeRequest{Params: protocol.InitializeParams{ClientInfo: protocol.Implementation{Name: "in process"}}}); err != nil {
			t.Fatal(err)
		}
		res, err := agent.CallTool(t.Context(), protocol.CallToolRequest{Params: protocol.CallToolParams{Name: "request_auth", Arguments: map[string]any{"provider": "practice"}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.StructuredContent.(map[string]any); got["type"] != "connected" || len(host.asked) != 1 || host.asked[0] != "http://127.0.0.1:7823/c/REQpractice" {
			t.Errorf("modern %v: %v after asking %v", modern, got, host.asked)
		}
	}
}

// A client with a token is who the token says. What it calls itself is told on, and decides nothing.
func TestClientsThatHaveAToken(t *testing.T) {
	for name, want := range map[string]string{"Claude\u202e Code": "Claude Code", "agent": "", "": ""} {
		broker := &fake{}
		host, err := client.NewInProcessClient(New(broker, Options{}).core)
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		ctx := WithCaller(t.Context(), auth.Caller{Owner: auth.Owner{User: "ada"}, Client: "agent", Verified: true, Scopes: Scopes})
		if err := host.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := host.Initialize(ctx, protocol.InitializeRequest{Params: protocol.InitializeParams{ClientInfo: protocol.Implementation{Name: name}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := host.CallTool(ctx, protocol.CallToolRequest{Params: protocol.CallToolParams{Name: "list_connections"}}); err != nil {
			t.Fatal(err)
		}
		if got := broker.lastCaller(); got.Client != "agent" || got.ClientName != want {
			t.Errorf("%q: %q, which calls itself %q, want %q", name, got.Client, got.ClientName, want)
		}
	}
}

// A host that calls itself as Latchpost does on record gets neither the grants of that name nor the owner's line in the activity.
func TestNoClientGoesByOurNames(t *testing.T) {
	for name, want := range map[string]string{
		"owner": "agent owner", "OWNER\u200b": "agent OWNER", "\u043ewner": "agent \u043ewner", "Latchpost  Command-Line": "agent Latchpost  Command-Line",
		"home owner": "home owner", "": "unnamed client",
	} {
		broker := &fake{}
		host, err := client.NewInProcessClient(New(broker, Options{}).core)
		if err != nil {
			t.Fatal(err)
		}
		defer host.Close()
		if err := host.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := host.Initialize(t.Context(), protocol.InitializeRequest{Params: protocol.InitializeParams{ClientInfo: protocol.Implementation{Name: name}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := host.CallTool(t.Context(), protocol.CallToolRequest{Params: protocol.CallToolParams{Name: "list_connections"}}); err != nil {
			t.Fatal(err)
		}
		if got := broker.lastCaller(); got.Client != want || got.Verified {
			t.Errorf("%q goes by %q, want %q", name, got.Client, want)
		}
	}
}
