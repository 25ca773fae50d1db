package browserlogin

import (
	"slices"
	"strings"
	"time"
)

// adopt takes in a page the moment the browser opens it. It runs on the driver's
// goroutine, so that no dialog or crash of the page is missed.
func (s *session) adopt(p *Page) {
	s.mu.Lock()
	if s.tabOfLocked(p) != nil || s.context == nil {
		s.mu.Unlock()
		return
	}
	if at := p.URL(); at != "" && !allowedScheme(at) { // a page of the browser itself: no site opens one
		s.mu.Unlock()
		s.async(p.Close)
		return
	}
	if max(len(s.tabs)+1, s.context.Pages()) > s.pool.opt.Tabs { // those that are closing, and what is theirs, count too
		s.send(map[string]any{"t": "note", "s": "The site tried to open one window more than Latchpost allows."})
		s.mu.Unlock()
		s.async(p.Close)
		return
	}
	s.lastID++
	t := &tab{id: s.lastID, page: p, ready: make(chan struct{})}
	t.blank.Store(!p.Opened())
	ours := !s.hosted
	t.agent = newAgent(s.async, func(w world, payload string) { s.heard(t, w, payload) })
	s.tabs = append(s.tabs, t)
	s.mu.Unlock()

	p.Listen(PageEvents{
		Closed: func() { s.async(func() { s.dropTab(t) }) },
		Crashed: func() {
			t.mu.Lock()
			t.crashed = true
			t.mu.Unlock()
			s.announceTabs()
		},
		Moved: func(child Frame) {
			main := child == Frame{}
			if main && p.URL() != "about:blank" {
				t.blank.Store(false)
			}
			s.poke()
			s.async(func() {
				if main && !allowedScheme(t.page.URL()) {
					_ = t.page.Goto("about:blank")
				}
				<-t.ready
				if main {
					s.leaveWarning(t)
				}
				if !main && t.isDrawn() {
					t.agent.joinFrame(t.page, child)
				}
				if main && t.fail == nil {
					t.cast.nudge()
				}
			})
			if main {
				s.announceTabs()
			}
		},
		Dialog: func(d Dialog) { s.dialog(t, d) },
		FileChooser: func() {
			s.note("The site asks for a file. Latchpost's browser has none to give.")
		},
		Download: func() { s.note("The site offered a download. Latchpost's browser takes none.") },
	})
	s.async(func() {
		t.open(func(f frame) { s.picture(t, f) }, ours)
		if t.fail == nil {
			s.leaveWarning(t) // where it may be since before Listen
			s.show(t)
		}
	})
}

// errorPage tells which error page of the browser's own a document is, and "" as long as it is the one before, or not whole. A
// site that asks for a password by HTTP leaves an empty one.
const errorPage = `location.protocol !== "chrome-error:" || document.readyState === "loading" ? ""
	: document.querySelector(".interstitial-wrapper") && !document.body.classList.contains("neterror") ? "warning" : "other"`

// leaveWarning leaves the browser's warning of a certificate that proves nothing. It has a way past it, and whoever took that would
// type a password for anybody on the network, below an address that looks safe. Other pages of the browser's own say why a site does not open, and stay.
func (s *session) leaveWarning(t *tab) {
	for until := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if !strings.HasPrefix(t.page.URL(), "chrome-error:") || s.ctx.Err() != nil {
			return
		}
		kinds := t.page.Eval(s.ctx, errorPage)
		if slices.Contains(kinds, "other") {
			return
		}
		if slices.Contains(kinds, "warning") || time.Now().After(until) {
			break
		}
	}
	t.mu.Lock()
	t.warned = true
	t.mu.Unlock()
	_ = t.page.Goto("about:blank")
	s.announceTabs()
}

func (t *tab) close() {
	<-t.ready
	if t.cast != nil {
		t.cast.stop()
	}
}

func (s *session) tabOf(p *Page) *tab {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tabOfLocked(p)
}

func (s *session) tabOfLocked(p *Page) *tab {
	for _, t := range s.tabs {
		if t.page.same(p) {
			return t
		}
	}
	return nil
}

func (s *session) tabByID(id int) *tab {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tabs {
		if t.id == id {
			return t
		}
	}
	return nil
}

// show brings a tab to the front.
func (s *session) show(t *tab) {
	<-t.ready
	if t.fail != nil {
		return
	}
	s.casting.Lock()
	defer s.casting.Unlock()
	s.cast(t)
}

// refresh shows the tab in front again: the viewer came, left or changed its size.
func (s *session) refresh() {
	s.casting.Lock()
	defer s.casting.Unlock()
	s.mu.Lock()
	t := s.front // not before the lock: a popup that comes meanwhile would lose its place
	s.mu.Unlock()
	if t != nil {
		s.cast(t)
	}
}

// cast makes a tab the one that is seen, in the size of the viewer's window. Input
// goes to the tab before until this one is really in front. s.casting is held.
func (s *session) cast(t *tab) {
	s.mu.Lock()
	before, w, h, hosted := s.front, s.width, s.height, s.hosted
	s.mu.Unlock()
	if before != t {
		t.page.BringToFront()
	}
	if pw, ph := t.page.Size(); !hosted && (pw != w || ph != h) {
		_ = t.page.Resize(w, h)
	}
	s.mu.Lock()
	if !slices.Contains(s.tabs, t) { // closed already
		s.mu.Unlock()
		return
	}
	s.front = t
	watched := s.view != nil
	s.mu.Unlock()
	if before != nil && before != t {
		before.cast.stop()
	}
	s.announceTabs()
	switch {
	case watched && hosted:
		s.async(func() { s.offer(t) })
		fallthrough
	case !watched:
		t.cast.stop()
	default:
		t.draw()
		t.cast.start(w, h)
	}
}

// dropTab forgets a closed tab and goes back to the one before.
func (s *session) dropTab(t *tab) {
	s.mu.Lock()
	s.tabs = slices.DeleteFunc(slices.Clone(s.tabs), func(o *tab) bool { return o == t })
	var next *tab
	if s.front == t {
		s.front = nil
		if len(s.tabs) > 0 {
			next = s.tabs[len(s.tabs)-1]
		}
	}
	c, empty := s.context, len(s.tabs) == 0
	s.mu.Unlock()
	t.close()
	s.poke()
	switch {
	case next != nil:
		s.show(next)
	case empty && c != nil && s.ctx.Err() == nil:
		// The site closed its last window: the login page comes back.
		if p, err := c.NewPage(); err == nil {
			if t := s.tabOf(p); t != nil {
				<-t.ready
				s.visit(t, s.login.Site.LoginURL)
			}
		}
	}
}

// fresh opens the front page's address in a new tab and closes the old one. It
// helps when an invisible window of the browser itself swallows every click, and
// after a crash of the page.
func (s *session) fresh() {
	if !s.renewing.TryLock() { // each opens a page before it closes one
		return
	}
	defer s.renewing.Unlock()
	s.mu.Lock()
	old := s.front
	s.mu.Unlock()
	s.renew(old)
}

func (s *session) renew(old *tab) {
	s.mu.Lock()
	c := s.context
	s.mu.Unlock()
	if old == nil || c == nil {
		return
	}
	address := old.page.URL()
	if scheme := readAddress(address).Scheme; scheme != "http" && scheme != "https" { // an error page, or one that only its maker can open again
		address = s.login.Site.LoginURL
	}
	p, err := c.NewPage()
	if err != nil {
		return
	}
	t := s.tabOf(p)
	if t == nil {
		return
	}
	<-t.ready
	old.page.Close()
	s.show(t) // before the next order to do so finds the old one in front still
	s.async(func() { s.visit(t, address) })
}

// picture passes a frame on, if it is of the tab in front.
func (s *session) picture(t *tab, f frame) {
	s.mu.Lock()
	v := s.view
	if s.front != t {
		v = nil
	}
	s.mu.Unlock()
	if v != nil {
		v.frames.put(f)
	}
}

// announceTabs sends the address line and the list of tabs, a moment later: the
// address changes just after the event that tells of it.
func (s *session) announceTabs() {
	s.async(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.send(s.pageMessage())
	})
}

func (s *session) pageMessage() map[string]any {
	if s.front == nil {
		return nil
	}
	a := readAddress(s.front.page.URL())
	a.Away = a.away(s.rules) && !s.front.blank.Load()
	tabs := []map[string]any{}
	for _, t := range s.tabs {
		host := readAddress(t.page.URL()).Host
		tabs = append(tabs, map[string]any{"id": t.id, "s": or(host, "new window"), "on": t == s.front})
	}
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	return map[string]any{"t": "page", "address": a, "tabs": tabs, "crashed": s.front.crashed, "warned": s.front.warned && a.Host == ""}
}

// allowedScheme keeps a tab away from files and from the browser's own pages. Web
// pages cannot go there by themselves; this holds when one finds a way.
func allowedScheme(address string) bool {
	switch scheme, _, _ := strings.Cut(address, ":"); scheme {
	case "http", "https", "about", "blob", "data", "chrome-error":
		return true
	}
	return false
}

func cut(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most]) + "…"
}
