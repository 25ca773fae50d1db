package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// OAuthCode signs in by authorization code (RFC 6749 section 4.1) with PKCE
// (RFC 7636), as RFC 9700 wants it: exact state, iss, redirect URI, one token request.
type OAuthCode struct{ *OAuth }

// Method is MethodOAuthCode.
func (OAuthCode) Method() string { return MethodOAuthCode }

// attempt is what a sign-in remembers between Begin and Finish, sealed.
type attempt struct {
	Verifier    string `json:"verifier,omitempty"`
	Nonce       string `json:"nonce,omitempty"`
	RedirectURI string `json:"redirect_uri"`
	Issuer      string `json:"issuer,omitempty"`
}

// Begin makes the address of the consent page. Nothing is sent, but for a discovery
// document and a pushed authorization request where the provider has them.
func (c OAuthCode) Begin(ctx context.Context, f *Flow) (Step, error) {
	f, err := c.discover(ctx, f)
	if err != nil {
		return Step{}, err
	}
	def := f.Provider.OAuth2
	try := attempt{RedirectURI: f.RedirectURI, Issuer: def.Issuer}
	if def.PKCE != "none" {
		try.Verifier = oauth2.GenerateVerifier()
	}
	if slices.Contains(askedScopes(f), "openid") {
		try.Nonce = oauth2.GenerateVerifier()
	}
	step := Step{State: oauth2.GenerateVerifier()} // 256 bits
	params, err := authorizeParams(f, try, step.State)
	if err != nil {
		return Step{}, err
	}
	if def.PAR != nil {
		if params, err = c.push(ctx, f, params); err != nil {
			return Step{}, err
		}
	}
	if step.Redirect, err = c.authorizeURL(f, params); err != nil {
		return Step{}, err
	}
	step.Private, err = json.Marshal(try)
	return step, err
}

// authorizeParams are the parameters of the consent page, each once.
func authorizeParams(f *Flow, try attempt, state string) (url.Values, error) {
	def := f.Provider.OAuth2
	params := url.Values{"response_type": {"code"}, "client_id": {f.ClientID}, "redirect_uri": {f.RedirectURI}, "state": {state}}
	if err := addScopes(f.Provider, params, askedScopes(f)); err != nil {
		return nil, err
	}
	if try.Verifier != "" {
		params.Set("code_challenge", oauth2.S256ChallengeFromVerifier(try.Verifier))
		params.Set("code_challenge_method", "S256")
	}
	if try.Nonce != "" {
		params.Set("nonce", try.Nonce)
	}
	if err := addResource(f, params); err != nil {
		return nil, err
	}
	for _, name := range def.Authorize.Omit {
		params.Del(name)
	}
	params = renamed(params, def.Client.Names)
	for _, extra := range []map[string]string{def.Authorize.Params, def.Authorize.Offline} {
		for name, template := range extra {
			if params.Has(name) {
				return nil, ErrConfig.Say("the definition of %s sets the parameter %s twice; correct it", f.Provider.Name, name)
			}
			value, err := expand(f.Provider, template, credentialValues(f, nil))
			if err != nil {
				return nil, err
			}
			params.Set(name, value)
		}
	}
	return params, nil
}

// push sends the parameters ahead (RFC 9126); the browser then carries a reference only.
func (o *OAuth) push(ctx context.Context, f *Flow, params url.Values) (url.Values, error) {
	a, err := o.send(ctx, f, tokenRequest{endpoint: *f.Provider.OAuth2.PAR, params: params, values: credentialValues(f, nil)})
	if err != nil {
		return nil, err
	}
	doc, isJSON, err := understand(a)
	if err != nil {
		return nil, noAnswer(f.Provider, a, err)
	}
	if err := refusal(f.Provider, a, doc, isJSON, []Secret{f.Client}); err != nil {
		return nil, err
	}
	reference, ok := doc.at("request_uri").(string)
	if !ok || reference == "" || len(reference) > maxKept {
		return nil, ErrUnavailable.Say("%s did not take the sign-in request; try again later", f.Provider.Name)
	}
	return url.Values{"client_id": {f.ClientID}, "request_uri": {reference}}, nil
}

// authorizeURL adds the parameters to the query that the address has of its own.
func (o *OAuth) authorizeURL(f *Flow, params url.Values) (string, error) {
	authorize := f.Provider.OAuth2.Authorize
	target, err := o.target(f.Provider, authorize.URL, credentialValues(f, nil))
	if err != nil {
		return "", err
	}
	if target.RawQuery, err = joinQuery(f.Provider, target.RawQuery, params); err != nil {
		return "", err
	}
	if authorize.Fragment != "" {
		return target.String() + "#" + url.PathEscape(strings.TrimPrefix(authorize.Fragment, "#")), nil
	}
	return target.String(), nil
}

// Finish checks the callback, redeems its code once, and learns whose account it is.
// Before the token request every doubt is a refusal, and nothing has been sent.
func (c OAuthCode) Finish(ctx context.Context, f *Flow, in Input) (*Outcome, error) {
	var try attempt
	if err := json.Unmarshal(f.Private, &try); err != nil {
		return nil, fmt.Errorf("oauth attempt: not in the expected form")
	}
	f, err := c.discover(ctx, f)
	if err != nil {
		return nil, err
	}
	back, err := readCallback(f, try, in.Query)
	if err != nil {
		return nil, err
	}
	if f, err = back.rebind(f); err != nil {
		return nil, err
	}
	if f, err = c.discover(ctx, f); err != nil {
		return nil, err
	}
	t, err := c.redeem(ctx, f, try, back.code)
	if err != nil {
		return nil, asRefusal(err)
	}
	return c.connect(ctx, f, t, back, try.Nonce)
}

// redeem exchanges the code. Sent once, whatever happens.
func (c OAuthCode) redeem(ctx context.Context, f *Flow, try attempt, code string) (*tokens, error) {
	def := f.Provider.OAuth2
	params := url.Values{"grant_type": {"authorization_code"}, "code": {code}}
	if !slices.Contains(def.Authorize.Omit, "redirect_uri") {
		params.Set("redirect_uri", try.RedirectURI)
	}
	if try.Verifier != "" {
		params.Set("code_verifier", try.Verifier)
	}
	if err := addResource(f, params); err != nil {
		return nil, err
	}
	a, err := c.send(ctx, f, tokenRequest{endpoint: def.Token, params: params, values: credentialValues(f, nil)})
	if err != nil {
		return nil, err
	}
	return readTokens(f, a, []Secret{f.Client, NewSecret(code), NewSecret(try.Verifier)})
}

// asRefusal says to a person who is just signing in what is "sign in again" to everybody else.
func asRefusal(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Code == ErrReauth.Code {
		return ErrRefused.Say("the provider refused to complete the sign-in; ask the agent for a new link").Because(e)
	}
	return err
}
