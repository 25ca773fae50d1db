package browserlogin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Secrets are the values that must not come back to an agent.
func (c *Connector) Secrets(cred *auth.Credential) []auth.Secret {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return nil
	}
	return b.Secrets()
}

// Release gives the session as storage_state (also ""), cookies_txt or cookie_header for one URL.
func (c *Connector) Release(f *auth.Flow, cred *auth.Credential, form, address string) (*auth.Released, error) {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return nil, auth.ErrReauth.Because(err)
	}
	out := &auth.Released{Type: or(form, "storage_state"), ExpiresAt: b.ExpiresAt(time.Duration(f.Provider.Browser.AssumeTTL) * time.Second),
		Warning: "This is the whole session. Whoever has it is signed in as the user. Keep it out of files, logs and messages; call_api does the same without it."}
	switch out.Type {
	case "storage_state":
		out.Value = b.StorageState()
		if b.Partial() {
			out.Warning += " What the site keeps in IndexedDB was too large, or could not be put back, and is not in it."
		}
	case "cookies_txt":
		out.Value = b.CookiesTXT()
	case "cookie_header":
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			return nil, auth.ErrInvalid.Say("cookie_header needs the url that it is for")
		}
		if !compile(f.Provider.Browser).ours(u.Host) || u.Scheme != "https" && !(c.Loopback && u.Scheme == "http") {
			return nil, auth.ErrDenied.Say("the session of %s does not belong to %s; name a URL of %s", f.Provider.Name, u.Host, f.Provider.Browser.Domains)
		}
		if out.Value = b.CookieHeader(u, time.Now()); out.Value.Empty() {
			return nil, auth.ErrNotFound.Say("no cookie of this session would be sent to that url")
		}
	default:
		return nil, auth.ErrInvalid.Say("form has to be storage_state, cookies_txt or cookie_header")
	}
	if b.DeviceBound() {
		out.Warning += " The site binds its sessions to a device, so this copy may stop working early."
	}
	return out, nil
}

// Carry sends a brokered request with the session's cookies, and gives back the
// session when the site changed it, beside an error too. Calls of a site that renews
// its cookies on every use go one after the other, and so do those of one browser.
func (c *Connector) Carry(ctx context.Context, f *auth.Flow, cred *auth.Credential, r egress.Request) (*egress.Response, *auth.Credential, error) {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return nil, nil, auth.ErrReauth.Because(err)
	}
	jar, leave := c.jars.enter(b)
	defer leave()
	over, err := jar.wait(ctx, f.Provider.Browser)
	if err != nil {
		return nil, nil, err
	}
	defer over()
	resp, err := c.call(ctx, f, jar, r)
	return resp, jar.since(b, cred), err
}

// call is Carry for a session that is in use.
func (c *Connector) call(ctx context.Context, f *auth.Flow, jar *jar, r egress.Request) (*egress.Response, error) {
	if age := time.Since(jar.newest().in().Checked); age > time.Duration(or(f.Provider.Browser.ProbeS, 900))*time.Second {
		if err := c.probe(ctx, f, jar); err != nil {
			return nil, err
		}
	}
	resp, err := c.send(ctx, f, jar, r)
	if err != nil {
		return nil, err
	}
	if toLogin(f.Provider.Browser, r.Target, resp) {
		if err := c.probe(ctx, f, jar); errors.Is(err, auth.ErrReauth) {
			return nil, err
		}
	}
	return resp, nil
}

// since is cred with the session as it is now, when that is later than the state b. What failed may have changed it
// all the same: the site has taken the old cookie, and knows only the one that it gave for it.
func (j *jar) since(b Bundle, cred *auth.Credential) *auth.Credential {
	newest := j.newest()
	if newest.in().Seq == b.in().Seq {
		return nil
	}
	next := *cred
	next.Session = newest.Seal()
	return &next
}

// Newer tells which of two states of a session is the later one.
func (*Connector) Newer(a, b *auth.Credential) bool {
	one, err := OpenBundle(a.Session)
	two, err2 := OpenBundle(b.Session)
	return err == nil && err2 == nil && one.in().ID == two.in().ID && one.in().Seq > two.in().Seq
}

// send makes one request and keeps what comes back in the jar.
func (c *Connector) send(ctx context.Context, f *auth.Flow, jar *jar, r egress.Request) (*egress.Response, error) {
	b := jar.newest()
	u, err := url.Parse(r.Target.String())
	if err != nil {
		return nil, auth.ErrInvalid.Because(err)
	}
	if f.Provider.Browser.Usage == "session" {
		return c.Pool.through(ctx, jar, u, r)
	}
	h := r.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Del("Authorization")
	h.Set("Cookie", b.CookieHeader(u, time.Now()).Reveal())
	if b.in().UserAgent != "" {
		h.Set("User-Agent", b.in().UserAgent) // a session that changes its browser looks stolen
	}
	r.Header = h
	if f.Connection != nil {
		r.Party = f.Connection.Owner
	}
	resp, err := c.Out.Do(ctx, r)
	if resp != nil { // there is a header whatever became of the body
		jar.store(b, u, resp.Header, time.Now())
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// toLogin tells whether an answer sends its caller to the login page.
func toLogin(site *providers.Browser, t egress.Target, resp *egress.Response) bool {
	if resp.Status < 300 || resp.Status > 399 {
		return false
	}
	base, err := url.Parse(t.String())
	if err != nil {
		return false
	}
	to, err := base.Parse(resp.Header.Get("Location"))
	login, err2 := url.Parse(site.LoginURL)
	return err == nil && err2 == nil && to.Host == login.Host && to.Path == login.Path
}

// Probe asks the site whether the session is alive; ErrReauth when it is not.
func (c *Connector) Probe(ctx context.Context, f *auth.Flow, cred *auth.Credential) (rolled *auth.Credential, err error) {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return nil, auth.ErrReauth.Because(err)
	}
	jar, leave := c.jars.enter(b)
	defer leave()
	over, err := jar.wait(ctx, f.Provider.Browser)
	if err != nil {
		return nil, err
	}
	defer over()
	if err = c.probe(ctx, f, jar); errors.Is(err, auth.ErrReauth) {
		return nil, err
	}
	return jar.since(b, cred), err
}

// probe is Probe for a session that is in use. Without a probe in the definition
// only the cookies' own end counts.
func (c *Connector) probe(ctx context.Context, f *auth.Flow, jar *jar) error {
	site := f.Provider.Browser
	b := jar.newest()
	p := site.Probe
	switch {
	case p == nil:
		if end := b.ExpiresAt(0); !end.IsZero() && time.Now().After(end) {
			return auth.ErrReauth
		}
	case p.Selector != "":
		if err := c.Pool.Probe(ctx, f.Provider.Browser, jar); errors.Is(err, ErrDead) {
			return auth.ErrReauth.Because(err)
		} else if err != nil {
			return auth.ErrUnavailable.Because(err)
		}
	default:
		target, err := egress.Parse(p.URL, egress.ParseOptions{Loopback: c.Loopback})
		if err != nil {
			return auth.ErrConfig.Because(err)
		}
		resp, err := c.send(ctx, f, jar, egress.Request{Method: or(p.Method, http.MethodGet), Target: target, Truncate: true})
		if err != nil {
			return auth.ErrUnavailable.Because(err)
		}
		switch err := verdict(p, resp.Status); {
		case errors.Is(err, ErrDead):
			return auth.ErrReauth.Because(err)
		case err != nil:
			return auth.ErrUnavailable.Because(err)
		}
	}
	jar.checked()
	return nil
}

// checked notes that the site just took the session for alive.
func (j *jar) checked() {
	j.mu.Lock()
	defer j.mu.Unlock()
	in := *j.now.in()
	in.Checked = time.Now()
	in.Seq++
	j.now = hide(&in)
}
