package mcp

import (
	"context"
	"fmt"
)

var listProviders = tool{
	name: "list_providers", title: "List providers",
	description: "Lists the services that Latchpost can sign in to, how, and whether one is ready to use. Search with query.",
	input: `{"type":"object","additionalProperties":false,"properties":{` +
		`"query":{"type":"string","maxLength":100,"description":"Part of an id or a name"},` +
		`"method":{"type":"string","enum":["oauth_code","device_code","client_credentials","api_key","browser"],"description":"Only providers with this way to sign in"},` +
		`"limit":{"type":"integer","minimum":1,"maximum":100,"description":"At most so many; 20 when absent"}}}`,
	output: `"providers":{"type":"array","items":{"type":"object","required":["id","name","methods","scopes","ready"],"properties":{` +
		`"id":{"type":"string"},"name":{"type":"string"},"methods":{"type":"array","items":{"type":"string"}},` +
		`"scopes":{"type":"array","items":{"type":"string"},"description":"Asked for by default"},` +
		`"ready":{"type":"boolean"},"missing":{"type":"string","description":"What stands in the way, and what to do"},` +
		`"custom":{"type":"boolean","description":"Not from Latchpost's own catalogue"}}}}`,
	reads: true, repeats: true, local: true,
	run: (*Server).listProviders,
}

type providersAnswer struct {
	Type      string         `json:"type"` // providers
	Providers []providerLine `json:"providers"`
	Message   string         `json:"message"`
}

type providerLine struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Methods []string `json:"methods"`
	Scopes  []string `json:"scopes"`
	Ready   bool     `json:"ready"`
	Missing string   `json:"missing,omitempty"`
	Custom  bool     `json:"custom,omitempty"`
}

func (s *Server) listProviders(ctx context.Context, c call) (any, error) {
	args := struct {
		Query  string `json:"query"`
		Method string `json:"method"`
		Limit  whole  `json:"limit"`
	}{Limit: 20}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if err := between("limit", args.Limit, 1, 100); err != nil {
		return nil, err
	}
	found, err := s.broker.Providers(ctx, c.Caller, args.Query, args.Method, int(args.Limit))
	if err != nil {
		return nil, err
	}
	answer := providersAnswer{Type: "providers", Providers: make([]providerLine, len(found))}
	for i, p := range found {
		answer.Providers[i] = providerLine{p.ID, clean(p.Name, 80), list(p.Methods), list(p.Scopes), p.Ready, visible(p.Missing, maxText), p.Custom}
	}
	answer.Message = fmt.Sprintf("%d found. Connect one with request_auth, or use it at once with call_api.", len(found))
	if len(found) == 0 {
		answer.Message = "Nothing found. Try a shorter query, or none to see them all."
	}
	return answer, nil
}
