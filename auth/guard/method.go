package guard

import (
	"net/http"
	"slices"
	"strings"
)

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions}

// method refuses what no route of ours takes. net/http hands TRACE, CONNECT and PRI to handlers like any other.
func (g *guard) method(w http.ResponseWriter, r *http.Request, _ Class) *refusal {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "This method is not supported. Use " + strings.Join(methods, ", ") + "."}
}

// changes reports whether the request may change something: by its method, or because it opens a WebSocket.
func changes(r *http.Request) bool {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	return !safe || r.Header.Get("Upgrade") != ""
}
