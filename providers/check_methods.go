package providers

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

func (c *check) oauth2(o *OAuth2) {
	if len(o.Flows) == 0 {
		c.failf("oauth2.flows", "is missing")
	}
	need(c, "oauth2.pkce", o.PKCE)
	need(c, "oauth2.client.secret", o.Client.Secret)
	need(c, "oauth2.refresh.grant", o.Refresh.Grant)
	if o.Discovery == "" {
		need(c, "oauth2.client.auth", o.Client.Auth)
		need(c, "oauth2.token.url", o.Token.URL)
		if o.Has("code") {
			need(c, "oauth2.authorize.url", o.Authorize.URL)
		}
		if o.Has("device") && (o.Device == nil || o.Device.URL == "") {
			c.failf("oauth2.device.url", "is missing")
		}
	}
	if o.Has("client_credentials") && o.Client.Secret == "none" {
		c.failf("oauth2.flows", "client_credentials needs a client secret")
	}
	for i, scope := range o.Scopes.Identity { // what is always asked for is proposed, so that the person sees it
		if o.Scopes.Sep == "" || !slices.Contains(o.Scopes.Default, scope) {
			c.failf(fmt.Sprintf("oauth2.scopes.identity[%d]", i), "must be one of oauth2.scopes.default")
		}
	}
	c.seconds("oauth2.response.assume_ttl", o.Response.AssumeTTL)
	c.seconds("oauth2.refresh.grace_s", o.Refresh.GraceS)
	c.seconds("oauth2.refresh.min_age_s", o.Refresh.MinAgeS)
	c.seconds("oauth2.refresh.life_s", o.Refresh.LifeS)
	c.seconds("oauth2.refresh.idle_s", o.Refresh.IdleS)
	c.protocolNames(o)
	c.callback(o)
	c.endpoints(o)
	if o.IssuerTemplate != "" && hostOf(o.IssuerTemplate) != hostOf(o.Issuer) {
		c.failf("oauth2.issuer_template", "must be on the host of the issuer")
	}
	if o.Response.OK != "" && !strings.Contains(o.Response.OK, "=") {
		c.failf("oauth2.response.ok", "must be path=value")
	}
	for i, a := range o.After {
		at := fmt.Sprintf("oauth2.after[%d]", i)
		need(c, at+".get", a.Get)
		need(c, at+".value", a.Value)
		need(c, at+".store", a.Store)
		if a.List != "" && i < len(o.After)-1 {
			c.failf(at+".list", "must be in the last look-up: the person may have to choose, and nothing is looked up after that")
		}
		c.headersOfOurs(at+".header", a.Header)
		c.within(at+".get", a.Get, c.p.API.Hosts, o.serverHosts())
	}
	for _, prefix := range slices.Sorted(maps.Keys(o.Response.ExtraScope)) {
		if o.Scopes.Extra[prefix] == "" {
			c.failf("oauth2.response.extra_scope."+prefix, "is no prefix of oauth2.scopes.extra")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Response.Keep)) {
		k, at := o.Response.Keep[name], "oauth2.response.keep."+name
		need(c, at+".path", k.Path)
		if k.Place && k.Secret {
			c.failf(at+".place", "must not be a secret: it is compared, and shown to the person")
		}
		c.alias(at+".path", k.Path, k.Secret, o.Response.AccessToken, o.Response.RefreshToken)
	}
}

// alias keeps what the protocol passes (a refresh token, and what else is named in never) from being taken under another
// name, by which it would go where ${refresh_token} may not. access are further names of an access token, which must be marked
// as secret: it would be stored in the clear.
func (c *check) alias(at, path string, secret bool, access, never []string) {
	word := lastName(path)
	named := func(paths []string) bool {
		return word != "" && slices.ContainsFunc(paths, func(p string) bool { return lastName(p) == word })
	}
	switch {
	case named(append([]string{"refresh_token"}, never...)):
		c.failf(at, "must not be taken under another name")
	case !secret && named(append([]string{"access_token", "id_token"}, access...)):
		c.failf(at, "is a token: it must be secret")
	}
}

// lastName is the name in a path that the value goes by: refresh_token in data[0].refresh_token.
func lastName(path string) string {
	steps := strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return strings.ContainsRune(".[]", r) })
	for _, step := range slices.Backward(steps) {
		if strings.Trim(step, "0123456789") != "" {
			return step
		}
	}
	return ""
}

// protocolNames keeps definitions from setting what the protocol sets.
func (c *check) protocolNames(o *OAuth2) {
	renamed := slices.Collect(maps.Values(o.Client.Names))
	front := append(renamed, "response_type", "client_id", "redirect_uri", "state", "scope", "nonce", "resource",
		"code_challenge", "code_challenge_method", "request", "request_uri", "code", "response_mode")
	c.reserved("oauth2.authorize.params", o.Authorize.Params, front...)
	c.reserved("oauth2.authorize.offline", o.Authorize.Offline, front...)
	c.reserved("oauth2.authorize.url", queryOf(o.Authorize.URL), front...)
	for _, name := range slices.Sorted(maps.Keys(o.Authorize.Offline)) {
		if _, both := o.Authorize.Params[name]; both {
			c.failf("oauth2.authorize.offline."+name, "is in params already")
		}
	}
	back := append(renamed, "client_id", "client_secret", "client_assertion", "code", "code_verifier", "redirect_uri", "refresh_token")
	c.reserved("oauth2.token.params", o.Token.Params, append(back, "grant_type")...)
	c.reserved("oauth2.refresh.params", o.Refresh.Params, back...)
}

func (c *check) callback(o *OAuth2) {
	for _, name := range slices.Sorted(maps.Keys(o.Callback.Capture)) {
		v, at := o.Callback.Capture[name], "oauth2.callback.capture."+name
		need(c, at+".param", v.Param)
		if v.Pattern == "" && v.Equals == "" && len(v.Enum) == 0 {
			c.failf(at, "needs one of pattern, equals and enum")
		}
		c.alias(at+".param", v.Param, v.Secret, nil, []string{"code", "state", o.Callback.Code})
		if v.Into == "" {
			continue
		}
		target, ok := c.p.Vars[v.Into]
		if !ok {
			c.failf(at+".into", "is not a variable")
		}
		if len(v.Enum) == 0 {
			c.failf(at+".into", "needs a closed enum")
		}
		for _, value := range v.Enum {
			if ok && (target.Pattern == "" || checkPattern(target.Pattern) == nil) && target.check(v.Into, bareHost(value)) != nil {
				c.failf(at+".enum", "has a value that the variable %s does not allow", v.Into)
			}
		}
	}
}

func (c *check) endpoints(o *OAuth2) {
	for name, e := range o.named() {
		at := "oauth2." + name
		c.headers(at+".headers", e.Headers)
		if e.Body == "none" && len(e.Params) > 0 {
			c.failf(at+".params", "cannot be sent without a body")
		}
		if e.Auth == "bearer" && name != "revoke" && name != "introspect" && name != "exchange" {
			c.failf(at+".auth", "bearer needs a token, and there is none yet")
		}
		if name != "token" && o.Discovery == "" {
			need(c, at+".url", e.URL)
		}
		for i, status := range e.OK {
			c.status(fmt.Sprintf("%s.ok[%d]", at, i), status)
		}
	}
}

func (c *check) status(path string, status int) {
	if status < 200 || status > 499 {
		c.failf(path, "must be a status from 200 to 499")
	}
}

// seconds allows up to ten years.
func (c *check) seconds(path string, n int) {
	if n < 0 || n > 10*365*24*3600 {
		c.failf(path, "must be from 0 to ten years, in seconds")
	}
}

// named yields the endpoints of the back channel that a definition gives.
func (o *OAuth2) named() iter.Seq2[string, *Endpoint] {
	return func(yield func(string, *Endpoint) bool) {
		for _, e := range []struct {
			name string
			at   *Endpoint
		}{
			{"token", &o.Token}, {"device", o.Device}, {"par", o.PAR},
			{"exchange", o.Exchange}, {"revoke", o.Revoke}, {"introspect", o.Introspect},
		} {
			if e.at != nil && !yield(e.name, e.at) {
				return
			}
		}
	}
}

// serverHosts are the hosts of the authorization server, which may see the token too.
func (o *OAuth2) serverHosts() []string {
	var out []string
	if o.Issuer != "" {
		out = append(out, hostOf(o.Issuer))
	}
	for _, e := range o.named() {
		if e.URL != "" {
			out = append(out, hostOf(e.URL))
		}
	}
	return out
}

func (c *check) apiKey(k *APIKey) {
	if len(k.Send) == 0 {
		c.failf("api_key.send", "is missing")
	}
	c.sends("api_key.send", k.Send)
	for i, f := range k.Fields {
		at := fmt.Sprintf("api_key.fields[%d]", i)
		need(c, at+".name", f.Name)
		need(c, at+".ask", f.Ask)
	}
	if k.Verify != nil {
		need(c, "api_key.verify.url", k.Verify.URL)
		c.within("api_key.verify.url", k.Verify.URL, c.p.API.Hosts)
	}
}

func (c *check) sends(path string, sends []Send) {
	for i, s := range sends {
		at := fmt.Sprintf("%s[%d]", path, i)
		need(c, at+".in", s.In)
		switch s.In {
		case "header":
			if s.Name != "Authorization" && s.Name != "Cookie" {
				c.header(at+".name", s.Name)
			}
			need(c, at+".format", s.Format)
		case "query", "cookie":
			need(c, at+".name", s.Name)
			need(c, at+".format", s.Format)
			if strings.Contains(s.Name, "$") {
				c.failf(at+".name", "must be a plain name")
			}
		case "basic":
			need(c, at+".name", s.Name+s.Format)
		case "path":
			if !strings.HasPrefix(s.Format, "/") {
				c.failf(at+".format", "must begin with a slash")
			}
		case "none":
			if len(sends) > 1 {
				c.failf(at+".in", "none must stand alone")
			}
		}
		if s.In != "none" && !strings.Contains(s.Name+s.Format, "${") {
			c.failf(at, "sends nothing of the credential")
		}
	}
}

func (c *check) browser(b *Browser) {
	need(c, "browser.login_url", b.LoginURL)
	need(c, "browser.usage", b.Usage)
	c.seconds("browser.assume_ttl", b.AssumeTTL)
	c.seconds("browser.probe_s", b.ProbeS)
	if len(b.Domains) == 0 {
		c.failf("browser.domains", "is missing")
	}
	if len(b.Success.All)+len(b.Success.Any) == 0 {
		c.failf("browser.success", "needs a condition in all or any")
	}
	c.match("browser.success", &b.Success)
	c.match("browser.second_factor", b.SecondFactor)
	if p := b.Probe; p != nil {
		need(c, "browser.probe.url", p.URL)
		c.within("browser.probe.url", p.URL, b.Domains)
		for i, status := range p.OK {
			c.status(fmt.Sprintf("browser.probe.ok[%d]", i), status)
		}
	}
	if id := b.Identity; id != nil {
		if (id.Selector == "") == (id.URL == "") {
			c.failf("browser.identity", "needs either selector or url")
		}
		if id.URL != "" && len(id.Label) == 0 {
			c.failf("browser.identity.label", "is missing")
		}
		c.within("browser.identity.url", id.URL, b.Domains)
	}
}

func (c *check) match(path string, m *Match) {
	if m == nil {
		return
	}
	c.conditions(path+".all", m.All)
	c.conditions(path+".any", m.Any)
}

func (c *check) conditions(path string, list []Condition) {
	for i, cond := range list {
		set := 0
		for _, s := range []string{cond.URL, cond.Page, cond.Cookie, cond.Selector, cond.Response, cond.ReturnTo} {
			if s != "" {
				set++
			}
		}
		if set != 1 {
			c.failf(fmt.Sprintf("%s[%d]", path, i), "must have exactly one of url, page, cookie, selector, response, return_to")
		}
	}
}

func (c *check) api() {
	a := c.p.API
	if len(a.Hosts) == 0 {
		c.failf("api.hosts", "is missing: it is the list of hosts that the credential may go to")
	}
	c.within("api.base", a.Base, a.Hosts)
	if c.p.OAuth2 != nil && len(a.Send) == 0 {
		c.failf("api.send", "is missing")
	}
	c.sends("api.send", a.Send)
	c.headers("api.headers", a.Headers)
	for i, name := range a.HeadersAllowed {
		at := fmt.Sprintf("api.headers_allowed[%d]", i)
		c.header(at, name)
		for _, s := range slices.Concat(a.Send, c.keySends()) {
			if s.In == "header" && strings.EqualFold(s.Name, name) {
				c.failf(at, "carries the credential")
			}
		}
	}
	for i, r := range a.Access {
		need(c, fmt.Sprintf("api.access[%d].path", i), r.Path)
		need(c, fmt.Sprintf("api.access[%d].is", i), r.Is)
	}
	for i, r := range c.p.Deny {
		need(c, fmt.Sprintf("deny[%d].path", i), r.Path)
	}
}

func (c *check) keySends() []Send {
	if c.p.APIKey == nil {
		return nil
	}
	return c.p.APIKey.Send
}

func (c *check) identity() {
	id := c.p.Identity
	if id == nil {
		return
	}
	if c.p.OAuth2 == nil {
		c.failf("identity", "is for oauth2; use api_key.verify or browser.identity")
		return
	}
	if c.p.OAuth2.Discovery == "" {
		need(c, "identity.url", id.URL)
	}
	if len(id.Label) == 0 {
		c.failf("identity.label", "is missing")
	}
	c.headersOfOurs("identity.headers", id.Headers)
	c.within("identity.url", id.URL, c.p.API.Hosts, c.p.OAuth2.serverHosts())
}
