package egress

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var escaped = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

// CanonicalPath gives the one escaped spelling of a path: every segment decoded once, checked, and encoded again with
// upper-case %XX for all but the plain characters of RFC 3986 section 3.3. Patterns for paths should pass through it
// too, so that both sides of a comparison are spelt alike. An empty path is "/". Errors are of KindURL.
func CanonicalPath(path string) (string, error) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok && path != "" {
		return "", badURL("the path does not begin with a slash")
	}
	var b strings.Builder
	for rest != "" {
		var raw string
		var more bool
		raw, rest, more = strings.Cut(rest, "/")
		segment, err := decodeSegment(raw)
		if err != nil {
			return "", err
		}
		b.WriteByte('/')
		encodeSegment(&b, segment)
		if more && rest == "" {
			b.WriteByte('/')
		}
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}

func decodeSegment(raw string) (string, error) {
	s, ok := unpercent(raw)
	switch {
	case raw == "":
		return "", badURL("the path holds an empty segment")
	case !ok:
		return "", badURL("the path holds a broken percent-encoding")
	case s == "." || s == "..":
		return "", badURL("the path holds a dot segment")
	case strings.ContainsAny(s, `/\`):
		return "", badURL("the path holds an encoded slash")
	case strings.Contains(s, ";"):
		return "", badURL("the path holds a parameter")
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return "", badURL("the path holds a control character or is not UTF-8")
	case escaped.MatchString(s):
		return "", badURL("the path is encoded twice")
	}
	return s, nil
}

// unpercent decodes %XX once; false when a percent sign is not followed by two hex digits.
func unpercent(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b = append(b, byte(hi<<4|lo))
		i += 2
	}
	return string(b), true
}

// encodeSegment leaves pchar as it is, but for ";" (refused before) and "+", which some servers read as a space.
func encodeSegment(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*,=:@", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
