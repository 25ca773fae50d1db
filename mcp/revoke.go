package mcp

import (
	"context"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

var revoke = tool{
	name: "revoke", title: "Disconnect an account",
	description: "Ends a connection: Latchpost forgets the credential and tells the provider, where that is possible. Or cancels a pending request by its request_id. It cannot be undone; ask the user first.",
	scope:       ScopeRevoke,
	input: `{"type":"object","additionalProperties":false,"properties":{` + providerArg + `,` + accountArg + `,` +
		`"request_id":{"type":"string","maxLength":64,"description":"Of a pending request, instead of provider"}}}`,
	output: `"connections":{"type":"array","items":{"type":"object","required":["provider_id","account","at_provider"],"properties":{` +
		`"provider_id":{"type":"string"},"account":{"type":"string"},` +
		`"at_provider":{"type":"string","enum":["revoked","unknown","local_only"],"description":"unknown: the provider has not confirmed it yet, Latchpost keeps trying"}}}}`,
	destroys: true, repeats: true,
	run: (*Server).revoke,
}

type revoked struct {
	Type        string              `json:"type"` // revoked
	Connections []revokedConnection `json:"connections"`
	RequestID   string              `json:"request_id,omitempty"`
	Message     string              `json:"message"`
}

type revokedConnection struct {
	ProviderID string `json:"provider_id"`
	Account    string `json:"account"`
	AtProvider string `json:"at_provider"`
}

func (s *Server) revoke(ctx context.Context, c call) (any, error) {
	var args struct {
		Provider  string `json:"provider"`
		Account   string `json:"account"`
		RequestID string `json:"request_id"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if (args.Provider == "") == (args.RequestID == "") {
		return nil, auth.ErrInvalid.Say("give either provider (and account) or request_id")
	}
	done, err := s.broker.Revoke(ctx, c.Caller, auth.Unwanted{Provider: args.Provider, Account: args.Account, RequestID: args.RequestID})
	if err != nil {
		return nil, err
	}
	answer := revoked{Type: "revoked", Connections: []revokedConnection{}, RequestID: done.Request}
	var said []string
	for _, gone := range done.Connections {
		answer.Connections = append(answer.Connections, revokedConnection{gone.Provider, clean(gone.Account, 120), gone.AtProvider})
		said = append(said, clean(gone.Account, 120)+" at "+gone.Provider+" "+fates[gone.AtProvider])
	}
	if done.Request != "" {
		said = append(said, "the pending request is cancelled")
	}
	answer.Message = strings.Join(said, "; ") + "."
	if said == nil {
		answer.Message = "There was nothing to end."
	}
	return answer, nil
}

var fates = map[string]string{
	auth.AtProviderRevoked: "is disconnected, and the provider has confirmed that it is revoked there",
	auth.AtProviderUnknown: "is disconnected; the provider has not confirmed it yet, Latchpost keeps trying",
	auth.LocalOnly:         "is disconnected here; the provider has no way to be told, so it may be ended in the account's settings there",
}
