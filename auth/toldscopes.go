package auth

import (
	"regexp"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
)

// plainScope has what scopes are made of, and nothing that quotes, marks or opens a link.
var plainScope = regexp.MustCompile(`^[A-Za-z0-9._:/*+-]+$`)

// takesScope reports whether a scope that the provider names may be told on. It gets into answers that agents and people
// take for ours, and must not be a way to put a text or a link of one's own there. So it is a scope that the definition names,
// that was asked for or that the connection has; or else a plain word, and an address only on one of the provider's hosts.
func (f *Flow) takesScope(s string) bool {
	def := f.Provider.OAuth2.Scopes
	known := [][]string{def.Default, def.Offline}
	if f.Request != nil {
		known = append(known, f.Request.Scopes)
	}
	if f.Connection != nil {
		known = append(known, f.Connection.Scopes)
	}
	switch {
	case slices.ContainsFunc(known, func(list []string) bool { return slices.Contains(list, s) }):
		return true
	case !plainScope.MatchString(s):
		return false
	case strings.Contains(s, "//"):
		t, err := egress.Parse(s, egress.ParseOptions{Loopback: true}) // only a list that names loopback lets it pass
		return err == nil && t.MatchHost(f.scopeHosts())
	}
	return !strings.Contains(strings.ToLower(s), "www.") // which is made a link of without a scheme too
}

// scopeHosts are those that an address among the scopes may be on: of the API, of the authorization server, and of the
// definition's own scopes, which may be addresses of another host of the same provider.
func (f *Flow) scopeHosts() []string {
	def := f.Provider.OAuth2
	hosts := slices.Clone(f.Provider.API.Hosts)
	if f.Connection != nil {
		hosts = append(hosts, f.Connection.Hosts...)
	}
	for _, address := range slices.Concat([]string{def.Issuer, def.Authorize.URL, def.Token.URL}, def.Scopes.Default, def.Scopes.Offline) {
		if t, err := egress.Parse(address, egress.ParseOptions{Loopback: true}); err == nil {
			hosts = append(hosts, t.Authority())
		}
	}
	return hosts
}
