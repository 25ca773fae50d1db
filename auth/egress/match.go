package egress

import "strings"

// MatchHost reports whether the target may be reached under one of the patterns, each "host" or "host:port".
// A host is exact, or "*.example.com", where the star stands for exactly one label that is not punycode (a look-alike
// must be listed literally) and at least two labels follow. Without a port only the scheme's default port matches.
func (t Target) MatchHost(patterns []string) bool {
	for _, p := range patterns {
		host, digits, hasPort := cutPort(strings.ToLower(p))
		port := defaultPort(t.Scheme)
		if hasPort {
			n, err := parsePort(digits)
			if err != nil {
				continue
			}
			port = n
		}
		if port == t.Port && matchHost(strings.Trim(host, "[]"), t.Host) {
			return true
		}
	}
	return false
}

func matchHost(pattern, host string) bool {
	parent, wild := strings.CutPrefix(pattern, "*.")
	if !wild {
		return pattern == host && host != ""
	}
	label, rest, _ := strings.Cut(host, ".")
	return rest == parent && strings.Contains(parent, ".") && !strings.HasPrefix(label, "xn--") && !isLoopbackHost(host)
}
