package mcp

import (
	"context"
	"fmt"

	"github.com/latchpost/latchpost/auth"
)

var listConnections = tool{
	name: "list_connections", title: "List connections",
	description: "Lists the connected accounts: state, scopes, expiry, and what you may do with each. Never a secret.",
	scope:       ScopeUse,
	input:       `{"type":"object","additionalProperties":false,"properties":{` + providerArg + `}}`,
	output:      `"connections":{"type":"array","items":` + connectionSchema + `}`,
	reads:       true, repeats: true, local: true,
	run: (*Server).listConnections,
}

// connection is what may be told about one: never a secret.
type connection struct {
	ProviderID       string   `json:"provider_id"`
	ProviderName     string   `json:"provider_name,omitempty"`
	Account          string   `json:"account"`
	AuthMethod       string   `json:"auth_method"`
	State            string   `json:"state"`
	Cause            string   `json:"cause,omitempty"`
	Scopes           []string `json:"scopes"`
	MissingScopes    []string `json:"missing_scopes,omitempty"`
	Hosts            []string `json:"hosts,omitempty"`
	Access           string   `json:"access,omitempty"`
	Release          bool     `json:"release,omitempty"`
	CreatedAt        string   `json:"created_at,omitempty"`
	ExpiresAt        string   `json:"expires_at,omitempty"`
	RefreshExpiresAt string   `json:"refresh_expires_at,omitempty"`
	LastUsedAt       string   `json:"last_used_at,omitempty"`
}

const (
	connectionSchema = `{"type":"object","required":["provider_id","account","auth_method","state","scopes"],"properties":{` +
		`"provider_id":{"type":"string"},"provider_name":{"type":"string"},"account":{"type":"string"},"auth_method":{"type":"string"},` +
		`"state":{"type":"string","enum":["active","expiring","needs_reauth","provider_down","revoked"]},"cause":{"type":"string"},` +
		`"scopes":{"type":"array","items":{"type":"string"}},"missing_scopes":{"type":"array","items":{"type":"string"}},` +
		`"hosts":{"type":"array","items":{"type":"string"},"description":"Where call_api may go"},` +
		`"access":{"type":"string","description":"What you may do with call_api: read or write"},` +
		`"release":{"type":"boolean","description":"get_credential gives the credential itself"},` +
		`"created_at":{"type":"string"},"expires_at":{"type":"string"},"refresh_expires_at":{"type":"string","description":"When the user has to sign in again"},` +
		`"last_used_at":{"type":"string"}}}`
	connectionOutput = `"connection":` + connectionSchema
)

func shown(i auth.Info) connection {
	return connection{
		ProviderID: i.Provider, ProviderName: clean(i.ProviderName, 80), Account: clean(i.Account, 120), AuthMethod: i.Method,
		State: string(i.State), Cause: word(i.Cause), Scopes: list(i.Scopes), MissingScopes: i.Missing, Hosts: i.Hosts,
		Access: i.Access, Release: i.Release, CreatedAt: stamp(i.CreatedAt), ExpiresAt: stamp(i.ExpiresAt),
		RefreshExpiresAt: stamp(i.RefreshExpiresAt), LastUsedAt: stamp(i.LastUsedAt),
	}
}

type connectionsAnswer struct {
	Type        string       `json:"type"` // connections
	Connections []connection `json:"connections"`
	Message     string       `json:"message"`
}

func (s *Server) listConnections(ctx context.Context, c call) (any, error) {
	var args struct {
		Provider string `json:"provider"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	found, err := s.broker.List(ctx, c.Caller, args.Provider)
	if err != nil {
		return nil, err
	}
	answer := connectionsAnswer{Type: "connections", Connections: make([]connection, len(found))}
	for i, info := range found {
		answer.Connections[i] = shown(info)
	}
	answer.Message = fmt.Sprintf("%d connected.", len(found))
	if len(found) == 0 {
		answer.Message = "Nothing is connected. request_auth connects an account."
	}
	return answer, nil
}
