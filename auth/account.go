package auth

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// connect makes an outcome of the tokens of a sign-in: the long-lived token where the first one is short,
// what is kept, whose account it is, and the look-ups that the definition wants. The tokens come beside an error
// too, with all that it takes to revoke them: from here on nobody else knows them.
func (o *OAuth) connect(ctx context.Context, f *Flow, t *tokens, back *callback, nonce string) (*Outcome, error) {
	out := t.outcome(f, f.Now)
	if back.scopes != nil {
		out.Scopes = back.scopes
	}
	out.Credential.Keep = maps.Clone(back.secret)
	remember(f, out.Credential)
	out.Vars = cloneVars(f.Vars)
	out.Vars[madeWith] = f.ClientID
	out.Beside = t.beside()
	for _, c := range out.Beside {
		remember(f, c)
	}
	if f.received != nil {
		f.received(ctx, out)
	}
	claims, err := o.identify(ctx, f, t, nonce)
	if err != nil {
		return out, err
	}
	vars, err := t.keep(f, out.Credential, false)
	if err != nil {
		return out, err
	}
	maps.Copy(out.Vars, vars)
	out.Vars[madeWith] = f.ClientID
	known := *f
	known.Vars = out.Vars
	if f = &known; f.Provider.OAuth2.Exchange != nil {
		if err := o.prolong(ctx, f, out); err != nil {
			return out, err
		}
	}
	if err := o.lookUp(ctx, f, out); err != nil {
		return out, err
	}
	o.name(ctx, f, out, claims)
	return out, nil
}

// prolong turns the first token into a long-lived one (Facebook, Instagram).
func (o *OAuth) prolong(ctx context.Context, f *Flow, out *Outcome) error {
	c := out.Credential
	a, err := o.send(ctx, f, tokenRequest{endpoint: *f.Provider.OAuth2.Exchange, values: credentialValues(f, c), subject: c.AccessToken})
	if err != nil {
		return err
	}
	t, err := readTokens(f, a, append(c.Secrets(), f.Client))
	if err != nil {
		return asRefusal(err)
	}
	long := t.outcome(f, f.Now)
	c.AccessToken, out.ExpiresAt = long.Credential.AccessToken, long.ExpiresAt
	if !long.Credential.RefreshToken.Empty() {
		c.RefreshToken, out.RefreshExpiresAt = long.Credential.RefreshToken, long.RefreshExpiresAt
	}
	return nil
}

// name finds out whose account it is. A provider that does not say leaves it
// unnamed: a code that was spent is not thrown away for a label.
func (o *OAuth) name(ctx context.Context, f *Flow, out *Outcome, claims document) {
	secrets := append(out.Credential.Secrets(), f.Client)
	out.Account, out.AccountID = label(claims.text("email", "preferred_username", "name"), secrets), accountID(claims.text("sub"), secrets)
	id := f.Provider.Identity
	if id == nil || id.URL == "" {
		return
	}
	doc, err := o.ask(ctx, f, out.Credential, identityCall(id))
	if err != nil {
		return
	}
	if sub := claims.text("sub"); sub != "" && id.ID == "sub" && doc.text("sub") != sub {
		return // OpenID Connect Core section 5.3.2: this answer is about somebody else
	}
	out.Account = orDefault(label(doc.text(id.Label...), secrets), out.Account)
	if id.ID != "" {
		out.AccountID = orDefault(accountID(doc.text(id.ID), secrets), out.AccountID)
	} else if out.AccountID == "" {
		out.AccountID = named(out.Account)
	}
}

func identityCall(id *providers.Identity) lookup {
	header := http.Header{}
	for name, value := range id.Headers {
		header.Set(name, value)
	}
	return lookup{orDefault(id.Method, http.MethodGet), id.URL, id.Body, header}
}

// lookUp makes the definition's look-ups: which site, which tenant, which data centre.
func (o *OAuth) lookUp(ctx context.Context, f *Flow, out *Outcome) error {
	for _, a := range f.Provider.OAuth2.After {
		header := http.Header{}
		for name, value := range a.Header {
			header.Set(name, value)
		}
		doc, err := o.ask(ctx, f, out.Credential, lookup{http.MethodGet, a.Get, "", header})
		if err != nil {
			return err
		}
		places := placesIn(doc, a, out.Vars[a.Store], append(out.Credential.Secrets(), f.Client))
		if len(places.List) == 0 {
			return ErrRefused.Say("%s did not say which %s this sign-in is for; sign in with an account that has one", f.Provider.Name, a.Store)
		}
		if len(places.List) > 1 {
			out.Places = places
		}
		out.Vars[a.Store] = places.List[0].Value
	}
	return nil
}

// placesIn gives the place of an answer, or those of its list: of these only the one that was used before, if it is there.
func placesIn(doc document, a providers.After, before string, secrets []Secret) *Places {
	elements := []any{doc.root}
	if a.List != "" {
		elements, _ = doc.at(strings.TrimPrefix(a.List, ".")).([]any)
	}
	all, seen := &Places{Store: a.Store}, map[string]bool{}
	for _, element := range elements {
		value := document{element}.text(a.Value)
		switch {
		case value == "" || seen[value] || !mayKeep(value, a.Hosts):
		case value == before:
			return &Places{Store: a.Store, List: []Place{{Value: value}}}
		case len(all.List) == mostPlaces:
			all.More++
		default:
			all.List = append(all.List, Place{value, nameOf(document{element}, a, value, secrets)})
		}
		seen[value] = true
	}
	return all
}

// nameOf is what a person reads of a place: its value where it has no name.
func nameOf(place document, a providers.After, value string, secrets []Secret) string {
	name := ""
	if a.Label != "" {
		name = label(place.text(a.Label), secrets)
	}
	if name == "" {
		name = label(value, secrets)
	}
	return name
}

// mostPlaces is how many places a person chooses from.
const mostPlaces = 200

// lookup is a question to the provider with the new credential.
type lookup struct {
	method string
	url    string // template
	body   string
	header http.Header // values are templates
}

// ask sends a lookup. It goes to the provider's API hosts or to its authorization server, and nowhere else.
func (o *OAuth) ask(ctx context.Context, f *Flow, c *Credential, l lookup) (document, error) {
	return ask(ctx, o.Out, o.Loopback, f, c, l)
}

func ask(ctx context.Context, out *egress.Client, loopback bool, f *Flow, c *Credential, l lookup) (document, error) {
	values := credentialValues(f, c)
	target, err := targetOf(f.Provider, l.url, values, loopback)
	if err != nil {
		return document{}, err
	}
	if !mayAsk(f.Provider, target, values) {
		return document{}, ErrConfig.Say("the definition of %s asks %s, which is none of its hosts; correct it", f.Provider.Name, target.Host)
	}
	header := http.Header{"Accept": {"application/json"}}
	for name := range l.header {
		value, err := expand(f.Provider, l.header.Get(name), values)
		if err != nil {
			return document{}, err
		}
		header.Set(name, value)
	}
	if strings.HasPrefix(l.body, "{") {
		header.Set("Content-Type", "application/json")
	}
	vars := cloneVars(f.Vars)
	vars["client_id"] = f.ClientID
	if target, header, err = inject(f.Provider, c, f.method(), vars, target, header); err != nil {
		return document{}, err
	}
	res, err := out.Do(ctx, egress.Request{Method: l.method, Target: target, Header: header, Body: []byte(l.body), MaxBody: backBody, Timeout: backTime, Close: true})
	if err != nil {
		return document{}, unreachable(f.Provider, err)
	}
	switch {
	case res.Status == http.StatusUnauthorized || res.Status == http.StatusForbidden:
		err := ErrRefused.Say("%s does not accept this credential (status %d); check it and try again", f.Provider.Name, res.Status)
		if res.Status == http.StatusUnauthorized {
			err = err.Because(errUnauthorized)
		}
		return document{}, err
	case res.Status < 200 || res.Status > 299:
		return document{}, ErrUnavailable.Say("%s answered with status %d; try again later", f.Provider.Name, res.Status)
	}
	doc, err := parseDocument(res.Body)
	if err != nil && len(res.Body) > 0 {
		return document{}, ErrUnavailable.Say("%s did not answer properly; try again later", f.Provider.Name).Because(err)
	}
	return doc, nil
}

// errUnauthorized marks a credential that is refused whatever is asked with it.
var errUnauthorized = errors.New("status 401")

// mayAsk reports whether a target is on an API host, or on one of the hosts of the authorization server.
func mayAsk(p *providers.Provider, t egress.Target, values map[string]string) bool {
	hosts, err := p.Hosts(values)
	if err != nil { // one of them is not known yet: that is what the look-up is for
		hosts = p.API.Hosts
	}
	if t.MatchHost(hosts) {
		return true
	}
	if p.OAuth2 == nil {
		return false
	}
	for _, address := range []string{p.OAuth2.Issuer, p.OAuth2.Token.URL, p.OAuth2.Authorize.URL} {
		if address == "" {
			continue
		}
		if server, err := targetOf(p, address, values, true); err == nil && server.Origin() == t.Origin() {
			return true
		}
	}
	return false
}

const maxLabel = maxAccount // an agent can ask for what it was shown

// label makes a name that a provider gave fit to be shown to people and agents: one line, printable, short. One that
// tells a secret is none.
func label(s string, secrets []Secret) string {
	s = egress.Sanitize(s)
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	s = unmarked(strings.Map(func(r rune) rune {
		if r == '"' || r == utf8.RuneError {
			return -1
		}
		return r
	}, s))
	if redactor(secrets).RedactString(s) != s {
		return ""
	}
	return strings.TrimSpace(string(wholeRunes([]byte(s[:min(len(s), maxLabel)]))))
}

const namedOnly = "named " // no id of a provider has a space

// named stands for the id of an account whose provider gives a name only. Two may be called the same, so it
// tells that an account is another one, and never that two are one.
func named(label string) string {
	if label == "" {
		return ""
	}
	return namedOnly + label
}

// accountID keeps a stable id as it is, or drops it: a changed one would be another account.
func accountID(s string, secrets []Secret) string {
	if len(s) > 200 || redactor(secrets).RedactString(s) != s || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}
