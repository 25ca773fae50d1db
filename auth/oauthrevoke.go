package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/latchpost/latchpost/providers"
)

// Revoke tells the provider that the tokens of cred are dead (RFC 7009, or the
// provider's own way): the refresh token first, for it could make new ones. A token
// that the provider does not know any more counts as revoked.
func (o *OAuth) Revoke(ctx context.Context, f *Flow, cred *Credential) (told bool, err error) {
	f, err = o.discover(ctx, f)
	if err != nil {
		return false, err
	}
	e := f.Provider.OAuth2.Revoke
	if e == nil || e.URL == "" {
		return false, nil
	}
	if err := unmoved(f, cred); err != nil {
		return false, err
	}
	for _, subject := range subjects(e, cred) {
		done, err := o.revokeOne(ctx, f, *e, cred, subject)
		if err != nil {
			return false, err
		}
		told = told || done
	}
	return told, nil
}

// subject is one token to revoke.
type subject struct {
	kind  string // token_type_hint
	token Secret
}

// subjects lists what to revoke, in order. Where the definition says nothing, and at an RFC 7009 endpoint,
// that is both: an access token may outlive its refresh token.
func subjects(e *providers.Endpoint, c *Credential) []subject {
	refresh, access := subject{"refresh_token", c.RefreshToken}, subject{"access_token", c.AccessToken}
	var all []subject
	switch {
	case e.Token == "access" || c.RefreshToken.Empty():
		all = []subject{access}
	case e.Token == "both" || e.Token == "" && standardRevoke(e):
		all = []subject{refresh, access}
	default:
		all = []subject{refresh}
	}
	return slices.DeleteFunc(all, func(s subject) bool { return s.token.Empty() })
}

// standardRevoke reports whether an endpoint takes requests as RFC 7009 section 2.1 has them.
func standardRevoke(e *providers.Endpoint) bool {
	return e.Names["token"] == "" && (e.Method == "" || e.Method == http.MethodPost) && bodyForm(*e) == "form" && e.Auth != "bearer"
}

func (o *OAuth) revokeOne(ctx context.Context, f *Flow, e providers.Endpoint, cred *Credential, s subject) (done bool, err error) {
	values := credentialValues(f, cred)
	values["token"] = s.token.Reveal()
	r := tokenRequest{endpoint: e, values: values, subject: s.token, nameless: e.Auth == "none" && !f.Client.Empty()}
	if e.Body != "none" {
		r.params = url.Values{"token": {s.token.Reveal()}}
		if standardRevoke(&e) {
			r.params.Set("token_type_hint", s.kind)
		}
	}
	a, err := o.send(ctx, f, r)
	if err != nil {
		return false, err
	}
	return readRevocation(f, e, a, append(cred.Secrets(), f.Client))
}

// readRevocation tells success from the rest. An error code says that the token is dead already, that this kind
// cannot be revoked (RFC 7009 section 2.2.1), or that it should be tried again.
func readRevocation(f *Flow, e providers.Endpoint, a *answer, secrets []Secret) (done bool, err error) {
	if len(e.OK) > 0 {
		if slices.Contains(e.OK, a.Status) {
			return true, nil
		}
	} else if a.Status >= 200 && a.Status <= 299 {
		if doc, isJSON, err := understand(a); err != nil || refusal(f.Provider, a, doc, isJSON, secrets) == nil {
			return true, nil // any body will do, unless it says that it failed
		}
	}
	doc, isJSON, err := understand(a)
	if err != nil {
		return false, noAnswer(f.Provider, a, err)
	}
	code, _ := refusedCode(f.Provider.OAuth2, a, doc)
	err = refusal(f.Provider, a, doc, isJSON, secrets)
	switch {
	case errors.Is(err, ErrReauth), a.Status < 500 && code == "invalid_token":
		return true, nil
	case a.Status < 500 && code == "unsupported_token_type":
		return false, nil
	case err == nil: // a status that the definition does not call success, and no word about it
		return false, ErrUnavailable.Say("%s did not confirm the revocation (status %d)", f.Provider.Name, a.Status)
	}
	return false, err
}
