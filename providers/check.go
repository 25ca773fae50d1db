package providers

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// kinds are the checks that the `is` tags name.
var kinds = map[string]func(*check, text) error{
	"":          func(c *check, t text) error { return nil },
	"key":       func(c *check, t text) error { return nil },
	"link":      func(c *check, t text) error { return checkLink(*t.s) },
	"url":       func(c *check, t text) error { return c.urlTemplate(*t.s) },
	"issuer":    func(c *check, t text) error { return c.issuer(*t.s) },
	"discovery": func(c *check, t text) error { return c.discovery(*t.s) },
	"host":      func(c *check, t text) error { return c.hostTemplate(*t.s) },
	"template":  func(c *check, t text) error { return c.template(*t.s) },
	"glob":      func(c *check, t text) error { return checkGlob(*t.s) },
	"pattern":   func(c *check, t text) error { return checkPattern(*t.s) },
	"path":      func(c *check, t text) error { return checkPath(*t.s) },
}

// all runs every check: first each text by itself, then what must fit together.
func (c *check) all() {
	visit(c.p, c.text)
	c.head()
	c.vars()
	if c.p.OAuth2 != nil {
		c.oauth2(c.p.OAuth2)
	}
	if c.p.APIKey != nil {
		c.apiKey(c.p.APIKey)
	}
	if c.p.Browser != nil {
		c.browser(c.p.Browser)
	}
	c.api()
	c.identity()
}

func (c *check) text(t text) {
	if strings.ContainsFunc(*t.s, func(r rune) bool { return !unicode.IsPrint(r) }) || len(*t.s) > 4096 {
		c.failf(t.path, "must be printable and at most 4096 bytes")
		return
	}
	if t.enum != "" && !slices.Contains(strings.Split(t.enum, "|"), *t.s) {
		c.failf(t.path, "must be one of: %s", strings.ReplaceAll(t.enum, "|", ", "))
		return
	}
	if err := kinds[t.is](c, t); err != nil {
		c.fail(t.path, err)
		return
	}
	if t.is == "template" || t.is == "url" {
		c.secretsStayHome(t)
	}
}

// secretsStayHome keeps what only the authorization server may see away from APIs.
func (c *check) secretsStayHome(t text) {
	for _, part := range []string{"api.", "identity.", "browser.", "api_key.", "oauth2.after", "oauth2.authorize."} {
		if strings.HasPrefix(t.path, part) && (strings.Contains(*t.s, "${client_secret}") || strings.Contains(*t.s, "${refresh_token}")) {
			c.failf(t.path, "must not use ${client_secret} or ${refresh_token}")
		}
	}
}

var (
	idText   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)
	pathText = regexp.MustCompile(`^(\.|(\[\d{1,3}\]|[A-Za-z0-9_@:-]+)(\.[A-Za-z0-9_@:-]+|\[\d{1,3}\])*)$`)
	header   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)
)

func (c *check) head() {
	p := c.p
	if p.Schema != Schema {
		c.failf("schema", "must be %d", Schema)
	}
	switch {
	case !idText.MatchString(p.ID) || strings.Contains(p.ID, "--"):
		c.failf("id", "must be 1 to 40 of a-z, 0-9 and single hyphens")
	case p.ID != c.id:
		c.failf("id", "must equal the file name, %s", c.id)
	}
	need(c, "name", p.Name)
	need(c, "category", p.Category)
	need(c, "docs", p.Docs)
	need(c, "checked.level", p.Checked.Level)
	need(c, "checked.source", p.Checked.Source)
	if _, err := time.Parse(time.DateOnly, p.Checked.On); err != nil {
		c.failf("checked.on", "must be a day, YYYY-MM-DD")
	}
	if p.Name != "" && skeleton(p.Name) == "" {
		c.failf("name", "must have Latin letters or digits, and letters of no other script")
	}
	if p.OAuth2 == nil && p.APIKey == nil && p.Browser == nil {
		c.failf("", "has none of oauth2, api_key and browser")
	}
}

func (c *check) vars() {
	seen := map[string]bool{}
	for _, name := range c.p.names() {
		if seen[name] {
			c.failf("", "the name %s is declared twice or is built in", name)
		}
		if !templateName.MatchString(name) {
			c.failf("", "the name %q must be lower case with underscores", name)
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(c.p.Vars)) {
		v := c.p.Vars[name]
		need(c, "vars."+name+".ask", v.Ask)
		if v.Default != "" && (v.Pattern == "" || checkPattern(v.Pattern) == nil) {
			c.fail("vars."+name+".default", v.check(name, v.Default))
		}
	}
}

func checkLink(s string) error {
	bare, _, _ := strings.Cut(s, "#")
	switch {
	case strings.Contains(s, "${"):
		return errors.New("must be written out: people follow this link, and a template such as ${name} is not filled in here")
	case !urlText.MatchString(s):
		return strange(s)
	}
	return checkURL(bare, Options{})
}

func checkPath(s string) error {
	if !pathText.MatchString(s) {
		return errors.New("must be names and indexes, such as user.emails[0].address")
	}
	return nil
}

// template checks that a template uses known names only.
func (c *check) template(s string) error {
	known := c.p.names()
	_, err := fill(s, func(h hole) (string, error) {
		if !slices.Contains(known, h.name) {
			return "", fmt.Errorf("unknown name ${%s}", h.name)
		}
		return "", nil
	})
	return err
}

// urlTemplate checks a URL with stand-ins for its names.
func (c *check) urlTemplate(s string) error {
	if err := c.template(s); err != nil {
		return err
	}
	if c.p.startsWithURL(s) { // ${instance_url}/path
		_, rest, _ := strings.Cut(s, "}")
		if rest != "" && rest[0] != '/' {
			return errors.New("must go on with a slash after the address")
		}
		s = "https://x.example.com" + rest
	}
	u, err := fill(s, func(h hole) (string, error) {
		if !h.host {
			return "x", nil
		}
		if strings.HasSuffix(h.before, "}") && pathLed(c.p.Vars[h.name].Pattern) {
			return "", nil
		}
		return h.standIn(), c.mayBeHost(h.name)
	})
	if err != nil {
		return err
	}
	return checkURL(u, c.opt)
}

func (c *check) issuer(s string) error {
	if strings.Contains(s, "?") {
		return errors.New("must not have a query")
	}
	return c.urlTemplate(s)
}

func (c *check) discovery(s string) error {
	if s == "oidc" || s == "rfc8414" {
		if c.p.OAuth2.Issuer == "" {
			return errors.New("needs an issuer")
		}
		return nil
	}
	return c.urlTemplate(s)
}

func (c *check) hostTemplate(s string) error {
	if err := c.template(s); err != nil {
		return err
	}
	host, err := fill(s, func(h hole) (string, error) { return h.standIn(), c.mayBeHost(h.name) })
	if err != nil {
		return err
	}
	return checkHostPattern(host, c.opt)
}

// standIn is a value of the right shape for its place in a host.
func (h hole) standIn() string {
	switch {
	case strings.HasSuffix(h.before, ":"):
		return "1"
	case h.after == "" || strings.ContainsAny(h.after[:1], ":/?$"):
		return "x.example.com"
	}
	return "x"
}

// mayBeHost allows only values that cannot lead out of the host part.
func (c *check) mayBeHost(name string) error {
	if v, ok := c.p.Vars[name]; ok {
		unsafe := func(s string) bool {
			return s == "" || strings.ContainsFunc(s, func(r rune) bool { return !hostRune(r) })
		}
		switch {
		case len(v.Enum) > 0 && !slices.ContainsFunc(v.Enum, unsafe):
			return nil
		case len(v.Enum) == 0 && checkPattern(v.Pattern) == nil && hostSafe(v.Pattern):
			return nil
		}
		return fmt.Errorf("${%s} stands in a host, so its pattern may match a-z, 0-9 and -._: only", name)
	}
	if _, ok := c.p.hostsOf(name); ok {
		return nil
	}
	return fmt.Errorf("${%s} must not stand in a host: it has no hosts list", name)
}

// hostOf is the host of a URL template, as it is written.
func hostOf(template string) string {
	if strings.HasPrefix(template, "${") {
		name, _, _ := strings.Cut(template, "}")
		return name + "}"
	}
	_, rest, _ := strings.Cut(template, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// within requires that a URL's host is covered by a list.
func (c *check) within(path, u string, lists ...[]string) {
	if u == "" {
		return
	}
	for _, entry := range slices.Concat(lists...) {
		if HostMatches(entry, hostOf(u)) {
			return
		}
	}
	c.failf(path, "is not on a host that this credential may go to")
}

// reserved checks that no name is one of those that we set ourselves.
func (c *check) reserved(path string, given map[string]string, reserved ...string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if slices.Contains(reserved, strings.ToLower(name)) {
			c.failf(path+"."+name, "is set by us and must not be given")
		}
	}
}

func (c *check) headers(path string, given map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		c.header(path+"."+name, name)
	}
}

// headersOfOurs is headers for calls that we make ourselves, which may say Authorization.
func (c *check) headersOfOurs(path string, given map[string]string) {
	rest := maps.Clone(given)
	delete(rest, "Authorization")
	c.headers(path, rest)
}

func (c *check) header(path, name string) {
	lower := strings.ToLower(name)
	switch {
	case !header.MatchString(name):
		c.failf(path, "is not a header name")
	case slices.Contains([]string{"authorization", "cookie", "host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "forwarded", "expect"}, lower),
		strings.HasPrefix(lower, "proxy-"), strings.HasPrefix(lower, "x-forwarded-"), strings.HasPrefix(lower, "sec-"), strings.Contains(lower, "method-override"):
		c.failf(path, "is a header that only we may set")
	}
}

func queryOf(u string) map[string]string {
	_, query, _ := strings.Cut(u, "?")
	values, _ := url.ParseQuery(query)
	out := map[string]string{}
	for name := range values {
		out[name] = ""
	}
	return out
}
