package browserlogin

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/latchpost/latchpost/providers"
)

// rules are a definition's conditions, ready to be looked at. They are decided
// here, on the server, by what the browser reports; a page can only fool the
// definition of its own site.
type rules struct {
	site    *providers.Browser
	success *match
	second  *match // nil: the site has no second factor that we know
}

type match struct{ all, any []condition }

type condition struct {
	providers.Condition
	url, response *regexp.Regexp
}

func compile(site *providers.Browser) *rules {
	r := &rules{site: site, success: compileMatch(&site.Success)}
	if site.SecondFactor != nil {
		r.second = compileMatch(site.SecondFactor)
	}
	return r
}

func compileMatch(m *providers.Match) *match {
	return &match{compileAll(m.All), compileAll(m.Any)}
}

func compileAll(list []providers.Condition) []condition {
	out := make([]condition, len(list))
	for i, c := range list {
		out[i] = condition{Condition: c, url: pattern(c.URL), response: pattern(c.Response)}
	}
	return out
}

// pattern compiles what package providers has checked already. One that is broken
// all the same matches nothing.
func pattern(s string) *regexp.Regexp {
	if s == "" {
		return nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return regexp.MustCompile(`[^\s\S]`)
	}
	return re
}

// ours tells whether a host, port and all, is one of the definition's.
func (r *rules) ours(host string) bool {
	for _, d := range r.site.Domains {
		if providers.HostMatches(d, host) {
			return true
		}
	}
	return false
}

// reaches tells whether a cookie of this domain would be sent to one of the
// definition's hosts (RFC 6265 section 5.1.3; cookies know no ports).
func (r *rules) reaches(cookieDomain string) bool { return reaches(r.site.Domains, cookieDomain) }

func reaches(hosts []string, cookieDomain string) bool {
	name, wide := strings.CutPrefix(strings.ToLower(cookieDomain), ".")
	for _, d := range hosts {
		d = hostOnly(d)
		if providers.HostMatches(d, name) || wide && strings.HasSuffix("."+strings.TrimPrefix(d, "*."), "."+name) {
			return true
		}
	}
	return false
}

func hostOnly(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		return h
	}
	return hostport
}

// scene is what can be seen of a browser at one moment.
type scene struct {
	urls    []string
	cookies []Cookie
	count   func(selector string) bool
	watch   *watch // nil: the way here is not known, and what it should have been is taken for true
}

// signedIn holds when Success does and no page of a second factor is in sight.
func (r *rules) signedIn(s scene) bool {
	return r.success.holds(r, s) && !r.atSecondFactor(s)
}

func (r *rules) atSecondFactor(s scene) bool { return r.second != nil && r.second.holds(r, s) }

func (m *match) holds(r *rules, s scene) bool {
	for _, c := range m.all {
		if !c.holds(r, s) {
			return false
		}
	}
	if len(m.any) == 0 {
		return len(m.all) > 0
	}
	for _, c := range m.any {
		if c.holds(r, s) {
			return true
		}
	}
	return false
}

// names tells whether a condition is about this address.
func (m *match) names(address string) bool {
	return slices.ContainsFunc(slices.Concat(m.all, m.any), func(c condition) bool {
		return c.url != nil && c.url.MatchString(address) || c.Page != "" && onPage(c.Page, address)
	})
}

func (c condition) holds(r *rules, s scene) bool {
	switch {
	case c.url != nil:
		for _, u := range s.urls {
			if c.url.MatchString(u) {
				return true
			}
		}
	case c.Page != "":
		for _, u := range s.urls {
			if onPage(c.Page, u) {
				return true
			}
		}
	case c.Cookie != "":
		for _, k := range s.cookies {
			if k.Name == c.Cookie && k.Value != "" && r.reaches(k.Domain) {
				return true
			}
		}
	case c.Selector != "":
		return s.count(c.Selector)
	case c.response != nil:
		return s.watch == nil || s.watch.answered(c.Condition.Response)
	case c.ReturnTo != "":
		return s.watch == nil || s.watch.returned(c.ReturnTo)
	}
	return false
}

// onPage tells whether an address is the page, whatever its query, or below it when the
// page ends with a slash.
func onPage(page, address string) bool {
	address, _, _ = strings.Cut(address, "#")
	address, _, _ = strings.Cut(address, "?")
	return address == page || strings.HasSuffix(page, "/") && strings.HasPrefix(address, page)
}

// watch remembers what happened on the way: responses that a rule names, and
// hosts that were left.
type watch struct {
	rules *rules

	mu    sync.Mutex
	seen  map[string]bool // by pattern
	stood map[string]host // by host of a return_to
	bound bool            // a site asked for a device-bound session
}

type host struct{ here, left bool }

func newWatch(r *rules) *watch {
	return &watch{rules: r, seen: map[string]bool{}, stood: map[string]host{}}
}

// each calls fn for every condition of the definition.
func (r *rules) each(fn func(condition)) {
	for _, m := range []*match{r.success, r.second} {
		if m == nil {
			continue
		}
		for _, c := range m.all {
			fn(c)
		}
		for _, c := range m.any {
			fn(c)
		}
	}
}

// response reports whether this answer is one that a rule waits for.
func (w *watch) response(r Response) (wanted bool) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	// Device-bound sessions: the server asks the browser to register a key. The
	// first name is the standard's, the second that of the trials.
	if w.rules.ours(u.Host) && (r.Header("secure-session-registration") != "" || r.Header("sec-session-registration") != "") {
		w.bound = true
	}
	if r.Status < 200 || r.Status > 299 {
		return false
	}
	w.rules.each(func(c condition) {
		if c.response != nil && c.response.MatchString(r.URL) {
			w.seen[c.Condition.Response], wanted = true, true
		}
	})
	return wanted
}

func (w *watch) answered(pattern string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[pattern]
}

// stand notes where the pages are, for return_to.
func (w *watch) stand(urls []string) {
	at := map[string]bool{}
	for _, raw := range urls {
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			at[u.Host] = true
		}
	}
	if len(at) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules.each(func(c condition) {
		if c.ReturnTo == "" {
			return
		}
		h := w.stood[c.ReturnTo]
		h.here = at[c.ReturnTo]
		h.left = h.left || !h.here
		w.stood[c.ReturnTo] = h
	})
}

func (w *watch) returned(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.stood[name]
	return h.here && h.left
}
