package auth

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/providers"
)

// identityScopes are those without which the provider would not tell whose account it is. An
// app's own token is nobody's.
func identityScopes(p *providers.Provider, method string) []string {
	if method == MethodClientCredentials {
		return nil
	}
	return p.OAuth2.Scopes.Identity
}

// askedScopes are the request's, or the definition's own, those that name the account (again: the
// person may have chosen another method than the agent), and those that bring a refresh token.
func askedScopes(f *Flow) []string {
	def := f.Provider.OAuth2.Scopes
	if def.Sep == "" {
		return nil
	}
	scopes := def.Default
	if f.Request != nil && len(f.Request.Scopes) > 0 {
		scopes = f.Request.Scopes
	}
	var out []string
	for _, s := range slices.Concat(scopes, identityScopes(f.Provider, f.method()), def.Offline) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// addScopes joins scopes with the provider's separator, each in the parameter it belongs to.
func addScopes(p *providers.Provider, params url.Values, scopes []string) error {
	def := p.OAuth2.Scopes
	lists := map[string][]string{}
	for _, s := range scopes {
		if !isScope(s) || def.Sep != " " && def.Sep != "" && strings.Contains(s, def.Sep) {
			return ErrInvalid.Say("the scope %q cannot be asked of %s; leave it out", clip(s, 40), p.Name)
		}
		name, rest := orDefault(def.Param, "scope"), s
		if prefix, tail, ok := strings.Cut(s, ":"); ok && def.Extra[prefix] != "" {
			name, rest = def.Extra[prefix], tail
		}
		lists[name] = append(lists[name], rest)
	}
	for name, list := range lists {
		params.Set(name, strings.Join(list, def.Sep))
	}
	return nil
}

// scopes are those the answer names, without one that tells a secret; nil when it names none.
func (t *tokens) scopes() []string {
	if t.def.Scopes.Granted == "callback" || t.def.Scopes.Granted == "none" {
		return nil
	}
	all := t.listed(t.doc.first(orPaths(t.def.Response.Scope, "scope")))
	for _, prefix := range slices.Sorted(maps.Keys(t.def.Response.ExtraScope)) {
		if len(all) > 0 { // the token is not the one of these
			break
		}
		for _, s := range t.listed(t.doc.at(t.def.Response.ExtraScope[prefix])) {
			all = append(all, prefix+":"+s) // as it was asked for
		}
	}
	told := redactor(t.secrets)
	return slices.DeleteFunc(all, func(s string) bool { return told.RedactString(s) != s })
}

// listed reads scopes as an answer has them: in one text, or in a list.
func (t *tokens) listed(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return splitScopes(t.flow, v)
	case []any:
		for _, element := range v {
			if s, ok := element.(string); ok {
				all = append(all, s)
			}
		}
	}
	return cleanScopes(t.flow, all)
}

// splitScopes cuts as the definition says, or at spaces, or at commas where there is no space.
func splitScopes(f *Flow, s string) []string {
	switch sep := f.Provider.OAuth2.Response.ScopeSep; {
	case sep != "" && sep != " ":
		return cleanScopes(f, strings.Split(s, sep))
	case sep == "" && !strings.Contains(strings.TrimSpace(s), " "):
		return cleanScopes(f, strings.Split(s, ","))
	}
	return cleanScopes(f, strings.Fields(s))
}

const (
	maxGranted      = 500
	maxGrantedScope = 500 // bytes
)

// cleanScopes drops what is no scope (RFC 6749 section 3.3), or none that f takes from a provider: the list is shown to
// people and agents.
func cleanScopes(f *Flow, scopes []string) []string {
	var out []string
	for _, s := range scopes {
		s = strings.TrimSpace(s)
		if isScope(s) && f.takesScope(s) && len(s) <= maxGrantedScope && len(out) < maxGranted && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func isScope(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' })
}

// missingScopes are those asked and not granted. nil granted means that nobody said.
// Scopes that only ask for a refresh token or for an identity are often granted
// without being named, so they are not missed.
func missingScopes(def *providers.OAuth2, asked, granted []string) []string {
	if granted == nil {
		return nil
	}
	var out []string
	for _, s := range asked {
		prefix, _, _ := strings.Cut(s, ":")
		_, elsewhere := def.Scopes.Extra[prefix]
		elsewhere = elsewhere && def.Response.ExtraScope[prefix] == ""
		quiet := slices.Contains([]string{"openid", "profile", "email", "offline_access"}, s) || slices.Contains(slices.Concat(def.Scopes.Offline, def.Scopes.Identity), s)
		if !quiet && !elsewhere && !slices.Contains(granted, s) {
			out = append(out, s)
		}
	}
	return out
}
