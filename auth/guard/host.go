package guard

import (
	"net/http"
	"slices"
	"strings"
)

// host admits only names that are ours, exactly and with the port, so that a name which somebody else points at us (DNS rebinding)
// leads nowhere. For a request in absolute form net/http puts that form's authority into r.Host, and it is what we check.
func (g *guard) host(_ http.ResponseWriter, r *http.Request, _ Class) *refusal {
	if slices.Contains(g.opt.Hosts, strings.ToLower(r.Host)) {
		return nil
	}
	return &refusal{http.StatusMisdirectedRequest, "wrong_host",
		"This server is not known by that name. Open it under its configured base URL, or add the name with --base-url."}
}
