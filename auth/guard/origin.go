package guard

import (
	"net/http"
	"slices"
)

var foreign = &refusal{http.StatusForbidden, "cross_origin",
	"The request comes from a page that is not part of this server. Open this server's own page, at the address that its --base-url names."}

// origin refuses what a foreign web page makes a browser send. An Origin that is not listed is refused on every method
// (the MCP specification asks for that too). Requests that change something need, from a browser, a listed Origin or
// Sec-Fetch-Site saying that they come from us. A client that is no browser sends neither and passes.
//
// "Origin: null" is refused, unless the browser itself says same-origin: it sends null with the forms of a page under
// Referrer-Policy no-referrer (Fetch standard, "append a request Origin header"), as all of ours are. From a sandboxed frame it says cross-site.
func (g *guard) origin(_ http.ResponseWriter, r *http.Request, _ Class) *refusal {
	origins, site := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	if len(origins) > 1 || len(site) > 1 {
		return foreign
	}
	sameOrigin := len(site) == 1 && site[0] == "same-origin"
	listed := len(origins) == 1 && slices.Contains(g.opt.Origins, origins[0])
	if len(origins) == 1 && !listed && !(origins[0] == "null" && sameOrigin) {
		return foreign
	}
	if !changes(r) {
		return nil
	}
	if len(site) == 1 && !sameOrigin && site[0] != "none" && !listed {
		return foreign
	}
	if g.cross.Check(r) != nil {
		return foreign
	}
	return nil
}

// crossOrigin is the standard library's view of the same question, as one more layer. It panics over an origin that is none.
func crossOrigin(origins []string) *http.CrossOriginProtection {
	c := http.NewCrossOriginProtection()
	for _, o := range origins {
		if err := c.AddTrustedOrigin(o); err != nil {
			panic("guard: Options.Origins: " + err.Error())
		}
	}
	return c
}
