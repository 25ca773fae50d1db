package auth

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// inject puts a credential on a request, exactly once and only as the definition
// says: what stands in the same place is replaced. vars are the connection's. The caller has checked that the
// target is a host that this credential may go to. header is not changed.
func inject(p *providers.Provider, c *Credential, method string, vars map[string]string, t egress.Target, header http.Header) (egress.Target, http.Header, error) {
	values := cloneVars(vars)
	maps.Copy(values, c.values())
	out := header.Clone()
	if out == nil {
		out = http.Header{}
	}
	for name, template := range p.API.Headers {
		value, err := expand(p, template, values)
		if err != nil {
			return t, nil, err
		}
		out.Set(name, value)
	}
	out.Del("Authorization")
	out.Del("Cookie")
	var cookies []string
	for _, s := range sends(p, method) {
		if s.In == "none" {
			continue
		}
		name, err := expand(p, s.Name, values)
		if err != nil {
			return t, nil, err
		}
		value, err := expand(p, s.Format, values)
		if err != nil {
			return t, nil, err
		}
		switch s.In {
		case "header":
			out.Set(name, value)
		case "basic":
			out.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(name+":"+value)))
		case "cookie":
			cookies = append(cookies, name+"="+value)
		case "query":
			if t.RawQuery, err = setQuery(t.RawQuery, name, value); err != nil {
				return t, nil, err
			}
		case "path":
			if t.Path, err = prefixPath(p, s.Format, values, t.Path); err != nil {
				return t, nil, err
			}
		}
	}
	if len(cookies) > 0 {
		out.Set("Cookie", strings.Join(cookies, "; "))
	}
	return t, out, nil
}

// sends are the places for a credential of this method: a key has its own.
func sends(p *providers.Provider, method string) []providers.Send {
	switch {
	case method == MethodAPIKey && p.APIKey != nil:
		return p.APIKey.Send
	case len(p.API.Send) > 0:
		return p.API.Send
	}
	return []providers.Send{{In: "header", Name: "Authorization", Format: "Bearer ${access_token}"}}
}

// setQuery replaces a parameter, which may end at a semicolon as well (endsField), and leaves the rest of the query as it
// is written.
func setQuery(query, name, value string) (string, error) {
	var parts []string
	for part := range strings.SplitSeq(query, "&") {
		var fields []string
		for field := range strings.SplitSeq(part, ";") {
			key, _, _ := strings.Cut(field, "=")
			plain, err := url.QueryUnescape(key)
			if err != nil {
				return "", ErrInvalid.Say("the query cannot be read; encode it properly")
			}
			if plain != name {
				fields = append(fields, field)
			}
		}
		if rest := strings.Join(fields, ";"); rest != "" {
			parts = append(parts, rest)
		}
	}
	return strings.Join(append(parts, url.QueryEscape(name)+"="+url.QueryEscape(value)), "&"), nil
}

// spelt are the secrets as they stand in the target, where that is not as they are: an echo of the address may encode
// them once more.
func spelt(p *providers.Provider, method string, secrets []Secret) []Secret {
	var all []Secret
	for _, send := range sends(p, method) {
		for _, s := range secrets {
			plain := s.Reveal()
			there := plain
			switch send.In {
			case "query":
				there = url.QueryEscape(plain)
			case "path":
				if path, err := egress.CanonicalPath("/" + url.PathEscape(plain)); err == nil {
					there = path[1:]
				}
			}
			if there != plain {
				all = append(all, NewSecret(there))
			}
		}
	}
	return all
}

// prefixPath puts a template that holds the credential before a path, each value as one segment.
func prefixPath(p *providers.Provider, template string, values map[string]string, path string) (string, error) {
	escaped := make(map[string]string, len(values))
	for name, value := range values {
		escaped[name] = url.PathEscape(value)
	}
	prefix, err := expand(p, template, escaped)
	if err != nil {
		return "", err
	}
	path, err = egress.CanonicalPath(strings.TrimSuffix(prefix, "/") + path)
	if err != nil {
		return "", ErrConfig.Say("the credential of %s does not fit into a path; sign in again", p.Name)
	}
	return path, nil
}
