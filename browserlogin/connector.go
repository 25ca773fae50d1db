package browserlogin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Connector is browser login among the ways to sign in: auth.Connector,
// auth.Carrier and auth.Prober.
type Connector struct {
	Pool *Pool
	Out  *egress.Client
	// Vault gets what was captured. It is set after the vault, which holds this connector, is made.
	Vault *auth.Vault
	// Loopback lets a site be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool
	Log      *slog.Logger // nil discards

	jars jars
}

// Method is auth.MethodBrowser.
func (*Connector) Method() string { return auth.MethodBrowser }

// Begin reserves a browser and leads to its live view. ErrLimit when too many are open.
func (c *Connector) Begin(_ context.Context, f *auth.Flow) (auth.Step, error) {
	if f.Provider.Browser == nil {
		return auth.Step{}, auth.ErrConfig.Say("%s has no browser sign-in; use another method", f.Provider.Name)
	}
	r := *f.Request
	path, err := c.Pool.Start(Login{
		Request: r.ID, Owner: r.Owner.String(), Name: f.Provider.Name, Asked: asked(&r), Site: f.Provider.Browser, After: "/done/" + r.ID,
		Done: func(ctx context.Context, got *Captured, err error) error { return c.hand(ctx, &r, got, err) },
	})
	switch {
	case errors.Is(err, ErrBusy):
		return auth.Step{}, auth.ErrLimit.Say("%s", ErrBusy).After(30)
	case err != nil:
		return auth.Step{}, auth.ErrUnavailable.Say("the browser cannot be used now; try again in a moment").Because(err)
	}
	return auth.Step{Page: path, ExpiresIn: c.Pool.opt.Total + time.Minute}, nil
}

func asked(r *auth.Request) string {
	if r.Verified || r.Client == "" {
		return r.Client
	}
	return r.Client + " (unverified)"
}

// why is the field in which Finish gets the reason of a login that gave nothing.
const why = "why"

// hand gives the vault what came of a login, in the name of the person who confirmed it.
func (c *Connector) hand(ctx context.Context, r *auth.Request, got *Captured, failed error) error {
	visit := c.Vault.Visit(auth.Visitor{Browser: r.Browser, Owner: &r.Owner})
	if errors.Is(failed, ErrCancelled) {
		return visit.Decline(ctx, r.ID)
	}
	in := auth.Input{}
	if failed != nil {
		in.Fields = map[string]auth.Secret{why: auth.NewSecret(Reason(failed))}
	} else {
		in.Bundle = got.Bundle.Seal()
	}
	err := visit.Submit(ctx, r.ID, in)
	if failed != nil {
		return nil // the vault repeats what it was told
	}
	return err
}

// Finish turns a verified bundle into the outcome. A login that failed ends the
// request with its reason: timeout, browser_exited or browser_unavailable.
func (c *Connector) Finish(_ context.Context, f *auth.Flow, in auth.Input) (*auth.Outcome, error) {
	if in.Bundle.Empty() {
		return nil, failure(in.Fields[why].Reveal())
	}
	b, err := OpenBundle(in.Bundle)
	if err != nil {
		return nil, auth.ErrInvalid.Because(err)
	}
	site := f.Provider.Browser
	expires := b.ExpiresAt(time.Duration(site.AssumeTTL) * time.Second)
	return &auth.Outcome{
		Credential: &auth.Credential{Session: in.Bundle}, ExpiresAt: expires, RefreshExpiresAt: expires, Account: b.in().Account, AccountID: b.in().Account,
	}, nil
}

func failure(reason string) error {
	switch reason {
	case "timeout":
		return &auth.Error{Code: reason, Message: ErrTimeout.Error()}
	case "browser_exited":
		return &auth.Error{Code: reason, Message: ErrBrowserExited.Error()}
	case "unavailable":
		return &auth.Error{Code: "browser_unavailable", Message: "the browser could not be used; the operator can run latchpost browser check"}
	}
	return auth.ErrInvalid.Say("nothing came from the browser; open the link again")
}

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
// session when the site changed it. Calls of a site that renews its cookies on
// every use go one after the other.
func (c *Connector) Carry(ctx context.Context, f *auth.Flow, cred *auth.Credential, r egress.Request) (*egress.Response, *auth.Credential, error) {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return nil, nil, auth.ErrReauth.Because(err)
	}
	jar, leave := c.jars.enter(b)
	defer leave()
	if jar.newest().in().Rolls {
		jar.turn.Lock()
		defer jar.turn.Unlock()
	}
	rolled := jar.newest()
	changed := rolled.in().Seq != b.in().Seq
	if age := time.Since(rolled.in().Checked); age > time.Duration(or(f.Provider.Browser.ProbeS, 900))*time.Second {
		if err := c.probe(ctx, f, jar); err != nil {
			return nil, nil, err
		}
		rolled, changed = jar.newest(), true
	}
	resp, next, err := c.send(ctx, f, jar, r)
	if err != nil {
		return nil, nil, err
	}
	if next != nil {
		rolled, changed = *next, true
	}
	if toLogin(f.Provider.Browser, r.Target, resp) {
		if err := c.probe(ctx, f, jar); errors.Is(err, auth.ErrReauth) {
			return nil, nil, err
		}
	}
	if !changed {
		return resp, nil, nil
	}
	copy := *cred
	copy.Session = rolled.Seal()
	return resp, &copy, nil
}

// Newer tells which of two states of a session is the later one.
func (*Connector) Newer(a, b *auth.Credential) bool {
	one, err := OpenBundle(a.Session)
	two, err2 := OpenBundle(b.Session)
	return err == nil && err2 == nil && one.in().ID == two.in().ID && one.in().Seq > two.in().Seq
}

// send makes one request and keeps what comes back in the jar.
func (c *Connector) send(ctx context.Context, f *auth.Flow, jar *jar, r egress.Request) (*egress.Response, *Bundle, error) {
	b := jar.newest()
	u, err := url.Parse(r.Target.String())
	if err != nil {
		return nil, nil, auth.ErrInvalid.Because(err)
	}
	if f.Provider.Browser.Usage == "session" {
		return c.Pool.through(ctx, b, jar, u, r)
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
	resp, err := c.Out.Do(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	next := jar.store(b, u, resp.Header, time.Now())
	return resp, next, nil
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
func (c *Connector) Probe(ctx context.Context, f *auth.Flow, cred *auth.Credential) error {
	b, err := OpenBundle(cred.Session)
	if err != nil {
		return auth.ErrReauth.Because(err)
	}
	jar, leave := c.jars.enter(b)
	defer leave()
	return c.probe(ctx, f, jar)
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
		if err := c.Pool.Probe(ctx, f.Provider.Browser, b); errors.Is(err, ErrDead) {
			return auth.ErrReauth.Because(err)
		} else if err != nil {
			return auth.ErrUnavailable.Because(err)
		}
	default:
		target, err := egress.Parse(p.URL, egress.ParseOptions{Loopback: c.Loopback})
		if err != nil {
			return auth.ErrConfig.Because(err)
		}
		resp, _, err := c.send(ctx, f, jar, egress.Request{Method: or(p.Method, http.MethodGet), Target: target, Truncate: true})
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

// Revoke is not possible in general: sites have no common way to sign out.
func (c *Connector) Revoke(_ context.Context, f *auth.Flow, cred *auth.Credential) (told bool, err error) {
	if b, err := OpenBundle(cred.Session); err == nil {
		c.Pool.hangUp(b.in().ID)
	}
	return false, nil
}

var _ interface {
	auth.Connector
	auth.Carrier
	auth.Sequenced
	auth.Prober
	auth.Revoker
} = (*Connector)(nil)
