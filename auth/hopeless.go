package auth

import (
	"errors"
	"path"
	"regexp"
	"slices"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// hopeless is the error of a call that no sign-in makes work, by whichever method: nobody is sent to sign in for one. Its
// connection conn has to be mended, or is nil. The other results are for the record.
func (v *Vault) hopeless(conn *Connection, call Call) (of *Connection, out egress.Request, rule string, err error) {
	var p *providers.Provider
	var methods []string
	if conn != nil {
		p, err = v.definition(conn)
		of, methods = conn, []string{conn.Method}
	} else if p, err = v.provider(call.Provider); err == nil {
		of, methods = &Connection{Provider: p.ID}, p.Methods()
	}
	if err != nil {
		return nil, out, "", nil // usable says it
	}
	for _, method := range methods {
		as := &Connection{Provider: p.ID, Method: method, Vars: of.Vars}
		if out, rule, err = v.hopelessAs(p, as, call); err == nil {
			break
		}
	}
	return of, out, rule, err
}

// hopelessAs is hopeless for a connection as it would be. What the person, or the provider, will tell at the sign-in is open.
func (v *Vault) hopelessAs(p *providers.Provider, as *Connection, call Call) (out egress.Request, rule string, err error) {
	out, err = v.outgoing(p, as, call)
	noBase := errors.Is(err, ErrConfig) && call.Path != ""
	if noBase { // all but the path can be looked at
		call.URL, call.Path = "https://example.com", ""
		out, err = v.outgoing(p, as, call)
		out.Target = egress.Target{}
	}
	var verbs []string
	if err == nil {
		verbs, err = methods(out)
	}
	switch {
	case errors.Is(err, ErrConfig):
		return out, "", nil
	case err != nil:
		return out, "invalid", err
	case noBase:
		return out, "", nil
	}
	if as.Hosts = p.API.Hosts; as.Method == MethodBrowser && p.Browser != nil {
		as.Hosts = p.Browser.Domains
	}
	as.Hosts = slices.Clone(as.Hosts)
	within := false
	for i, host := range as.Hosts {
		as.Hosts[i] = hole.ReplaceAllString(host, "*")
		if as.Hosts[i] == host {
			within = within || out.Target.MatchHost([]string{host})
		} else if fits, err := path.Match(as.Hosts[i], out.Target.Authority()); fits || err != nil {
			within = true
		}
	}
	switch {
	case !within:
		rule = RuleHost
	case slices.ContainsFunc(verbs, func(verb string) bool { return p.Denied(verb, out.Target.Authority(), out.Target.Path) }):
		rule = RuleDenyPath
	default:
		return out, "", nil
	}
	return out, rule, never(p, as, out, rule)
}

// hole is where a definition has a variable.
var hole = regexp.MustCompile(`\$\{[^}]*\}`)
