package mcp

import (
	"context"

	"github.com/latchpost/latchpost/auth"
)

var getCredential = tool{
	name: "get_credential", title: "Get a credential",
	description: "Gives a handle for a connected account, with its scopes and expiry. The handle is a name for call_api and for Latchpost's command line, not a secret. " +
		"The credential itself comes along only where the owner has granted release to you. Prefer call_api: it needs no release.",
	scope: ScopeUse,
	input: `{"type":"object","additionalProperties":false,"required":["provider"],"properties":{` + providerArg + `,` + accountArg + `,` + scopesArg + `,` +
		`"raw":{"type":"boolean","description":"true asks the owner to let you have the credential itself, when nothing but that will do; the answer is approval_required until the owner agrees"},` +
		`"form":{"type":"string","enum":["storage_state","cookies_txt","cookie_header"],"description":"Of a released browser session; storage_state when absent. Leave it out for tokens and keys, which have one form only"},` +
		`"url":{"type":"string","maxLength":8192,"description":"With form cookie_header: the URL that the header is for"}}}`,
	output:  `"handle":{"type":"string"},` + connectionOutput + `,"credential":` + credentialSchema,
	repeats: true,
	run:     (*Server).getCredential,
}

const credentialSchema = `{"type":"object","description":"Only under a release grant","required":["type","warning"],"properties":{` +
	`"type":{"type":"string"},"value":{"type":"string"},"fields":{"type":"object","additionalProperties":{"type":"string"}},` +
	`"expires_at":{"type":"string"},"warning":{"type":"string"}}}`

type credentialAnswer struct {
	Type       string      `json:"type"` // credential
	Handle     string      `json:"handle"`
	Connection connection  `json:"connection"`
	Credential *credential `json:"credential,omitempty"`
	Message    string      `json:"message"`
}

// credential is a raw one, on its way to a client that the owner trusts with it.
type credential struct {
	Type      string            `json:"type"`
	Value     string            `json:"value,omitempty"`
	Fields    map[string]string `json:"fields,omitempty"`
	ExpiresAt string            `json:"expires_at,omitempty"`
	Warning   string            `json:"warning"`
}

func (s *Server) getCredential(ctx context.Context, c call) (any, error) {
	var args struct {
		Provider string   `json:"provider"`
		Account  string   `json:"account"`
		Scopes   []string `json:"scopes"`
		Raw      bool     `json:"raw"`
		Form     string   `json:"form"`
		URL      string   `json:"url"`
	}
	if err := c.read(&args); err != nil {
		return nil, err
	}
	if err := required("provider", args.Provider); err != nil {
		return nil, err
	}
	if (args.URL != "") != (args.Form == "cookie_header") {
		return nil, auth.ErrInvalid.Say("url and form cookie_header go together; give both or neither")
	}
	handle, err := s.broker.Get(ctx, c.Caller, auth.Need{
		Provider: args.Provider, Account: args.Account, Scopes: args.Scopes, Raw: args.Raw, Form: args.Form, URL: args.URL,
	})
	if err != nil {
		return nil, err
	}
	answer := credentialAnswer{
		Type: "credential", Handle: visible(handle.Handle, 400), Connection: shown(handle.Info),
		Message: "Connected. Use it with call_api; the credential itself stays with Latchpost.",
	}
	if handle.Released != nil {
		answer.Credential = revealed(handle.Released)
		answer.Message = "Connected. This answer holds the credential itself: keep it out of messages, files and logs."
	}
	return answer, nil
}

// revealed is the one place of this package where a secret leaves auth.Secret.
func revealed(r *auth.Released) *credential {
	out := &credential{Type: r.Type, Value: r.Value.Reveal(), ExpiresAt: stamp(r.ExpiresAt), Warning: r.Warning}
	for name, part := range r.Fields {
		if out.Fields == nil {
			out.Fields = map[string]string{}
		}
		out.Fields[name] = part.Reveal()
	}
	return out
}
