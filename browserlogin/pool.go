package browserlogin

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// Pool holds the browsers and the logins that run in them. One driver serves
// all; each owner has a browser process of its own, started with the first
// login and stopped some time after the last. It is safe for concurrent use.
type Pool struct {
	opt  Options
	kind kind
	live *liveView // nil: our own
	node string    // where the programs are
	exe  string

	mu     sync.Mutex
	logins map[string]*session   // by the id in the link
	keeps  map[string]*keepAlive // sessions that stay in a browser, by bundle
	closed bool

	finding sync.Mutex

	// starting takes seconds while a browser starts; pages do not wait for it.
	starting sync.Mutex
	driver   *driver
	proxy    *proxy
	browsers map[string]*owned // by owner
	stopped  bool

	misses  misses
	running sync.WaitGroup
}

// owned is the browser of one owner.
type owned struct {
	Browser
	users int
	timer *time.Timer
}

// ErrBusy means that the owner, or the server, has as many logins as it may have.
var ErrBusy = errors.New("too many browser sign-ins are open: finish or cancel one, then try again")

// ErrClosed means that the pool has been closed.
var ErrClosed = errors.New("the server is stopping; try again in a moment")

// New makes a pool. It starts nothing: a server without a browser works until
// somebody asks for a browser login.
func New(o Options) (*Pool, error) {
	k, err := parseKind(o.Kind)
	if err != nil {
		return nil, err
	}
	live, err := parseLiveView(o, k)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.Network == nil {
		o.Network = func(r *http.Request) netip.Prefix {
			at, _ := netip.ParseAddrPort(r.RemoteAddr)
			return netip.PrefixFrom(at.Addr(), at.Addr().BitLen())
		}
	}
	if o.Dial == nil {
		o.Dial = egress.New(egress.Options{}).DialContext
	}
	return &Pool{opt: o, kind: k, live: live, browsers: map[string]*owned{}, logins: map[string]*session{}}, nil
}

// Close ends every login and every browser and wipes what they left.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.logins {
		s.cancel(errServerStops)
	}
	p.mu.Unlock()
	p.running.Wait()
	for _, id := range p.keptIDs() {
		p.hangUp(id)
	}
	p.starting.Lock()
	defer p.starting.Unlock()
	p.stopped = true
	for owner, b := range p.browsers {
		p.drop(owner, b)
	}
	p.stopDriver()
	if p.proxy != nil {
		p.proxy.close()
		p.proxy = nil
	}
	return nil
}

// newID is 256 bits from the system's random source.
func newID() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Start begins a login and returns the path of its live view. The browser is
// started in the background. Login.Done is called once, when the login is over.
// A login for the same request that runs already is given again; one to another
// site ends instead, without a word to its Done: it is not what the person wants.
func (p *Pool) Start(l Login) (path string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", ErrClosed
	}
	mine := 0
	for id, s := range p.logins {
		switch {
		case s.login.Request == l.Request && reflect.DeepEqual(s.login.Site, l.Site):
			return "/live/" + id, nil // the confirm button pressed twice
		case s.login.Request == l.Request && s.handing: // what it captured may be stored already
			return "", errReplaced
		case s.login.Request == l.Request:
			delete(p.logins, id)
			s.cancel(errReplaced)
		case s.login.Owner == l.Owner:
			mine++
		}
	}
	if mine >= p.opt.PerOwner || len(p.logins) >= p.opt.Max {
		return "", ErrBusy
	}
	s := newSession(p, newID(), l)
	s.login.Done = func(ctx context.Context, got *Captured, err error) error {
		if !p.hands(s) {
			return errReplaced
		}
		return l.Done(ctx, got, err)
	}
	p.logins[s.id] = s
	p.running.Go(func() {
		s.run()
		p.mu.Lock()
		delete(p.logins, s.id)
		p.mu.Unlock()
	})
	return "/live/" + s.id, nil
}

// hands marks the moment from which a login's Done decides; false when another login has its place.
func (p *Pool) hands(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.handing = !errors.Is(context.Cause(s.ctx), errReplaced)
	return s.handing
}

func (p *Pool) login(id string) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logins[id]
}

// browser gives the owner's browser, started if need be. release has to be
// called once; the browser then stays warm for Options.Linger.
func (p *Pool) browser(ctx context.Context, owner string) (b Browser, release func(), err error) {
	p.starting.Lock()
	defer p.starting.Unlock()
	own := p.browsers[owner]
	if own != nil && gone(own) {
		p.drop(owner, own)
		own = nil
	}
	if own == nil {
		started, err := p.launch(ctx)
		if err != nil {
			return nil, nil, err
		}
		own = &owned{Browser: started}
		p.browsers[owner] = own
	}
	if own.timer != nil {
		own.timer.Stop()
	}
	own.users++
	var once sync.Once
	return own, func() { once.Do(func() { p.release(owner, own) }) }, nil
}

func (p *Pool) release(owner string, b *owned) {
	p.starting.Lock()
	defer p.starting.Unlock()
	if b.users--; b.users > 0 {
		return
	}
	if gone(b) {
		p.drop(owner, b)
		return
	}
	b.timer = time.AfterFunc(p.opt.Linger, func() {
		p.starting.Lock()
		defer p.starting.Unlock()
		if b.users == 0 {
			p.drop(owner, b)
		}
	})
}

// discard forgets the owner's browser, which does not work any more.
func (p *Pool) discard(owner string) {
	p.starting.Lock()
	defer p.starting.Unlock()
	if b := p.browsers[owner]; b != nil {
		p.drop(owner, b)
	}
}

// drop closes a browser, and with the last one the driver. p.starting is held.
func (p *Pool) drop(owner string, b *owned) {
	if p.browsers[owner] != b {
		return
	}
	delete(p.browsers, owner)
	_ = b.Close()
	if len(p.browsers) == 0 {
		p.stopDriver()
	}
}

func (p *Pool) stopDriver() {
	if p.driver != nil {
		p.driver.close()
		p.driver = nil
	}
}

// launch starts proxy and driver where they are not running, then a browser. p.starting is held.
func (p *Pool) launch(ctx context.Context) (Browser, error) {
	if p.stopped {
		return nil, ErrClosed
	}
	if err := p.find(ctx); err != nil {
		return nil, err
	}
	var err error
	if p.proxy == nil {
		if p.proxy, err = startProxy(p.opt.Dial); err != nil {
			return nil, err
		}
	}
	// A driver that died is found out by trying: then once more with a new one.
	for attempt := 0; ; attempt++ {
		if p.driver == nil {
			sweepRunDirs(p.opt.TempDir)
			if p.driver, err = startDriver(p.opt, p.node, p.kind.headed); err != nil {
				return nil, err
			}
		}
		b, err := p.driver.launch(p.kind, p.exe, p.proxy.url(), !p.opt.UnsafeNoSandbox)
		if err == nil {
			return b, nil
		}
		if len(p.browsers) == 0 {
			p.stopDriver()
		}
		if attempt > 0 || errors.Is(err, ErrNoSandbox) || p.driver != nil && p.driver.alive() {
			return nil, err
		}
		p.stopDriver()
	}
}

// Ready is nil when the programs are here with which a browser starts. Else it names the one that is missing, and how it comes here.
func (p *Pool) Ready(ctx context.Context) error {
	err := p.find(ctx)
	switch {
	case errors.Is(err, errNoDriver):
		return errors.New("the browser driver: latchpost browser install")
	case err != nil:
		return fmt.Errorf("software for browser sign-ins: %w", err)
	}
	return nil
}

// find looks for the programs until they are here.
func (p *Pool) find(ctx context.Context) (err error) {
	p.finding.Lock()
	defer p.finding.Unlock()
	if p.node != "" {
		return nil
	}
	if p.kind.cdp == "" {
		if p.exe, err = FindChromium(p.opt); err != nil {
			return err
		}
	}
	if err = checkArchive(filepath.Join(p.opt.DriverDir, driverFile)); err != nil {
		return err
	}
	p.node, err = findNode(ctx, p.opt)
	return err
}

func gone(b Browser) bool {
	select {
	case <-b.Gone():
		return true
	default:
		return false
	}
}

// selfTest waits for one real picture and gives its size in bytes, and the host of the service's live view.
func (p *Pool) selfTest(ctx context.Context) (size int, view string, err error) {
	b, release, err := p.browser(ctx, "self-test")
	if err != nil {
		return 0, "", err
	}
	defer release()
	c, err := b.NewContext(ContextOptions{Width: 640, Height: 480})
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	page, err := c.NewPage()
	if err != nil {
		return 0, "", err
	}
	cdp, err := page.CDP()
	if err != nil {
		return 0, "", err
	}
	got := make(chan int, 1)
	cast := newCast(cdp, func(f frame) {
		select {
		case got <- len(f.jpeg):
		default:
		}
	})
	cast.start(640, 480)
	defer cast.stop()
	select {
	case size = <-got:
	case <-ctx.Done():
		return 0, "", errors.New("the browser starts but sends no picture: look at its version, then run latchpost browser check again")
	}
	if p.live == nil {
		return size, "", nil
	}
	if _, view, err = p.live.link(cdp, time.Minute); errors.Is(err, errLinkHost) {
		err = fmt.Errorf("%w: %s", err, view)
	}
	if err != nil {
		return 0, "", fmt.Errorf("the browser works, but people would not see its service's live view: %w", err)
	}
	return size, view, nil
}
