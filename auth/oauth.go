package auth

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// OAuth is what the OAuth connectors have in common: the way out, the discovery
// documents, and how a token is renewed and revoked. Make one and share it:
//
//	oauth := &auth.OAuth{Out: out}
//	connectors := []auth.Connector{auth.OAuthCode{OAuth: oauth}, auth.DeviceCode{OAuth: oauth}}
type OAuth struct {
	Out *egress.Client
	// Loopback lets a provider be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool

	documents documents
}

// Refresh sends the refresh request of RFC 6749 section 6, or the provider's own
// one, exactly once. The answer is not looked into; that is Refreshed's part. An error
// means that there is no answer: outcomeUnknown tells whether the provider may have acted.
func (o *OAuth) Refresh(ctx context.Context, f *Flow, old *Credential) ([]byte, error) {
	f, err := o.discover(ctx, f)
	if err != nil {
		return nil, err
	}
	if err := unmoved(f, old, f.Provider.OAuth2.Token.URL); err != nil {
		return nil, err
	}
	r, err := refreshRequest(f, old)
	if err != nil {
		return nil, err
	}
	answer, err := o.send(ctx, f, r)
	if err != nil {
		return nil, err
	}
	return answer.encode()
}

// Renews reports whether cred has what the definition renews with: a refresh token, or itself.
func (o *OAuth) Renews(p *providers.Provider, cred *Credential) bool { return renews(p, cred) }

func renews(p *providers.Provider, cred *Credential) bool {
	return p.OAuth2.Refresh.Grant == "exchange" || p.OAuth2.Refresh.Grant == "refresh_token" && !cred.RefreshToken.Empty()
}

// errFinal marks a credential that nothing can renew.
var errFinal = errors.New("there is no refresh token, or the provider renews nothing")

// errTooYoung marks a renewal for which the provider was not asked.
var errTooYoung = errors.New("the token is younger than its minimum age")

func refreshRequest(f *Flow, old *Credential) (tokenRequest, error) {
	def := f.Provider.OAuth2.Refresh
	r := tokenRequest{endpoint: refreshEndpoint(f.Provider.OAuth2.Token, def), values: credentialValues(f, old), subject: old.AccessToken}
	switch {
	case !renews(f.Provider, old):
		return r, signInAgain(causeEnded).Because(errFinal)
	case f.Connection != nil && def.MinAgeS > 0:
		if wait := f.Connection.IssuedAt.Add(seconds(def.MinAgeS)).Sub(f.Now); wait > 0 {
			return r, ErrUnavailable.Say("%s does not renew a token that young; try again later", f.Provider.Name).After(retrySeconds(wait)).Because(errTooYoung)
		}
	}
	if def.Grant == "exchange" {
		return r, nil
	}
	r.params = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.RefreshToken.Reveal()}}
	if def.RedirectURI {
		r.params.Set("redirect_uri", f.RedirectURI)
	}
	return r, addResource(f, r.params)
}

// refreshEndpoint is the token endpoint with what the definition says otherwise.
func refreshEndpoint(e providers.Endpoint, r providers.Refresh) providers.Endpoint {
	e.URL = orDefault(r.URL, e.URL)
	e.Method = orDefault(r.Method, e.Method)
	e.Body = orDefault(r.Body, e.Body)
	if r.Params != nil {
		e.Params = r.Params
	}
	if r.Names != nil {
		e.Names = r.Names
	}
	return e
}

// Refreshed reads what Refresh brought. ErrReauth: the grant is dead. ErrConfig: the
// operator has to act. ErrUnavailable: nothing is lost, try again later. Beside an error the outcome holds tokens that are
// of no use here, to be revoked.
func (o *OAuth) Refreshed(f *Flow, old *Credential, answer []byte, sentAt time.Time) (*Outcome, error) {
	raw, err := decodeAnswer(answer)
	if err != nil {
		return nil, err
	}
	t, err := readTokens(f, raw, append(old.Secrets(), f.Client))
	if err != nil {
		return nil, err
	}
	if t.refresh == old.RefreshToken.Reveal() {
		t.refresh = "" // repeated is not renewed: its life goes on
	}
	out := t.outcome(f, sentAt)
	if out.Vars, err = t.keep(f, out.Credential, true); err != nil {
		return nil, err
	}
	inherit(f, old, out, sentAt)
	if strange(f, t) {
		return out, signInAgain(causeStranger).Because(errStranger)
	}
	return out, nil
}

// inherit takes over from the old credential what the provider left out.
func inherit(f *Flow, old *Credential, out *Outcome, sentAt time.Time) {
	c := out.Credential
	kept := maps.Clone(old.Keep)
	if kept == nil {
		kept = map[string]Secret{}
	}
	maps.Copy(kept, c.Keep)
	c.Keep = kept
	if !c.RefreshToken.Empty() {
		return
	}
	c.RefreshToken = old.RefreshToken
	def := f.Provider.OAuth2.Refresh
	if out.RefreshExpiresAt.IsZero() && f.Connection != nil {
		out.RefreshExpiresAt = f.Connection.RefreshExpiresAt
	}
	if def.IdleS > 0 && def.LifeS == 0 { // using it is what keeps it alive
		out.RefreshExpiresAt = sentAt.Add(seconds(def.IdleS))
	}
}

// Probe asks the call that names the account whether the access token works. Only a 401 says that it does not: a 403 may be
// about that call alone.
func (o *OAuth) Probe(ctx context.Context, f *Flow, cred *Credential) (rolled *Credential, err error) {
	known := *f
	known.ClientID = f.Connection.Vars[madeWith]
	_, err = o.ask(ctx, &known, cred, identityCall(f.Provider.Identity))
	if errors.Is(err, errUnauthorized) {
		return nil, ErrReauth.Because(err)
	}
	return nil, err
}

// tellsWhetherItWorks reports whether there is a call to ask about the flow's connection. It changes nothing, and is at a host
// that the token goes to anyhow: definitions may have learnt another since.
func tellsWhetherItWorks(f *Flow) bool {
	id := f.Provider.Identity
	if id == nil || id.URL == "" || orDefault(id.Method, http.MethodGet) != http.MethodGet {
		return false
	}
	target, err := targetOf(f.Provider, id.URL, f.Vars, true)
	if err != nil || target.MatchHost(f.Connection.Hosts) {
		return err == nil
	}
	server, err := targetOf(f.Provider, f.Provider.OAuth2.Token.URL, f.Vars, true)
	return err == nil && server.Origin() == target.Origin()
}

// credentialValues is what templates may use: the flow's variables and the credential.
func credentialValues(f *Flow, c *Credential) map[string]string {
	values := cloneVars(f.Vars)
	values["client_id"] = f.ClientID
	values["client_secret"] = f.Client.Reveal()
	if c == nil {
		return values
	}
	maps.Copy(values, c.values())
	return values
}

// values are the names under which templates know the parts of c.
func (c *Credential) values() map[string]string {
	values := map[string]string{}
	maps.Copy(values, revealAll(c.Keep))
	maps.Copy(values, revealAll(c.Fields))
	if !c.AccessToken.Empty() {
		values["access_token"] = c.AccessToken.Reveal()
	}
	if !c.RefreshToken.Empty() {
		values["refresh_token"] = c.RefreshToken.Reveal()
	}
	return values
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// method is how the flow's credential was or will be made.
func (f *Flow) method() string {
	switch {
	case f.Connection != nil:
		return f.Connection.Method
	case f.Request != nil:
		return f.Request.Method
	}
	return ""
}
