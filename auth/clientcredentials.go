package auth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// ClientCredentials gets a token for the OAuth app itself (RFC 6749 section 4.4).
// There is no person to ask: Begin gives an empty Step, and Finish follows at once. The token is for
// whoever registered the app, see Vault.app.
type ClientCredentials struct{ *OAuth }

// Method is MethodClientCredentials.
func (ClientCredentials) Method() string { return MethodClientCredentials }

// Begin has nothing for the person to do.
func (ClientCredentials) Begin(context.Context, *Flow) (Step, error) { return Step{}, nil }

// Finish asks for the first token.
func (c ClientCredentials) Finish(ctx context.Context, f *Flow, _ Input) (*Outcome, error) {
	f, err := c.discover(ctx, f)
	if err != nil {
		return nil, err
	}
	a, err := c.request(ctx, f, askedScopes(f))
	if err != nil {
		return nil, err
	}
	t, err := readTokens(f, a, []Secret{f.Client})
	if err != nil {
		return nil, asRefusal(err)
	}
	out, err := c.connect(ctx, f, t, &callback{}, "")
	if err != nil {
		return out, err
	}
	if out.Account == "" {
		out.Account = label(f.ClientID, nil)
	}
	return out, nil
}

// Renews is always true: the OAuth app itself is all it takes.
func (ClientCredentials) Renews(*providers.Provider, *Credential) bool { return true }

// Refresh asks anew, once: a client's own token needs no refresh token.
func (c ClientCredentials) Refresh(ctx context.Context, f *Flow, old *Credential) ([]byte, error) {
	f, err := c.discover(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := unmoved(f, old, f.Provider.OAuth2.Token.URL); err != nil {
		return nil, err
	}
	a, err := c.request(ctx, f, f.Connection.Scopes)
	if err != nil {
		return nil, err
	}
	return a.encode()
}

// Refreshed reads the answer. What an OAuth server calls a dead grant is here an app
// that is no longer welcome, which no person can mend by signing in.
func (c ClientCredentials) Refreshed(f *Flow, old *Credential, answer []byte, sentAt time.Time) (*Outcome, error) {
	out, err := c.OAuth.Refreshed(f, old, answer, sentAt)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == ErrReauth.Code {
		return nil, ErrConfig.Say("%s refuses the OAuth app; the operator has to correct its registration", f.Provider.Name).Because(e)
	}
	return out, err
}

func (c ClientCredentials) request(ctx context.Context, f *Flow, scopes []string) (*answer, error) {
	params := url.Values{"grant_type": {"client_credentials"}}
	if f.Provider.OAuth2.Scopes.Sep != "" {
		if err := addScopes(f.Provider, params, scopes); err != nil {
			return nil, err
		}
	}
	if err := addResource(f, params); err != nil {
		return nil, err
	}
	return c.send(ctx, f, tokenRequest{endpoint: f.Provider.OAuth2.Token, params: params, values: credentialValues(f, nil)})
}
