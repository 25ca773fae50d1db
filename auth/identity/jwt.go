package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/latchpost/latchpost/auth"
)

// algorithms are asymmetric all, so that neither "none" nor a public key taken for a
// shared secret gets through (RFC 8725 section 3.1).
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.EdDSA}

// leeway is how far the issuer's clock may be ahead of ours. There is none after the
// expiry: a token that the issuer calls dead is dead.
const leeway = time.Minute

// claims are what a verified JWT says. They were read by go-jose's JSON decoder, which
// tells "Sub" from "sub" and refuses a name that is there twice; encoding/json, and so
// go-oidc, would let a user-defined claim "Sub" stand for the subject.
type claims struct {
	jwt.Claims
	typ string // of the header, in lower case, without "application/"
	all map[string]any
}

// text gives a claim that is a string, or "".
func (c claims) text(name string) string {
	s, _ := c.all[name].(string)
	return s
}

func (c claims) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { _, ok := c.all[name]; return ok })
}

// caller checks an access token (RFC 9068 section 4).
func (s *Issuer) caller(ctx context.Context, token string) (auth.Caller, error) {
	c, err := s.verify(ctx, token, s.Resource)
	if err != nil {
		return auth.Caller{}, err
	}
	if err := c.isAccessToken(); err != nil {
		return auth.Caller{}, err
	}
	caller := auth.Caller{Verified: true, Scopes: c.scopes()}
	if caller.Owner, err = s.owner(c); err != nil {
		return auth.Caller{}, err
	}
	for _, name := range []string{"client_id", "azp", "cid", "appid"} { // RFC 9068, Keycloak and Auth0, Okta, Entra v1
		if caller.Client == "" {
			caller.Client = c.text(name)
		}
	}
	if !isName(caller.Client) {
		return auth.Caller{}, errors.New("it does not say which client it was issued to")
	}
	if auth.OursAlone(caller.Client) {
		return auth.Caller{}, errors.New("its client has a name that Latchpost itself goes by on record")
	}
	return caller, nil
}

// person checks the ID token of a sign-in (OpenID Connect Core section 3.1.3.7).
func (s *Issuer) person(ctx context.Context, token, nonce string) (auth.Owner, error) {
	if len(token) > maxToken {
		return auth.Owner{}, errors.New("the ID token is longer than 16 KiB")
	}
	c, err := s.verify(ctx, token, s.ClientID)
	azp := c.text("azp")
	switch {
	case err != nil:
		return auth.Owner{}, err
	case c.typ != "" && c.typ != "jwt":
		return auth.Owner{}, fmt.Errorf("a token of type %q is no ID token", c.typ)
	case subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(nonce)) != 1:
		return auth.Owner{}, errors.New("the nonce is not ours")
	case azp != "" && azp != s.ClientID, len(c.Audience) > 1 && azp == "":
		return auth.Owner{}, errors.New("it was issued to another client")
	}
	return s.owner(c)
}

// verify checks what access and ID tokens have in common: form, algorithm, signature,
// issuer, audience and times.
func (s *Issuer) verify(ctx context.Context, token, audience string) (claims, error) {
	parsed, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return claims{}, err
	}
	header := parsed.Headers[0]
	keys, err := s.keys(ctx, header)
	if err != nil {
		return claims{}, err
	}
	c := claims{typ: typeOf(header)}
	err = errors.New("the issuer has no such key")
	for _, key := range keys {
		if err = parsed.Claims(key, &c.Claims, &c.all); err == nil {
			break
		}
	}
	if err != nil {
		return claims{}, err
	}
	now := clock(s.Now)
	if !now.Before(c.Expiry.Time()) { // without an expiry this is the zero time
		return claims{}, auth.ErrExpired.Because(jwt.ErrExpired)
	}
	return c, c.ValidateWithLeeway(jwt.Expected{Issuer: s.URL, AnyAudience: jwt.Audience{audience}, Time: now}, leeway)
}

// typeOf gives the header "typ" (RFC 7515 section 4.1.9).
func typeOf(header jose.Header) string {
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// isAccessToken refuses the other things that an issuer signs. Many issuers do not yet
// write the type of RFC 9068, so without it the marks of the others must be missing.
func (c claims) isAccessToken() error {
	kind := strings.ToLower(c.text("typ"))
	switch {
	case c.has("cnf"):
		return errors.New("it is bound to a key and cannot be used as a bearer token (RFC 9449 section 7.1)")
	case c.typ == "at+jwt":
		return nil
	case c.typ != "" && c.typ != "jwt":
		return fmt.Errorf("a token of type %q is no access token", c.typ)
	case c.has("nonce", "at_hash", "c_hash", "s_hash"), kind == "id", c.text("token_use") == "id":
		return errors.New("it is an ID token")
	case c.has("events"), kind != "" && kind != "bearer": // Keycloak: Refresh, Offline, Logout
		return errors.New("it is no access token")
	}
	return nil
}

// scopes are never nil, because nil would mean all.
func (c claims) scopes() []string {
	scopes := append([]string{}, strings.Fields(c.text("scope")+" "+c.text("scp"))...)
	if list, ok := c.all["scp"].([]any); ok {
		for _, v := range list {
			if s, ok := v.(string); ok {
				scopes = append(scopes, s)
			}
		}
	}
	return scopes
}
