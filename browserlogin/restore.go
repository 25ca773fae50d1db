package browserlogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// ErrDead means that the site does not take the session for signed in.
var ErrDead = errors.New("the site does not accept the session: sign in again")

const probeTimeout = 15 * time.Second

// restore puts a bundle into a new context of b.
func (b Bundle) restore(br Browser, o ContextOptions) (*Context, error) {
	o.Width, o.Height = or(b.in().Width, 1280), or(b.in().Height, 720)
	o.UserAgent = b.in().UserAgent
	c, err := br.NewContext(o)
	if err != nil {
		return nil, err
	}
	if err := c.fill(b); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Context) fill(b Bundle) error {
	state, err := json.Marshal(b.in().State)
	if err != nil {
		return err
	}
	if err := c.SetStorageState(state); err != nil {
		// A value of IndexedDB that cannot be put back fails the whole: go without.
		lean := b.in().State
		lean.Origins = slices.Clone(lean.Origins)
		for i := range lean.Origins {
			lean.Origins[i].IndexedDB = nil
		}
		if state, err = json.Marshal(lean); err != nil {
			return err
		}
		if err := c.SetStorageState(state); err != nil {
			return err
		}
		b.in().Partial = true
	}
	if len(b.in().Session) == 0 {
		return nil
	}
	values, err := json.Marshal(b.in().Session)
	if err != nil {
		return err
	}
	return c.InitScript(`(() => { try {
		const mine = (` + string(values) + `)[location.origin];
		if (mine && sessionStorage.length === 0) for (const k in mine) sessionStorage.setItem(k, mine[k]);
	} catch {} })()`)
}

// probe asks the site whether the context is signed in; ErrDead when it is not.
// last is the page where the sign-in ended, for definitions without a probe; "" when that is long ago.
func probe(ctx context.Context, r *rules, c *Context, last string) error {
	switch p := r.site.Probe; {
	case p == nil:
		return lands(ctx, r, c, last)
	case p.Selector != "":
		page, err := c.NewPage()
		if err != nil {
			return err
		}
		defer page.Close()
		if err := page.Goto(p.URL); err != nil {
			return err
		}
		if !appears(ctx, page, p.Selector) {
			return ErrDead
		}
		return nil
	default:
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		a, err := c.Fetch(ctx, Query{Method: or(p.Method, http.MethodGet), URL: p.URL})
		if err != nil {
			return err
		}
		return verdict(p, a.Status)
	}
}

// verdict reads the status of a probe: only a plain no is a dead session.
func verdict(p *providers.Probe, status int) error {
	switch {
	case slices.Contains(p.OK, status), len(p.OK) == 0 && status == http.StatusOK:
		return nil
	case status >= 300 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
		return ErrDead
	default:
		return fmt.Errorf("the site answers with status %d; try again later", status)
	}
}

// lands opens the page where the sign-in ended. A dead session is sent back to the
// login page, and the page does not show what it shows to whoever is signed in.
func lands(ctx context.Context, r *rules, c *Context, last string) error {
	page, err := c.NewPage()
	if err != nil {
		return err
	}
	defer page.Close()
	if err := page.Goto(or(last, r.site.LoginURL)); err != nil {
		return err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	at, login := readAddress(page.URL()), readAddress(r.site.LoginURL)
	if at.Host == login.Host && at.Path == login.Path && last != "" && readAddress(last).Path != login.Path || !r.ours(at.Host) {
		return ErrDead
	}
	if last == "" {
		return nil // a login page need not notice who is signed in
	}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		cookies, err := c.Cookies()
		if err != nil {
			return err
		}
		if r.success.holds(r, scene{urls: []string{page.URL()}, cookies: cookies, count: func(selector string) bool {
			n, err := page.Count(ctx, selector)
			return err == nil && n > 0
		}}) {
			return nil
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return ErrDead
		}
	}
}

// appears waits for a selector.
func appears(ctx context.Context, p *Page, selector string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for {
		if n, err := p.Count(ctx, selector); err == nil && n > 0 {
			return true
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

// identify gives the account's label, or "".
func identify(ctx context.Context, r *rules, c *Context, last string) string {
	id := r.site.Identity
	switch {
	case id == nil:
		return ""
	case id.Selector != "":
		page, err := c.NewPage()
		if err != nil {
			return ""
		}
		defer page.Close()
		if p := r.site.Probe; p != nil && p.Selector != "" {
			last = p.URL
		}
		if page.Goto(last) != nil || !appears(ctx, page, id.Selector) {
			return ""
		}
		return label(page.Text(ctx, id.Selector))
	default:
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		a, err := c.Fetch(ctx, Query{Method: http.MethodGet, URL: id.URL})
		if err != nil || a.Status != http.StatusOK || a.Truncated {
			return ""
		}
		var doc any
		if json.Unmarshal(a.Body, &doc) != nil {
			return ""
		}
		for _, path := range id.Label {
			if s := label(at(doc, path)); s != "" {
				return s
			}
		}
		return ""
	}
}

// label keeps a name short and on one line, whatever the site calls itself.
func label(s string) string {
	return cut(strings.Join(strings.Fields(s), " "), 100)
}

// at finds the text at a path such as user.emails[0].address.
func at(doc any, path string) string {
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		switch node := doc.(type) {
		case map[string]any:
			doc = node[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node) {
				return ""
			}
			doc = node[i]
		default:
			return ""
		}
	}
	switch v := doc.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}
