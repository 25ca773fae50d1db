package guard

import (
	"net/http"
	"strings"
)

// LooksAhead reports a browser or scanner that fetches an address before a person does, or without one (HEAD). A page that
// does something when it is opened gives it an inert answer.
func LooksAhead(r *http.Request) bool {
	if r.Method == http.MethodHead {
		return true
	}
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"} {
		if v := strings.ToLower(r.Header.Get(name)); strings.Contains(v, "prefetch") || strings.Contains(v, "prerender") || strings.Contains(v, "preview") {
			return true
		}
	}
	return false
}
