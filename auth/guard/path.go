package guard

import (
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// twice matches what is still escaped in a path after it was unescaped once.
var twice = regexp.MustCompile(`%[0-9a-fA-F]{2}`)

// path refuses every spelling of a path but the plain one, before a mux could redirect to a cleaned form:
// of "//evil.example/.." that form would lead to another site.
func (g *guard) path(_ http.ResponseWriter, r *http.Request, _ Class) *refusal {
	if plainPath(r.URL.Path, r.URL.EscapedPath()) {
		return nil
	}
	return &refusal{http.StatusNotFound, "not_found", "There is nothing here. Check the address."}
}

func plainPath(decoded, escaped string) bool {
	rest, ok := strings.CutPrefix(decoded, "/")
	if !ok || strings.Count(decoded, "/") != strings.Count(escaped, "/") || // an encoded slash
		strings.ContainsRune(decoded, '\\') || twice.MatchString(decoded) ||
		!utf8.ValidString(decoded) || strings.ContainsFunc(decoded, unicode.IsControl) {
		return false
	}
	if rest == "" {
		return true
	}
	segments := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return false
		}
	}
	return true
}
