package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/providers"
)

// MaxState bounds the state of a callback, in bytes; ours are shorter.
const MaxState = 512

const (
	maxCode          = 4 << 10
	maxCallbackValue = 4 << 10
	maxCallbackNames = 50
)

// callback is an authorization response that passed every check.
type callback struct {
	code   string
	scopes []string // granted, where the provider tells them here
	vars   map[string]string
	into   map[string]string // variables that the provider may change, from closed lists
	secret map[string]Secret
}

// readCallback checks in this order: shape, signature, issuer, and only then code and error.
func readCallback(f *Flow, try attempt, q url.Values) (*callback, error) {
	def := f.Provider.OAuth2.Callback
	if err := plainCallback(f.Provider, q); err != nil {
		return nil, err
	}
	if def.HMAC != "" && !signedBy(f.Client, q, def.HMAC) {
		return nil, refusedCallback(f.Provider, "its signature does not fit")
	}
	if err := checkIssuer(f.Provider, try.Issuer, q); err != nil {
		return nil, err
	}
	code := q.Get(orDefault(def.Code, "code"))
	if q.Has("error") {
		if code != "" {
			return nil, refusedCallback(f.Provider, "it carries a code and an error at once")
		}
		return nil, declined(f.Provider, q)
	}
	if code == "" || len(code) > maxCode || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, refusedCallback(f.Provider, "it carries no usable code")
	}
	back := &callback{code: code, vars: map[string]string{}, into: map[string]string{}, secret: map[string]Secret{}}
	if f.Provider.OAuth2.Scopes.Granted == "callback" && q.Has("scope") {
		back.scopes = splitScopes(f, q.Get("scope"))
	}
	for name, capture := range def.Capture {
		if err := back.capture(f, name, capture, q); err != nil {
			return nil, err
		}
	}
	return back, nil
}

func refusedCallback(p *providers.Provider, why string) error {
	return ErrRefused.Say("the answer from %s is not accepted: %s; ask the agent for a new link", p.Name, why)
}

// plainCallback refuses doubled parameters (RFC 6749 section 3.1) and oversized ones.
func plainCallback(p *providers.Provider, q url.Values) error {
	if len(q) > maxCallbackNames {
		return refusedCallback(p, "it has too many parameters")
	}
	for name, values := range q {
		if len(values) > 1 {
			return refusedCallback(p, "a parameter is there twice")
		}
		if len(name) > 100 || len(values[0]) > maxCallbackValue && name != "error_description" && name != "error_uri" {
			return refusedCallback(p, "a parameter is too long")
		}
	}
	return nil
}

// checkIssuer is RFC 9207 section 2.4, byte for byte: the answer must come from the
// server that the request went to.
func checkIssuer(p *providers.Provider, issuer string, q url.Values) error {
	if !q.Has("iss") {
		if p.OAuth2.Callback.Iss == "required" {
			return refusedCallback(p, "it does not say who issued it")
		}
		return nil
	}
	if issuer == "" || q.Get("iss") == issuer || fitsTemplate(p.OAuth2.IssuerTemplate, q.Get("iss")) {
		return nil
	}
	return refusedCallback(p, "it was issued by somebody else")
}

var issuerHole = regexp.MustCompile(`\\\{[a-z]+\\\}`)

// fitsTemplate knows https://login.microsoftonline.com/{tenantid}/v2.0, whose hole takes one path segment.
func fitsTemplate(template, issuer string) bool {
	if template == "" {
		return false
	}
	pattern := issuerHole.ReplaceAllString(regexp.QuoteMeta(template), `[A-Za-z0-9-]{1,64}`)
	ok, err := regexp.MatchString("^"+pattern+"$", issuer)
	return err == nil && ok
}

// declined is the outcome of an error in the callback: the provider's words stay out of it.
func declined(p *providers.Provider, q url.Values) error {
	switch code := q.Get("error"); {
	case code == "access_denied" || code == "user_cancelled_login" || code == "user_cancelled_authorize":
		return ErrDeclined.Say("the sign-in at %s was declined; nothing has changed", p.Name)
	case slices.Contains(transientCodes, code):
		return ErrUnavailable.Say("%s cannot do it now (%s); try again later", p.Name, code)
	case slices.Contains(configCodes, code):
		return ErrConfig.Say("%s refuses the OAuth app (%s); the operator has to correct its registration or definition", p.Name, code)
	default:
		return ErrRefused.Say("%s refused the sign-in (%s); ask the agent for a new link", p.Name, knownCode(p.OAuth2.Errors, code))
	}
}

// capture takes one further parameter under the definition's rules.
func (b *callback) capture(f *Flow, name string, c providers.Capture, q url.Values) error {
	if !q.Has(c.Param) {
		if c.Optional {
			return nil
		}
		return refusedCallback(f.Provider, "the parameter "+c.Param+" is missing")
	}
	value := q.Get(c.Param)
	if err := c.Check(value); err != nil {
		return refusedCallback(f.Provider, "the parameter "+c.Param+" has a value that is not allowed")
	}
	if c.Equals != "" {
		want, err := expand(f.Provider, c.Equals, credentialValues(f, nil))
		if err != nil {
			return err
		}
		if value != want {
			return refusedCallback(f.Provider, "the parameter "+c.Param+" is not the one that was asked for")
		}
	}
	if c.Into != "" && !slices.Contains(c.Enum, value) {
		return refusedCallback(f.Provider, "the parameter "+c.Param+" has a value that is not allowed")
	}
	switch {
	case c.Secret:
		b.secret[name] = NewSecret(value)
	default:
		b.vars[name] = value
	}
	if c.Into != "" {
		b.into[c.Into] = c.Rebound(value)
	}
	return nil
}

// rebind gives the flow what the callback brought. A variable that changed is filled
// into the definition anew, so that the code goes where the provider said, within its closed list.
func (b *callback) rebind(f *Flow) (*Flow, error) {
	next := *f
	next.Vars = cloneVars(f.Vars)
	changed := false
	for name, value := range b.vars {
		next.Vars[name] = value
	}
	for name, value := range b.into {
		changed = changed || next.Vars[name] != value
		next.Vars[name] = value
	}
	if !changed {
		return &next, nil
	}
	if f.Definition == nil {
		return nil, ErrConfig.Say("%s answered from another region, and its definition is not at hand; choose that region on the page", f.Provider.Name)
	}
	p, err := f.Definition.Resolve(next.Vars)
	if err != nil {
		return nil, ErrRefused.Say("%s sent a value that its definition does not allow; nothing was stored", f.Provider.Name).Because(err)
	}
	next.Provider = p
	return &next, nil
}

// signedBy checks Shopify's signature: HMAC-SHA-256 in hex, keyed by the client
// secret, over the sorted rest of the query.
func signedBy(secret Secret, q url.Values, param string) bool {
	var parts []string
	for name := range q {
		if name != param && name != "signature" {
			parts = append(parts, name+"="+q.Get(name))
		}
	}
	slices.Sort(parts)
	given, err := hex.DecodeString(q.Get(param))
	if err != nil || secret.Empty() {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(strings.Join(parts, "&")))
	return hmac.Equal(mac.Sum(nil), given)
}
