package egress

import (
	"net/netip"
	"strconv"
	"strings"
)

const maxURL = 8 << 10

// Target is a canonical URL. Two spellings of the same resource give the same Target, and what is checked is what is sent.
type Target struct {
	Scheme   string // "https", or "http" on loopback
	Host     string // lower-case ASCII without a trailing dot, or a loopback address; IPv6 without brackets
	Port     uint16 // always set
	Path     string // canonical and escaped, begins with "/"
	RawQuery string // as given, without "?"
}

// ParseOptions loosens Parse.
type ParseOptions struct {
	Loopback bool // permit localhost, 127.0.0.0/8 and [::1], and http there
}

// Parse reads an absolute URL strictly, where net/url is lenient. Refused with KindURL: user info, fragments, backslashes, spaces,
// control and non-ASCII characters (also in the path: percent-encode them), an encoded host, IP literals in every
// spelling, dot segments, empty segments, encoded slashes, double encoding, path parameters, and more than 8 KiB,
// both as given and as it is sent.
func Parse(raw string, opt ParseOptions) (Target, error) {
	if len(raw) > maxURL {
		return Target{}, badURL("longer than 8 KiB")
	}
	if err := plain(raw); err != nil {
		return Target{}, err
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return Target{}, badURL("it must begin with https://")
	}
	authority, rest := cutBefore(rest, "/?")
	t := Target{Scheme: scheme}
	var err error
	if t.Host, t.Port, err = parseAuthority(authority, scheme); err != nil {
		return Target{}, err
	}
	loopback := isLoopbackHost(t.Host)
	switch {
	case loopback && !opt.Loopback:
		return Target{}, badURL("loopback is not allowed")
	case scheme == "http" && !loopback:
		return Target{}, badURL("it must begin with https://")
	}
	path, query, _ := strings.Cut(rest, "?")
	if t.Path, err = CanonicalPath(path); err != nil {
		return Target{}, err
	}
	t.RawQuery = query
	return t.bounded()
}

// bounded refuses what has become too long: the one spelling of a path may be three times as long as the given one.
func (t Target) bounded() (Target, error) {
	if len(t.String()) > maxURL {
		return Target{}, badURL("longer than 8 KiB when percent-encoded")
	}
	return t, nil
}

// plain refuses what has no place anywhere in a URL that we send.
func plain(s string) error {
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c == 0x7f:
			return badURL("it holds a space or a control character")
		case c > 0x7f:
			return badURL("it holds a non-ASCII character; percent-encode it, and write the host in ASCII")
		case c == '\\':
			return badURL("it holds a backslash")
		case c == '#':
			return badURL("it holds a fragment")
		}
	}
	return nil
}

// cutBefore splits s before the first byte of set.
func cutBefore(s, set string) (before, after string) {
	if i := strings.IndexAny(s, set); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func parseAuthority(s, scheme string) (host string, port uint16, err error) {
	if strings.Contains(s, "@") {
		return "", 0, badURL("user info is not allowed")
	}
	host, digits, ok := cutPort(s)
	if !ok {
		port = defaultPort(scheme)
	} else if port, err = parsePort(digits); err != nil {
		return "", 0, err
	}
	if host == "[::1]" {
		return "::1", port, nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host, port, checkHost(host)
}

// cutPort splits "host:port"; the colons of an IPv6 literal stay with the host.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func parsePort(digits string) (uint16, error) {
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != digits {
		return 0, badURL("the port is not a number from 1 to 65535")
	}
	return uint16(n), nil
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// checkHost admits DNS names and plain dotted 127/8. A last label that is a number makes an address of the whole name
// (the WHATWG rule), so 0x7f.1, 2130706433 and their kin end here.
func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return badURL("the host is empty or too long")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return badURL("the host is not a plain DNS name")
		}
	}
	if isNumber(labels[len(labels)-1]) && !isLoopbackHost(host) {
		return badURL("IP addresses are not allowed")
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// isLoopbackHost reports whether host (canonical) is localhost or a loopback address in its one canonical spelling.
func isLoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback() && a.String() == host && !a.Is4In6()
}

// Authority is host[:port] as it stands in the Host header: without the port when it is the scheme's default.
func (t Target) Authority() string {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.Port == defaultPort(t.Scheme) {
		return host
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// Origin is scheme://authority (RFC 6454).
func (t Target) Origin() string { return t.Scheme + "://" + t.Authority() }

// String is the URL that is sent, query included. The query may hold a credential: log Origin and Path instead.
func (t Target) String() string {
	s := t.Origin() + t.Path
	if t.RawQuery != "" {
		s += "?" + t.RawQuery
	}
	return s
}

// JoinPath appends a relative path, which may bring its own query, to the path of t. The query of t is dropped.
// A path cannot leave t: dot segments, "//" and everything else that Parse refuses is refused here.
func (t Target) JoinPath(relative string) (Target, error) {
	if len(relative) > maxURL {
		return Target{}, badURL("longer than 8 KiB")
	}
	if err := plain(relative); err != nil {
		return Target{}, err
	}
	path, query, _ := strings.Cut(relative, "?")
	if !strings.HasPrefix(path, "/") && path != "" {
		path = "/" + path
	}
	path, err := CanonicalPath(strings.TrimSuffix(t.Path, "/") + path)
	if err != nil {
		return Target{}, err
	}
	t.Path, t.RawQuery = path, query
	return t.bounded()
}
