package browserlogin

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/providers"
)

// update gives b with what the answer of u set, under the rules of RFC 6265
// section 5.3 and only within the definition's domains; changed is false when
// nothing is different. sent is the bundle that the request was made with: a
// cookie that somebody renewed meanwhile keeps its newer value, so that a late
// answer cannot bring back, or delete, what another call got.
func (b Bundle) update(sent Bundle, u *url.URL, header http.Header, now time.Time) (next Bundle, changed bool) {
	set := received(header)
	if len(set) == 0 {
		return b, false
	}
	in := *b.in()
	in.State.Cookies = slices.Clone(in.State.Cookies)
	for _, c := range set {
		k, dead, ok := accept(c, u, now)
		if !ok || !reaches(in.Domains, k.Domain) {
			continue
		}
		if b.value(k) != sent.value(k) {
			continue // renewed, or deleted, since the request left
		}
		i := slices.IndexFunc(in.State.Cookies, k.same)
		switch {
		case dead && i >= 0:
			in.State.Cookies = slices.Delete(in.State.Cookies, i, i+1)
			changed = true
		case dead:
		case i >= 0:
			old := in.State.Cookies[i]
			k.PartitionKey, k.CrossSite = old.PartitionKey, old.CrossSite
			if k != old {
				in.State.Cookies[i], changed = k, true
			}
			if k.Value != old.Value && slices.Contains(in.Watched, k.Name) {
				in.Rolls = true
			}
		case !c.Partitioned && len(in.State.Cookies) < 300:
			in.State.Cookies, changed = append(in.State.Cookies, k), true
		}
	}
	return hide(&in), changed
}

func (k Cookie) same(o Cookie) bool {
	return k.Name == o.Name && strings.EqualFold(k.Domain, o.Domain) && k.Path == o.Path
}

func (b Bundle) value(k Cookie) string {
	for _, o := range b.in().State.Cookies {
		if k.same(o) {
			return o.Value
		}
	}
	return ""
}

// received reads the Set-Cookie lines of an answer as browsers do (RFC 6265 section 5.2). Package http reads the
// attributes; left with the whole, it would take quotes off a value and drop those with quotes inside or beyond ASCII.
func received(header http.Header) (set []*http.Cookie) {
	for _, line := range header.Values("Set-Cookie") {
		pair, attributes, _ := strings.Cut(line, ";")
		name, value, named := strings.Cut(pair, "=")
		if !named {
			name, value = "", pair
		}
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		control := func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
		c, err := http.ParseSetCookie("x=x;" + attributes)
		if err != nil || name+value == "" || len(name)+len(value) > 4096 || strings.ContainsFunc(name+value, control) {
			continue
		}
		c.Name, c.Value = name, value
		if c.Expires.IsZero() && c.RawExpires != "" { // the two-digit year of old servers
			c.Expires, _ = http.ParseTime(c.RawExpires)
			if c.Expires.IsZero() {
				c.Expires, _ = time.Parse("Mon, 02-Jan-06 15:04:05 MST", c.RawExpires)
			}
		}
		set = append(set, c)
	}
	return set
}

// longest is what browsers make of every longer life.
const longest = 400 * 24 * time.Hour

// accept reads one Set-Cookie of an answer from u; dead tells that it deletes.
func accept(c *http.Cookie, u *url.URL, now time.Time) (k Cookie, dead, ok bool) {
	host := strings.ToLower(u.Hostname())
	k = Cookie{Name: c.Name, Value: c.Value, Domain: host, Path: c.Path, Expires: -1, HTTPOnly: c.HttpOnly, Secure: c.Secure, SameSite: "Lax"}
	switch c.SameSite {
	case http.SameSiteStrictMode:
		k.SameSite = "Strict"
	case http.SameSiteNoneMode:
		k.SameSite = "None"
	}
	if domain := strings.ToLower(strings.TrimPrefix(c.Domain, ".")); domain != "" && domain != host {
		suffix, _ := publicsuffix.PublicSuffix(domain)
		if suffix == domain || !domainMatch("."+domain, host) {
			return k, false, false
		}
		k.Domain = "." + domain
	} else if domain != "" && domainMatch("."+domain, "x."+host) {
		k.Domain = "." + domain
	}
	if !strings.HasPrefix(k.Path, "/") {
		k.Path = "/"
		if i := strings.LastIndexByte(u.EscapedPath(), '/'); i > 0 {
			k.Path = u.EscapedPath()[:i]
		}
	}
	if k.Secure && u.Scheme != "https" || strings.HasPrefix(k.Name, "__Secure-") && !k.Secure ||
		strings.HasPrefix(k.Name, "__Host-") && (!k.Secure || k.Path != "/" || strings.HasPrefix(k.Domain, ".")) {
		return k, false, false
	}
	switch {
	case c.MaxAge < 0:
		dead = true
	case c.MaxAge > 0:
		k.Expires = float64(now.Unix() + min(int64(c.MaxAge), int64(longest.Seconds())))
	case !c.Expires.IsZero():
		k.Expires = float64(min(c.Expires.Unix(), now.Add(longest).Unix()))
		dead = !c.Expires.After(now)
	}
	return k, dead, true
}

// jars lets calls with one session that overlap see each other's cookies. A
// session is here while calls use it and a short time after, because the next
// call may have read its credential a moment before this one's was stored.
type jars struct {
	mu  sync.Mutex
	all map[string]*jar
}

type jar struct {
	turn  chan struct{} // full during a call when calls go one after the other
	mu    sync.Mutex
	now   Bundle
	users int
	until time.Time
}

const jarLinger = 10 * time.Second

// enter gives the newest state of the session that b is a state of.
func (j *jars) enter(b Bundle) (*jar, func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.all == nil {
		j.all = map[string]*jar{}
	}
	now := time.Now()
	maps.DeleteFunc(j.all, func(_ string, one *jar) bool { return one.users == 0 && now.After(one.until) })
	one := j.all[b.in().ID]
	if one == nil {
		one = &jar{now: b, turn: make(chan struct{}, 1)}
		j.all[b.in().ID] = one
	}
	one.catchUp(b)
	one.users++
	return one, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		one.users--
		one.until = time.Now().Add(jarLinger)
	}
}

// longestTurn is how long a call waits for those before it: as long as one may take.
const longestTurn = time.Minute

// wait gives a call its turn, where calls go one after the other. It ends without one when ctx does, or when the calls
// before take too long. over must be called when the call is.
func (j *jar) wait(ctx context.Context, site *providers.Browser) (over func(), err error) {
	if !j.newest().in().Rolls && site.Usage != "session" {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, longestTurn)
	defer cancel()
	select {
	case j.turn <- struct{}{}:
		return func() { <-j.turn }, nil
	case <-ctx.Done():
		return nil, auth.ErrUnavailable.Say("the calls before this one take long, and nothing was sent; try again in a moment").Because(ctx.Err())
	}
}

// catchUp takes a state that another process was quicker to get. Of two that are as
// late, ours and the stored one, the stored one counts: ours was too late to be stored.
func (j *jar) catchUp(b Bundle) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if b.in().Seq >= j.now.in().Seq {
		j.now = b
	}
}

func (j *jar) newest() Bundle {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.now
}

// store takes an answer in; nil when nothing changed.
func (j *jar) store(sent Bundle, u *url.URL, header http.Header, now time.Time) *Bundle {
	j.mu.Lock()
	defer j.mu.Unlock()
	next, changed := j.now.update(sent, u, header, now)
	if !changed {
		return nil
	}
	next.in().Seq++
	j.now = next
	return &next
}
