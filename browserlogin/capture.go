package browserlogin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Captured is a session that was taken out of the browser, put into a second one
// and found alive there.
type Captured struct {
	Bundle    Bundle
	Account   string    // label by the definition; "" when it names none
	ExpiresAt time.Time // zero: unknown
	Kept      []string  // hosts whose cookies and storage are kept
	Cookies   int       // how many are kept
	Dropped   int       // cookies of other sites, left behind
}

// summary is what the person reads of a capture.
type summary struct {
	Account string   `json:"account"`
	Kept    []string `json:"kept"`
	Cookies int      `json:"cookies"`
	Dropped int      `json:"dropped"`
	Bound   bool     `json:"bound"`
}

const sessionStorageScript = `JSON.stringify((() => { try { return {...sessionStorage} } catch { return {} } })())`

// mostDatabases is how many bytes of IndexedDB a session may have, as JSON: a site's copy of a whole mailbox would have to be opened for every call.
const mostDatabases = 16 << 20

// capture takes cookies, localStorage, sessionStorage and IndexedDB, and leaves
// everything behind that does not belong to the definition's domains.
func capture(ctx context.Context, r *rules, c *Context, pages []*Page, before []Cookie, bound bool, w, h int) (*Captured, error) {
	raw, err := c.StorageState(ctx, true)
	if err != nil {
		// One store that cannot be read must not cost the whole session.
		if raw, err = c.StorageState(ctx, false); err != nil {
			return nil, err
		}
	}
	var all storageState
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("the browser's storage cannot be read")
	}
	now := time.Now()
	in := &contents{Version: 1, ID: newID(), At: now, Checked: now, Width: w, Height: h, Domains: r.site.Domains, Bound: bound, Session: map[string]map[string]string{}}
	got := &Captured{Bundle: hide(in)}
	hosts := map[string]bool{}
	for _, k := range all.Cookies {
		if !r.reaches(k.Domain) {
			got.Dropped++
			continue
		}
		in.State.Cookies = append(in.State.Cookies, k)
		hosts[strings.TrimPrefix(k.Domain, ".")] = true
	}
	databases := 0
	for _, o := range all.Origins {
		if u, err := url.Parse(o.Origin); err == nil && r.ours(u.Host) {
			in.State.Origins = append(in.State.Origins, o)
			hosts[u.Hostname()] = true
			databases += len(o.IndexedDB)
		}
	}
	if in.Partial = databases > mostDatabases; in.Partial {
		for i := range in.State.Origins {
			in.State.Origins[i].IndexedDB = nil
		}
	}
	in.UserAgent = c.UserAgent()
	for _, p := range pages {
		for _, f := range p.everyFrame() {
			// What a script answers is the page's word. Whose word it is, the browser says.
			u, err := url.Parse(f.URL())
			if err != nil || !r.ours(u.Host) {
				continue
			}
			var values map[string]string
			if s, ok := f.Eval(ctx, sessionStorageScript); !ok || json.Unmarshal([]byte(s), &values) != nil || len(values) == 0 {
				continue
			}
			if now, err := url.Parse(f.URL()); err == nil && now.Scheme == u.Scheme && now.Host == u.Host {
				in.Session[u.Scheme+"://"+u.Host] = values
				hosts[u.Hostname()] = true
			}
		}
	}
	for h := range hosts {
		got.Kept = append(got.Kept, h)
	}
	slices.Sort(got.Kept)
	got.Cookies = len(in.State.Cookies)
	in.Watched = watched(r, in.State.Cookies, before)
	got.ExpiresAt = got.Bundle.ExpiresAt(time.Duration(r.site.AssumeTTL) * time.Second)
	return got, nil
}

// empty tells whether there is nothing that a site could know anybody by.
func (c *Captured) empty() bool {
	in := c.Bundle.in()
	return len(in.State.Cookies) == 0 && len(in.State.Origins) == 0 && len(in.Session) == 0
}

// watched names the cookies that make the session: those of the definition, or
// those that the sign-in made or changed, the ones hidden from scripts first.
// The earliest expiry of all cookies would be that of some tracker.
func watched(r *rules, now, before []Cookie) []string {
	if len(r.site.Cookies) > 0 {
		return r.site.Cookies
	}
	old := map[string]string{}
	for _, k := range before {
		old[k.Domain+"\x00"+k.Path+"\x00"+k.Name] = k.Value
	}
	var hidden, open []string
	for _, k := range now {
		if v, ok := old[k.Domain+"\x00"+k.Path+"\x00"+k.Name]; ok && v == k.Value {
			continue
		}
		if k.HTTPOnly {
			hidden = append(hidden, k.Name)
		} else {
			open = append(open, k.Name)
		}
	}
	if len(hidden) > 0 {
		return hidden
	}
	return open
}

// ExpiresAt is the earliest end of the cookies that make the session. When one of
// them ends with the browser, nothing is known: then it is assume after the
// capture, or zero when assume is 0.
func (b Bundle) ExpiresAt(assume time.Duration) time.Time {
	var first time.Time
	for _, k := range b.in().State.Cookies {
		if !slices.Contains(b.in().Watched, k.Name) {
			continue
		}
		if k.Expires <= 0 {
			first = time.Time{}
			break
		}
		if at := time.UnixMilli(int64(k.Expires * 1000)); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() && assume > 0 {
		return b.in().At.Add(assume)
	}
	return first
}
