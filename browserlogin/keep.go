package browserlogin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// keepAlive is a session that stays in a browser (usage "session"): the brokered
// requests go out of that browser itself, see Fetch. It is restored from its bundle when it is not there.
type keepAlive struct {
	mu      sync.Mutex
	context *Context
	holds   []Cookie // what the context had when a call was last over
	release func()
	gone    <-chan struct{}
	timer   *time.Timer
}

// idleSession is how long a browser is kept for a session that nobody uses.
const idleSession = 10 * time.Minute

// through sends one request out of the session's own browser context.
func (p *Pool) through(ctx context.Context, jar *jar, u *url.URL, r egress.Request) (*egress.Response, error) {
	k := p.kept(jar.newest().in().ID)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := ctx.Err(); err != nil { // the call before took all the time
		return nil, auth.ErrUnavailable.Because(err)
	}
	if err := p.wake(ctx, k, jar.newest()); err != nil {
		return nil, auth.ErrUnavailable.Say("the browser that holds this session does not start; try again in a moment").Because(err)
	}
	ctx, cancel := context.WithTimeout(ctx, or(r.Timeout, time.Minute))
	defer cancel()
	a, err := k.context.Fetch(ctx, Query{Method: r.Method, URL: u.String(), Header: r.Header, Body: r.Body, Most: int(or(r.MaxBody, egress.DefaultMaxBody))})
	next := jar.adopt(k.context, nil) // after a failure too: the header may have come
	if errors.Is(err, errGUID) {
		return nil, err
	}
	if err != nil {
		k.close()
		return nil, auth.ErrUnavailable.Because(err)
	}
	if next != nil {
		k.holds = next.in().State.Cookies
	}
	return &egress.Response{Status: a.Status, Header: a.Header, Body: a.Body, Truncated: a.Truncated}, nil
}

// adopt takes the browser's cookies over; nil when nothing changed, or when the session is no longer as it was.
func (j *jar) adopt(c *Context, was *Bundle) *Bundle {
	j.mu.Lock()
	defer j.mu.Unlock()
	if was != nil && was.in().Seq != j.now.in().Seq {
		return nil
	}
	next, changed := j.now.adopt(c)
	if !changed {
		return nil
	}
	next.in().Seq++
	j.now = next
	return &next
}

// adopt is b with the cookies that the context has now.
func (b Bundle) adopt(c *Context) (next Bundle, changed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout) // whoever asked may be gone; a cookie that was renewed is kept
	defer cancel()
	raw, err := c.StorageState(ctx, false)
	if err != nil {
		return b, false
	}
	var state storageState
	if json.Unmarshal(raw, &state) != nil {
		return b, false
	}
	in := *b.in()
	cookies := slices.DeleteFunc(state.Cookies, func(k Cookie) bool { return !reaches(in.Domains, k.Domain) })
	if sameCookies(cookies, in.State.Cookies) {
		return b, false
	}
	in.State.Cookies = cookies
	return hide(&in), true
}

func sameCookies(a, b []Cookie) bool {
	return slices.EqualFunc(a, b, func(a, b Cookie) bool { return a.same(b) && a.Value == b.Value && a.Expires == b.Expires })
}

func (p *Pool) kept(id string) *keepAlive {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeps == nil {
		p.keeps = map[string]*keepAlive{}
	}
	k := p.keeps[id]
	if k == nil {
		k = &keepAlive{}
		p.keeps[id] = k
	}
	return k
}

// wake makes sure that the context is there, and in the state of b: another process may have used the session,
// and got cookies that end those of before. k.mu is held.
func (p *Pool) wake(ctx context.Context, k *keepAlive, b Bundle) error {
	if k.context != nil {
		select {
		case <-k.gone:
			k.close()
		default:
			if sameCookies(k.holds, b.in().State.Cookies) && k.remembers() {
				k.timer.Reset(idleSession)
				return nil
			}
			k.close()
		}
	}
	// A browser of its own: sessions of two owners never share a process.
	br, release, err := p.browser(ctx, "session "+b.in().ID)
	if err != nil {
		return err
	}
	c, err := b.restore(br, ContextOptions{insecureTLS: p.opt.insecureTLS})
	if err != nil {
		release()
		return err
	}
	k.context, k.holds, k.release, k.gone = c, b.in().State.Cookies, release, br.Gone()
	k.timer = time.AfterFunc(idleSession, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.close()
	})
	return nil
}

// remembers tells that the browser has its cookies still: they go when its network process dies, and what it would send and
// keep then is no session.
func (k *keepAlive) remembers() bool {
	has, err := k.context.Cookies()
	return err == nil && (len(has) > 0 || len(k.holds) == 0)
}

func (k *keepAlive) close() {
	if k.context == nil {
		return
	}
	k.timer.Stop()
	_ = k.context.Close()
	k.release()
	k.context = nil
}

func (p *Pool) keptIDs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Keys(p.keeps))
}

// hangUp ends the browser of a session.
func (p *Pool) hangUp(id string) {
	p.mu.Lock()
	k := p.keeps[id]
	delete(p.keeps, id)
	p.mu.Unlock()
	if k != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.close()
	}
}

// Probe restores a session into a fresh context and asks the site; ErrDead when it is signed out. Cookies that
// the site renewed are kept, unless a call was quicker; also when it is not known what the site thinks.
func (p *Pool) Probe(ctx context.Context, site *providers.Browser, jar *jar) error {
	b := jar.newest()
	br, release, err := p.browser(ctx, "session "+b.in().ID)
	if err != nil {
		return err
	}
	defer release()
	c, err := b.restore(br, ContextOptions{insecureTLS: p.opt.insecureTLS})
	if err != nil {
		return err
	}
	defer c.Close()
	err = probe(ctx, compile(site), c, "")
	if !errors.Is(err, ErrDead) {
		jar.adopt(c, &b)
	}
	return err
}
