package providers

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Reads tells whether a call only reads, so that a read-only grant covers it. The
// host is lower case, with a port if it is not the usual one; the path is the URL's.
// What writes is compared loosely, because a GET that no rule matches reads.
func (p *Provider) Reads(method, host, urlPath string) bool {
	for _, r := range p.API.Access {
		if r.matches(method, host, plain(urlPath), r.Is == "write") {
			return r.Is == "read"
		}
	}
	return method == "GET" || method == "HEAD"
}

// Denied tells whether call_api must refuse a call: it would reach a path that the
// definition denies, or an endpoint of the authorization server. The provider must
// be resolved.
func (p *Provider) Denied(method, host, urlPath string) bool {
	urlPath = plain(urlPath)
	for _, r := range p.Deny {
		if r.matches(method, host, urlPath, true) {
			return true
		}
	}
	if p.OAuth2 == nil {
		return false
	}
	urlPath = withoutFormat(urlPath)
	for _, e := range p.OAuth2.named() {
		if endpointRule(e.URL).matches(method, host, urlPath, true) {
			return true
		}
	}
	return endpointRule(p.OAuth2.Refresh.URL).matches(method, host, urlPath, true)
}

// withoutFormat is a path without the format that Rails and others read at its end: /oauth/token.json is /oauth/token.
func withoutFormat(urlPath string) string {
	dir, last := path.Split(urlPath)
	last, _, _ = strings.Cut(strings.ToLower(last), ";")
	return dir + strings.TrimSuffix(strings.TrimSuffix(last, ".json"), ".xml")
}

// endpointRule matches a URL template, without its format; a name in its path matches one
// segment. No URL matches nothing.
func endpointRule(template string) PathRule {
	if template == "" {
		return PathRule{}
	}
	host := hostOf(template)
	_, rest, _ := strings.Cut(template, host)
	rest, _, _ = strings.Cut(rest, "?")
	glob, _ := fill(rest, func(hole) (string, error) { return "*", nil })
	return PathRule{Host: host, Path: withoutFormat(plain(glob))}
}

// matches compares a call with a rule. A loose comparison, for what is denied or writes, does
// not care about case, nor about ;parameters of a segment.
func (r PathRule) matches(method, host, urlPath string, loose bool) bool {
	if r.Path == "" || len(r.Methods) > 0 && !slices.Contains(r.Methods, method) {
		return false
	}
	if r.Host != "" && !HostMatches(r.Host, host) {
		return false
	}
	glob := r.Path
	if loose {
		glob, urlPath = strings.ToLower(glob), strings.ToLower(urlPath)
	}
	want, have := strings.Split(glob, "/"), strings.Split(urlPath, "/")
	for i, segment := range want {
		if segment == "**" {
			return true
		}
		if i >= len(have) {
			return false
		}
		if loose {
			have[i], _, _ = strings.Cut(have[i], ";")
		}
		if ok, err := path.Match(segment, have[i]); !ok || err != nil {
			return false
		}
	}
	return len(want) == len(have)
}

// plain undoes what a server may undo: percent-encoding, doubled and trailing slashes, dots.
func plain(urlPath string) string {
	for range 3 {
		decoded, err := url.PathUnescape(urlPath)
		if err != nil || decoded == urlPath {
			break
		}
		urlPath = decoded
	}
	return path.Clean("/" + urlPath)
}

func checkGlob(s string) error {
	switch {
	case !strings.HasPrefix(s, "/") || len(s) > 1 && plain(s) != s:
		return errors.New("must be a path that begins with a slash and has no empty, dotted or encoded parts")
	case strings.ContainsAny(s, `?[]\#{}$ `):
		return errors.New("must have no special characters but *")
	case strings.Contains(strings.TrimSuffix(s, "/**"), "**"):
		return errors.New("may have ** as its last part only")
	}
	return nil
}

// Matches compares a call with the rule: a host with its port if it is not the usual one, and a canonical path.
func (r PathRule) Matches(method, host, urlPath string) bool {
	return r.matches(method, host, plain(urlPath), false)
}
