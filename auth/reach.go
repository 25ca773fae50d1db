package auth

import (
	"net/url"

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
