package providers

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Names that templates may use in every definition, beside those it declares.
var builtin = []string{"access_token", "refresh_token", "token", "client_id", "client_secret"}

var templateName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)

// hole is one ${name} of a template.
type hole struct {
	name string
	// host is true between https:// and the first slash, and everywhere in a host.
	host bool
	// before and after are the text around it, for the shape of a stand-in.
	before, after string
}

// fill replaces every ${name} by what value answers. Nothing else is special, and a
// lone $ is an error.
func fill(template string, value func(hole) (string, error)) (string, error) {
	var out strings.Builder
	rest := template
	for {
		before, after, found := strings.Cut(rest, "$")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, tail, closed := strings.Cut(after, "}")
		name, opened := strings.CutPrefix(name, "{")
		if !opened || !closed || !templateName.MatchString(name) {
			return "", errors.New("has a $ that is not a ${name}")
		}
		done := template[:len(template)-len(after)-1]
		_, authority, isURL := strings.Cut(done, "://")
		v, err := value(hole{
			name:   name,
			host:   isURL && !strings.ContainsAny(authority, "/?#"),
			before: done,
			after:  tail,
		})
		if err != nil {
			return "", err
		}
		out.WriteString(v)
		rest = tail
	}
}

// names lists what templates of this definition may use.
func (p *Provider) names() []string {
	out := slices.Concat(builtin, slices.Collect(maps.Keys(p.Vars)))
	if o := p.OAuth2; o != nil {
		out = slices.AppendSeq(out, maps.Keys(o.Callback.Capture))
		out = slices.AppendSeq(out, maps.Keys(o.Response.Keep))
		for _, a := range o.After {
			out = append(out, a.Store)
		}
	}
	for _, f := range p.APIKey.Form() {
		out = append(out, f.Name)
	}
	return out
}

// hostsOf returns the list that a kept or looked-up value must point into, and
// whether there is one.
func (p *Provider) hostsOf(name string) ([]string, bool) {
	if p.OAuth2 == nil {
		return nil, false
	}
	if k, ok := p.OAuth2.Response.Keep[name]; ok {
		return k.Hosts, len(k.Hosts) > 0
	}
	for _, a := range p.OAuth2.After {
		if a.Store == name {
			return a.Hosts, len(a.Hosts) > 0
		}
	}
	return nil, false
}

// Expand replaces every ${name} in a template of this definition. Values come from
// vars, and for declared variables from their defaults. Each value is checked against
// the pattern, list or hosts that the definition gives it. In a URL everything that
// has no pattern of its own is percent-encoded, and the result is checked like any
// other URL. An unknown name and a missing value are errors, which never hold a value.
func (p *Provider) Expand(template string, vars map[string]string) (string, error) {
	known := p.names()
	isURL := strings.Contains(template, "://") || p.startsWithURL(template)
	out, err := fill(template, func(h hole) (string, error) {
		if !slices.Contains(known, h.name) {
			return "", fmt.Errorf("unknown name ${%s}", h.name)
		}
		v, err := p.value(h.name, vars)
		if err != nil || !isURL || h.host || h.before == "" || p.vetted(h.name) {
			return v, err
		}
		return escape(v), nil
	})
	if err != nil || !isURL {
		return out, err
	}
	if err := checkURL(out, Options{Loopback: strings.HasPrefix(template, "http://127.0.0.1")}); err != nil {
		return "", fmt.Errorf("the address made from %s %w", template, err)
	}
	return out, nil
}

// Resolve returns a copy in which every declared variable is replaced by its value,
// in every URL, host and template. Names that are known only later (captured, kept and
// looked-up values, tokens) stay, for Expand. Vars may hold such values too. The copy
// is shared and must not be changed.
func (p *Provider) Resolve(vars map[string]string) (*Provider, error) {
	for name := range vars {
		if _, declared := p.Vars[name]; !declared && !slices.Contains(p.names(), name) {
			return nil, fmt.Errorf("unknown name ${%s}", name)
		}
	}
	key := p.declared(vars)
	if made := p.made.get(key); made != nil {
		return made, nil
	}
	out, err := p.resolve(vars)
	if err == nil {
		p.made.keep(key, out)
	}
	return out, err
}

func (p *Provider) resolve(vars map[string]string) (*Provider, error) {
	out := p.clone()
	var errs []error
	visit(out, func(t text) {
		if t.is != "url" && t.is != "issuer" && t.is != "discovery" && t.is != "host" && t.is != "template" && t.is != "glob" {
			return
		}
		whole := true
		s, err := fill(*t.s, func(h hole) (string, error) {
			if _, ok := p.Vars[h.name]; ok {
				return p.value(h.name, vars)
			}
			whole = false
			return "${" + h.name + "}", nil
		})
		if err == nil && whole && s != *t.s {
			loopback := Options{Loopback: strings.HasPrefix(*t.s, "http://127.0.0.1") || strings.HasPrefix(*t.s, "127.0.0.1")}
			switch t.is {
			case "url", "issuer", "discovery":
				err = checkURL(s, loopback)
			case "host":
				err = checkHostPattern(s, loopback)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t.path, err))
		}
		*t.s = s
	})
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return out, nil
}

// Hosts is api.hosts with every value filled in: the whole list of hosts that a
// connection with these values may send its credential to.
func (p *Provider) Hosts(vars map[string]string) ([]string, error) {
	out := make([]string, 0, len(p.API.Hosts))
	for _, entry := range p.API.Hosts {
		host, err := fill(entry, func(h hole) (string, error) {
			v, err := p.value(h.name, vars)
			if err != nil {
				return "", err
			}
			return bareHost(v), nil
		})
		if err == nil {
			err = checkHostPattern(host, Options{Loopback: strings.HasPrefix(entry, "127.0.0.1")})
		}
		if err != nil {
			return nil, fmt.Errorf("api host %s: %w", entry, err)
		}
		out = append(out, host)
	}
	return out, nil
}

// value finds and checks the value of a name.
func (p *Provider) value(name string, vars map[string]string) (string, error) {
	v, given := vars[name]
	if decl, ok := p.Vars[name]; ok {
		if v == "" {
			v = decl.Default
		}
		return v, decl.check(name, v)
	}
	if !given {
		return "", fmt.Errorf("${%s} has no value", name)
	}
	if p.OAuth2 != nil {
		if c, ok := p.OAuth2.Callback.Capture[name]; ok {
			return v, allowed(name, v, c.Pattern, c.Enum)
		}
	}
	if hosts, ok := p.hostsOf(name); ok {
		return v, p.inHosts(name, v, hosts, vars)
	}
	return v, allowed(name, v, "", nil)
}

func (d Var) check(name, v string) error { return allowed(name, v, d.Pattern, d.Enum) }

// Check tells whether a captured parameter may have this value. Equals is the
// caller's to expand and compare, for it needs the connection's other values.
func (c Capture) Check(v string) error { return allowed(c.Param, v, c.Pattern, c.Enum) }

// Rebound is what the variable named by Into becomes: the value, or its host.
func (c Capture) Rebound(v string) string { return bareHost(v) }

func allowed(name, v, pattern string, enum []string) error {
	switch {
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%s must not have control characters", name)
	case len(v) > 16<<10:
		return fmt.Errorf("%s is longer than 16 KiB", name)
	case len(enum) > 0 && !slices.Contains(enum, v):
		return fmt.Errorf("%s must be one of: %s", name, strings.Join(enum, ", "))
	case len(enum) == 0 && pattern != "" && !regexp.MustCompile(pattern).MatchString(v):
		return fmt.Errorf("%s must match %s", name, pattern)
	case len(enum) == 0 && pattern == "" && v == "":
		return fmt.Errorf("%s is empty", name)
	}
	return nil
}

// inHosts checks a value that is a host or an https URL against its list.
func (p *Provider) inHosts(name, v string, hosts []string, vars map[string]string) error {
	var err error
	if strings.Contains(v, "/") {
		err = checkURL(v, Options{})
	} else {
		err = checkHost(v, Options{})
	}
	if err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	for _, entry := range hosts {
		host, err := fill(entry, func(h hole) (string, error) { return p.value(h.name, vars) })
		if err != nil {
			return err
		}
		if HostMatches(host, bareHost(v)) {
			return nil
		}
	}
	return fmt.Errorf("%s points to a host that is not in its list: %s", name, strings.Join(hosts, ", "))
}

// startsWithURL is true for templates such as ${instance_url}/services.
func (p *Provider) startsWithURL(template string) bool {
	name, _, ok := strings.Cut(strings.TrimPrefix(template, "${"), "}")
	if !ok || !strings.HasPrefix(template, "${") {
		return false
	}
	_, ok = p.hostsOf(name)
	return ok
}

// vetted values have been checked against a pattern or list and go into URLs as they are.
func (p *Provider) vetted(name string) bool {
	d := p.Vars[name]
	return d.Pattern != "" || len(d.Enum) > 0
}

// bareHost is the host of an https URL, or the text itself.
func bareHost(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Host
	}
	return s
}

// escape makes any text safe as one path segment and as one query value.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%3A", ":").Replace(url.QueryEscape(s))
}
