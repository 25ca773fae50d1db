package auth

import (
	"net/url"
	"slices"

	"github.com/latchpost/latchpost/providers"
)

// reach lists the hosts that a credential of this method may go to: the API's, or for
// a browser's session the site's own.
func reach(p *providers.Provider, method string, vars map[string]string) ([]string, error) {
	if method == MethodBrowser && p.Browser != nil {
		return p.Browser.Domains, nil
	}
	return p.Hosts(vars)
}

// varsNow are the variables of c with what the answer to a renewal says anew, such as the address of the API. Where the
// credential may go, and which place it is for, stays as the person agreed to: an answer that says otherwise is good for its
// tokens only.
func varsNow(c *Connection, p *providers.Provider, out *Outcome) map[string]string {
	if out.Vars == nil || len(movedTo(told(p), out, *c)) > 0 {
		return c.Vars
	}
	before, _ := reach(p, c.Method, c.Vars)
	now, err := reach(p, c.Method, out.Vars)
	added := func(host string) bool { return !slices.Contains(before, host) && !slices.Contains(c.Hosts, host) }
	if err != nil || slices.ContainsFunc(now, added) {
		return c.Vars
	}
	return out.Vars
}

// base is what the path of a call is put behind; "" when there is none.
func base(p *providers.Provider, method string, vars map[string]string) (string, error) {
	if method == MethodBrowser && p.Browser != nil {
		u, err := url.Parse(p.Browser.LoginURL)
		if err != nil {
			return "", err
		}
		return u.Scheme + "://" + u.Host + "/", nil
	}
	if p.API.Base == "" {
		return "", nil
	}
	return p.Expand(p.API.Base, vars)
}
