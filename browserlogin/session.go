package browserlogin

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/providers"
)

// Login is one wish to sign in to one site.
type Login struct {
	Request string // id of the request; Options.Allowed gets it
	Owner   string // whose: browsers and limits are per owner
	Name    string // of the site, as people read it
	Asked   string // who asks, as people read it
	Site    *providers.Browser
	// After is the page of ours that comes when the login is over, such as /done/{id}; may be empty.
	After string
	// Ended is asked about once a second why nobody waits for the login any more: ErrCancelled, ErrTimeout; nil when somebody does. May be nil.
	Ended func(context.Context) error
	// Done is called once: with what was captured and verified, or with why nothing was. The person is
	// told that it worked only when Done returns nil.
	Done func(context.Context, *Captured, error) error
}

// Why a login ended without a session. Reason gives the word for each.
var (
	ErrCancelled     = errors.New("the sign-in was cancelled")
	ErrTimeout       = errors.New("the sign-in took too long; ask the agent for a new link")
	ErrBrowserExited = errors.New("the browser stopped during the sign-in; start it again")
	errServerStops   = errors.New("the server is stopping; ask the agent for a new link")
	errReplaced      = errors.New("the sign-in goes on in another window")
)

// Reason is a word of a closed set for what Done got: cancelled, timeout,
// browser_exited, unavailable; "" for nil.
func Reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrCancelled):
		return "cancelled"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case errors.Is(err, ErrBrowserExited):
		return "browser_exited"
	default:
		return "unavailable"
	}
}

// phase is what the person is told.
type phase string

const (
	starting  phase = "starting"
	waiting   phase = "waiting"  // for the person
	checking  phase = "checking" // the person seems to be signed in
	connected phase = "connected"
	crashed   phase = "crashed" // the browser is gone; the person can start again
	expired   phase = "expired"
	cancelled phase = "cancelled"
	failed    phase = "failed"
)

// session is one Login under way.
type session struct {
	id    string
	login Login
	pool  *Pool
	rules *rules
	door  door

	handing bool // Done has been called, or is about to be; of pool.mu

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // every goroutine of the session, by async

	wake      chan struct{} // something happened that a rule may look at
	pressed   chan struct{} // "I am signed in"
	again     chan struct{} // "start again"
	active    chan struct{} // the person did something
	ready     chan struct{} // closed when the page can first be shown
	readyOnce sync.Once
	input     *inputs

	mu      sync.Mutex
	over    bool // told the end; nobody may come in any more
	phase   phase
	say     string // one sentence beside the phase
	context *Context
	tabs    []*tab
	front   *tab
	lastID  int
	width   int
	height  int
	view    *viewer
	prompt  *prompt // for a name and password by HTTP
	result  *summary

	// The service's own view, see hosted.go.
	hosted    bool // the person is shown that one
	offered   offered
	holder    string // cookie of the browser that got links
	links     int
	ends      time.Time
	attending sync.Once

	casting  sync.Mutex // one switch of the picture at a time
	renewing sync.Mutex // one new tab in the place of another at a time
}

// prompt is an HTTP authentication request that waits.
type prompt struct {
	id  int
	tab *tab
	url string
}

func newSession(p *Pool, id string, l Login) *session {
	s := &session{
		id: id, login: l, pool: p, rules: compile(l.Site), phase: starting, width: 1280, height: 720, input: newInputs(),
		hosted: p.live != nil, ends: time.Now().Add(p.opt.Total),
		wake: make(chan struct{}, 1), pressed: make(chan struct{}, 1), again: make(chan struct{}, 1), active: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// run lives as long as the login.
func (s *session) run() {
	s.async(s.mind)
	s.async(func() { s.cancel(expire(s.ctx, s.pool.opt.Total, s.pool.opt.Idle, s.ready, s.active, s.warn)) })
	got, err := s.drive()
	if err != nil && s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	if Reason(err) == "unavailable" && !errors.Is(err, errServerStops) {
		s.pool.logf("a browser sign-in ended", "site", s.login.Name, "why", err)
	}
	if e := s.login.Done(context.WithoutCancel(s.ctx), got, err); err == nil {
		err = e
	}
	switch {
	case err == nil:
		s.tell(connected, "")
	case errors.Is(err, ErrCancelled):
		s.tell(cancelled, "")
	case errors.Is(err, ErrTimeout):
		s.tell(expired, "")
	default:
		s.tell(failed, sentence(err))
	}
	s.endView()
	s.cancel(nil)
	s.work.Wait()
}

// async runs fn beside the session, which waits for it at its end. The driver may
// still report things after that: they are not of interest any more.
func (s *session) async(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.work.Go(fn)
	}
}

// drive goes through as many browsers as it takes.
func (s *session) drive() (*Captured, error) {
	for {
		got, err := s.attempt()
		if !errors.Is(err, ErrNoBrowser) || s.ctx.Err() != nil {
			return got, err
		}
		s.pool.discard(s.login.Owner)
		s.tell(crashed, "")
		select {
		case <-s.again:
			s.tell(starting, "")
		case <-time.After(s.pool.opt.Restart):
			return nil, ErrBrowserExited
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
}

// attempt is one browser context from the login page to the captured session.
func (s *session) attempt() (*Captured, error) {
	b, release, err := s.pool.browser(s.ctx, s.login.Owner)
	if err != nil {
		return nil, err
	}
	defer release()
	s.mu.Lock()
	o := ContextOptions{Width: s.width, Height: s.height, insecureTLS: s.pool.opt.insecureTLS}
	s.mu.Unlock()
	c, err := b.NewContext(o)
	if err != nil {
		return nil, err
	}
	defer s.forget(c)
	watch := newWatch(s.rules)
	c.OnPage(s.adopt)
	c.OnResponse(func(r Response) {
		if watch.response(r) {
			s.poke()
		}
	})
	c.OnFailed(s.navigationFailed)
	if err := c.InitScript(limitsScript); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.context = c
	s.mu.Unlock()
	page, err := c.NewPage()
	if err != nil {
		return nil, err
	}
	first := s.tabOf(page)
	if first == nil {
		return nil, ErrNoBrowser
	}
	select {
	case <-first.ready:
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
	if first.fail != nil {
		return nil, first.fail
	}
	attemptCtx, stop := context.WithCancel(s.ctx)
	defer stop()
	s.async(func() {
		s.visit(first, s.login.Site.LoginURL)
		if attemptCtx.Err() == nil {
			s.readyOnce.Do(func() { close(s.ready) }) // how long the browser took is not the person's idleness
			s.alive()
			s.tell(waiting, "")
		}
	})
	s.async(func() { s.feed(attemptCtx) })
	return s.observe(attemptCtx, b, c, watch)
}

// visit opens an address and says so when it cannot.
func (s *session) visit(t *tab, url string) {
	if err := t.page.Goto(url); err != nil && s.ctx.Err() == nil {
		s.pool.logf("the login page does not open", "site", s.login.Name, "why", err)
	}
	t.cast.nudge()
}

// forget closes a context and everything that belongs to it.
func (s *session) forget(c *Context) {
	s.mu.Lock()
	tabs := s.tabs
	s.tabs, s.front, s.context, s.prompt = nil, nil, nil, nil
	s.mu.Unlock()
	_ = c.Close()
	for _, t := range tabs {
		t.close()
	}
	s.input.clear()
}

// feed sends the person's input to the page in front, one after the other.
func (s *session) feed(ctx context.Context) {
	for {
		m, ok := s.input.take(ctx)
		if !ok {
			return
		}
		s.mu.Lock()
		t := s.front
		s.mu.Unlock()
		if t == nil || t.openDialog() != nil {
			continue
		}
		if o, copies := m.(*order); copies {
			s.copyFrom(t, o.Kind == "cut")
		} else {
			t.apply(m)
		}
	}
}

// copyFrom gives the viewer what is marked on a page. Cutting deletes it there, and nothing that the viewer did not get.
func (s *session) copyFrom(t *tab, cut bool) {
	marked := t.agent.everywhere("marked", "", cut)
	if marked == "" {
		return
	}
	if cut {
		t.apply(&key{Kind: "down", Key: "Delete", Code: "Delete", KeyCode: vkDelete})
		t.apply(&key{Kind: "up", Key: "Delete", Code: "Delete", KeyCode: vkDelete})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(map[string]any{"t": "copied", "s": marked})
}

// tell moves to another phase and lets the viewer know.
func (s *session) tell(p phase, sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.say = p, sentence
	s.send(s.stateMessage())
}

// note is one sentence for the person, without a change of phase.
func (s *session) note(sentence string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(map[string]any{"t": "note", "s": sentence})
}

func (s *session) warn(left time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(map[string]any{"t": "idle", "seconds": int(left.Seconds())})
}

// alive notes a sign of the person.
func (s *session) alive() {
	select {
	case s.active <- struct{}{}:
	default:
	}
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// expire returns when a login has to end: after total, or after idle without a
// sign of the person on active, counted from when the page was ready for them. warn is called
// when little of idle is left.
func expire(ctx context.Context, total, idle time.Duration, ready, active <-chan struct{}, warn func(left time.Duration)) error {
	left := min(30*time.Second, idle/4)
	end := time.NewTimer(total)
	defer end.Stop()
	quiet := time.NewTimer(idle - left)
	quiet.Stop()
	defer quiet.Stop()
	warned := false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-end.C:
			return ErrTimeout
		case <-ready:
			ready = nil
			quiet.Reset(idle - left)
		case <-active:
			if ready != nil {
				continue
			}
			if warned {
				warn(0)
			}
			warned = false
			quiet.Reset(idle - left)
		case <-quiet.C:
			if warned {
				return ErrTimeout
			}
			warned = true
			warn(left)
			quiet.Reset(left)
		}
	}
}

// sentence is what a person may read of an error.
func sentence(err error) string {
	var own *auth.Error
	switch {
	case errors.As(err, &own):
		return upper(own.Message)
	case errors.Is(err, ErrBrowserExited):
		return "The browser stopped and was not started again. Ask your agent for a new link."
	case errors.Is(err, errReplaced):
		return "This sign-in goes on in another window, where it was started again."
	case errors.Is(err, errServerStops), errors.Is(err, ErrClosed):
		return "The server is stopping. Ask your agent for a new link in a moment."
	case errors.Is(err, ErrNoSandbox):
		return "Browser sign-in is off on this server, because its browser cannot be locked in there. Whoever runs it can run latchpost browser check."
	}
	return "The browser could not be used. Ask the agent for a new link, or ask whoever runs this server to run latchpost browser check."
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + strings.TrimPrefix(".", s[len(s)-1:])
}
