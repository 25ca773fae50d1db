package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// signingAlgs are asymmetric all: neither "none" nor a public key taken for a shared one gets through.
var signingAlgs = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

const clockLeeway = time.Minute

// identify verifies the ID token of a sign-in that asked for openid, where the server
// publishes its keys, and gives its claims (OpenID Connect Core section 3.1.3.7). They name the account and nothing
// else. Without a token, or without keys to check it, there are no claims. One that does not verify is a refusal.
func (o *OAuth) identify(ctx context.Context, f *Flow, t *tokens, nonce string) (document, error) {
	raw, ok := t.doc.at("id_token").(string)
	if !ok || raw == "" || nonce == "" || f.Provider.OAuth2.Discovery == "" {
		return document{}, nil
	}
	m, err := o.metadata(ctx, f)
	if err != nil || m.JWKS == "" {
		return document{}, err
	}
	ctx = oidc.ClientContext(ctx, &http.Client{Transport: o.Out.RoundTripper(backBody), Timeout: backTime})
	verifier := oidc.NewVerifier(m.Issuer, oidc.NewRemoteKeySet(ctx, m.JWKS), &oidc.Config{
		ClientID: f.ClientID, SupportedSigningAlgs: signingAlgs,
		SkipIssuerCheck: m.Issuer != f.Provider.OAuth2.Issuer, // a template, compared below
		Now:             func() time.Time { return f.Now.Add(-clockLeeway) },
	})
	claims, err := verified(ctx, f, verifier, raw, nonce)
	if err != nil {
		return document{}, ErrRefused.Say("%s sent an identity that does not verify; nothing was stored, ask the agent for a new link", f.Provider.Name).Because(err)
	}
	return claims, nil
}

// verified checks what the library leaves to its caller: nonce, azp, iat and an issuer template.
func verified(ctx context.Context, f *Flow, verifier *oidc.IDTokenVerifier, raw, nonce string) (document, error) {
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return document{}, err
	}
	var payload json.RawMessage
	if err := token.Claims(&payload); err != nil {
		return document{}, err
	}
	claims, err := parseDocument(payload)
	if err != nil {
		return document{}, err
	}
	azp := claims.text("azp")
	def := f.Provider.OAuth2
	switch {
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1:
		return document{}, errors.New("the nonce is not ours")
	case azp != "" && azp != f.ClientID, len(token.Audience) > 1 && azp == "":
		return document{}, errors.New("it was issued to another client")
	case token.IssuedAt.After(f.Now.Add(clockLeeway)):
		return document{}, errors.New("it was issued in the future")
	case token.Issuer != def.Issuer && !fitsTemplate(def.IssuerTemplate, token.Issuer):
		return document{}, errors.New("another issuer made it")
	}
	return claims, nil
}

// errStranger marks the answer to a refresh that is about another account.
var errStranger = errors.New("the identity in the answer is another account's")

// strange reports whether the answer to a refresh names another account than the sign-in did (OpenID Connect Core section
// 12.2). It came from the token endpoint itself, which stands for the signature (section 3.1.3.7).
func strange(f *Flow, t *tokens) bool {
	id := f.Provider.Identity
	if f.Provider.OAuth2.Discovery == "" || id != nil && id.URL != "" && id.ID != "sub" || // or the account has its id from elsewhere
		f.Connection == nil || f.Connection.AccountID == "" || strings.HasPrefix(f.Connection.AccountID, namedOnly) {
		return false
	}
	_, rest, _ := strings.Cut(t.doc.text("id_token"), ".")
	encoded, _, _ := strings.Cut(rest, ".")
	payload, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return false
	}
	claims, err := parseDocument(payload)
	sub := claims.text("sub")
	return err == nil && sub != "" && sub != f.Connection.AccountID
}
