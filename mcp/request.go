package mcp

import (
	"context"
	"errors"

	"github.com/latchpost/latchpost/auth"
)

var requestAuth = tool{
	name: "request_auth", title: "Connect an account",
	description: "Makes sure that an account at a provider is connected. Answers connected, or auth_required with a link: show the user its url and match_code, then call wait_for_auth. " +
		"Ask only for the scopes you need; without scopes the provider's defaults are asked.",
	scope: ScopeConnect,
	input: `{"type":"object","additionalProperties":false,"required":["provider"],"properties":{` + providerArg + `,` + scopesArg + `,` + accountArg + `,` +
		`"method":{"type":"string","enum":["oauth_code","device_code","client_credentials","api_key","browser"],"description":"How to sign in; the provider's first way when absent"},` + waitArg + `}}`,
	output:  connectionOutput,
	repeats: true,
	card:    true,
	run:     (*Server).requestAuth,
}

// Arguments that several tools take.
const (
	providerArg = `"provider":{"type":"string","maxLength":64,"description":"Provider id from list_providers, such as github"}`
	scopesArg   = `"scopes":{"type":"array","maxItems":100,"items":{"type":"string","maxLength":256},"description":"Scopes that the work needs"}`
	accountArg  = `"account":{"type":"string","maxLength":256,"description":"Label from list_connections; needed only when there are several"}`
	waitArg     = `"wait_seconds":{"type":"integer","minimum":0,"maximum":25,"description":"Wait so long for the user before answering; 0 when absent"}`
)

// connected is the answer when an account is there to be used.
type connected struct {
	Type       string     `json:"type"` // connected
	Connection connection `json:"connection"`
	Message    string     `json:"message"`
}

func (s *Server) requestAuth(ctx context.Context, c call) (any, error) {
	var args struct {
		Provider string   `json:"provider"`
		Scopes   []string `json:"scopes"`
		Account  string   `json:"account"`
		Method   string   `json:"method"`
		Wait     whole    `json:"wait_seconds"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if err := required("provider", args.Provider); err != nil {
		return nil, err
	}
	wait, err := waiting(args.Wait)
	if err != nil {
		return nil, err
	}
	info, err := s.broker.Request(ctx, c.Caller, auth.Wish{Provider: args.Provider, Scopes: args.Scopes, Account: args.Account, Method: args.Method})
	if link, ok := errors.AsType[*auth.AuthRequired](err); ok && wait > 0 && !c.elicits && !c.asked {
		status, waitErr := s.wait(ctx, c, link.RequestID, wait)
		if waitErr != nil {
			return nil, waitErr
		}
		if status.Status == auth.StatusPending {
			return nil, link
		}
		if status.Status != auth.StatusConnected || status.Connection == nil {
			return waited(status), nil
		}
		info, err = status.Connection, nil
	}
	if err != nil {
		return nil, err
	}
	return connected{"connected", shown(*info), "Connected. Use it with call_api."}, nil
}
