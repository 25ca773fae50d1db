package auth

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/latchpost/latchpost/providers"
)

// Revoke tells the provider that the tokens of cred are dead (RFC 7009, or the
// provider's own way): the refresh token first, for it could make new ones. A token
// that the provider does not know any more counts as revoked, unless it stands for a
// refresh token that this provider cannot be told: that one may well live. The error
// is then errForgotten.
func (o *OAuth) Revoke(ctx context.Context, f *Flow, cred *Credential) (told bool, err error) {
	found, err := o.discover(ctx, f)
	if err != nil {
		return false, err
	}
	own := f.Provider.OAuth2.Revoke
	f = found
	e := f.Provider.OAuth2.Revoke
	if e == nil || e.URL == "" {
		return false, nil
	}
	if own == nil || own.URL == "" { // the definition's own is what the connection is bound to
		if err := unmoved(f, cred, e.URL); err != nil {
			return false, err
		}
	}
	for _, subject := range subjects(e, cred) {
		done, err := o.revokeOne(ctx, f, *e, cred, subject)
		forgotten := errors.Is(err, errForgotten)
		switch {
		case forgotten && e.Token == "access" && !cred.RefreshToken.Empty():
			return false, ErrUnavailable.Say("%s does not know the access token any more, and takes no other word for the end of a sign-in; end it on its own site", f.Provider.Name).Because(err)
		case err != nil && !forgotten:
			return false, err
		}
		told = told || done || forgotten
	}
	return told, nil
}

// errForgotten marks a token that the provider does not know, or not any more.
var errForgotten = errors.New("the provider does not know the token")

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

// readRevocation tells success from the rest. An error code says that the token is dead already (errForgotten), that this
// kind cannot be revoked (RFC 7009 section 2.2.1), or that it should be tried again.
func readRevocation(f *Flow, e providers.Endpoint, a *answer, secrets []Secret) (done bool, err error) {
	success := a.Status >= 200 && a.Status <= 299
	switch {
	case slices.Contains(e.OK, a.Status) && !success:
		return false, errForgotten
	case slices.Contains(e.OK, a.Status), len(e.OK) == 0 && success && confirms(f, a, secrets):
		return true, nil
	}
	doc, isJSON, err := understand(a)
	if err != nil {
		return false, noAnswer(f.Provider, a, err)
	}
	code, _ := refusedCode(f.Provider.OAuth2, a, doc)
	err = refusal(f.Provider, a, doc, isJSON, secrets)
	switch {
	case errors.Is(err, ErrReauth) && !slices.Contains(personCodes, code), a.Status < 500 && code == "invalid_token", e.Auth == "bearer" && a.Status == http.StatusUnauthorized:
		return false, errForgotten
	case a.Status < 500 && code == "unsupported_token_type":
		return false, nil
	case err == nil: // no word that it failed, and none that it was done
		return false, ErrUnavailable.Say("%s did not confirm the revocation (status %d); it is tried again", f.Provider.Name, a.Status)
	}
	return false, err
}

// confirms reports whether nothing in a 2xx answer speaks against it. It has no body, or a JSON object without an error and
// without a false: ok, success, revoked, each provider calls it otherwise. A page comes from somebody in between.
func confirms(f *Flow, a *answer, secrets []Secret) bool {
	if len(bytes.TrimSpace(a.Body)) == 0 {
		return true
	}
	doc, isJSON, err := understand(a)
	if err != nil || !isJSON || refusal(f.Provider, a, doc, isJSON, secrets) != nil {
		return false
	}
	object, _ := doc.root.(map[string]any)
	return !slices.Contains(slices.Collect(maps.Values(object)), any(false))
}
