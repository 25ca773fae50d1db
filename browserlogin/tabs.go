package browserlogin

import (
	"encoding/json"
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
	if len(s.tabs) >= s.pool.opt.Tabs {
		s.send(map[string]any{"t": "note", "s": "The site tried to open one window more than Latchpost allows."})
		s.mu.Unlock()
		s.work.Go(p.Close)
		return
	}
	s.lastID++
	t := &tab{id: s.lastID, page: p, ready: make(chan struct{})}
	t.agent = newAgent(func(w world, payload string) { s.heard(t, w, payload) })
	s.tabs = append(s.tabs, t)
	s.mu.Unlock()

	p.Listen(PageEvents{
		Closed: func() { s.work.Go(func() { s.dropTab(t) }) },
		Crashed: func() {
			t.mu.Lock()
			t.crashed = true
			t.mu.Unlock()
			s.announceTabs()
		},
		Moved: func(main bool) {
			s.poke()
			s.work.Go(func() {
				if main && !allowedScheme(t.page.URL()) {
					_ = t.page.Goto("about:blank")
				}
				t.agent.joinFrames(t.page)
				if main && t.cast != nil {
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
	s.work.Go(func() {
		t.open(func(f frame) { s.picture(t, f) })
		if t.fail == nil {
			s.show(t)
		}
	})
}

func (t *tab) close() {
	<-t.ready
	if t.cast != nil {
		t.cast.stop()
	}
	t.agent.work.Wait()
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

// show brings a tab to the front, in the size of the viewer's window.
func (s *session) show(t *tab) {
	<-t.ready
	if t.fail != nil {
		return
	}
	s.casting.Lock()
	defer s.casting.Unlock()
	s.mu.Lock()
	if !slices.Contains(s.tabs, t) {
		s.mu.Unlock()
		return
	}
	before := s.front
	s.front = t
	w, h, watched := s.width, s.height, s.view != nil
	s.mu.Unlock()
	if before != nil && before != t && before.cast != nil {
		before.cast.stop()
	}
	s.announceTabs()
	t.page.BringToFront()
	if pw, ph := t.page.Size(); pw != w || ph != h {
		_ = t.page.Resize(w, h)
	}
	if watched {
		t.cast.start(w, h)
	} else {
		t.cast.stop()
	}
}

// refresh shows the tab in front again: the viewer came, left or changed its size.
func (s *session) refresh() {
	s.mu.Lock()
	t := s.front
	s.mu.Unlock()
	if t != nil {
		s.show(t)
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
	s.mu.Lock()
	old, c := s.front, s.context
	s.mu.Unlock()
	if old == nil || c == nil {
		return
	}
	address := old.page.URL()
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
	s.visit(t, address)
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

// dialog keeps a JavaScript dialog until the person answers.
func (s *session) dialog(t *tab, d Dialog) {
	if d.Kind == "beforeunload" {
		s.work.Go(func() { d.Accept("") })
		return
	}
	t.mu.Lock()
	t.dialog = &d
	t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(dialogMessage(t))
}

func dialogMessage(t *tab) map[string]any {
	d := t.openDialog()
	if d == nil {
		return nil
	}
	return map[string]any{"t": "dialog", "id": t.id, "kind": d.Kind, "s": cut(d.Message, 2000), "value": cut(d.Default, 500), "host": readAddress(t.page.URL()).Host}
}

// heard is a word from our script in the page. The page cannot write it, but what
// it carries is the page's text: it is shown as text, and nothing else.
func (s *session) heard(t *tab, w world, payload string) {
	var m struct {
		T       string  `json:"t"`
		ID      int     `json:"id"`
		Label   string  `json:"label"`
		Field   bool    `json:"on,omitempty"`
		Kind    string  `json:"kind,omitempty"`
		Value   string  `json:"value,omitempty"`
		Min     string  `json:"min,omitempty"`
		Max     string  `json:"max,omitempty"`
		Step    string  `json:"step,omitempty"`
		X       float64 `json:"x"`
		Y       float64 `json:"y"`
		W       float64 `json:"w"`
		H       float64 `json:"h"`
		Options []struct {
			I     int    `json:"i"`
			S     string `json:"s"`
			Group string `json:"g,omitempty"`
			Off   bool   `json:"off,omitempty"`
			On    bool   `json:"on,omitempty"`
		} `json:"options,omitempty"`
	}
	if json.Unmarshal([]byte(payload), &m) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.T == "focus" && s.front == t {
		s.send(map[string]any{"t": "focus", "on": m.Field, "kind": m.Kind})
	}
	if m.T != "menu" && m.T != "picker" {
		return
	}
	s.lastID++
	t.mu.Lock()
	t.popup = popup{id: s.lastID, held: m.ID, where: w}
	t.mu.Unlock()
	m.ID = s.lastID
	if s.front == t {
		s.send(m)
	}
}

// navigationFailed turns a site that asks for a password by HTTP into a prompt;
// the browser itself would only show an empty page.
func (s *session) navigationFailed(p *Page, url, reason string) {
	t := s.tabOf(p)
	if t == nil || reason != "net::ERR_INVALID_AUTH_CREDENTIALS" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	s.prompt = &prompt{id: s.lastID, tab: t, url: url}
	s.send(s.promptMessage())
}

func (s *session) promptMessage() map[string]any {
	if s.prompt == nil {
		return nil
	}
	return map[string]any{"t": "login", "id": s.prompt.id, "host": readAddress(s.prompt.url).Host}
}

// logIn answers the prompt: the credentials are given to the browser for this one
// navigation, and a wrong pair brings the prompt again.
func (s *session) logIn(p *prompt, user, password string) {
	cdp, err := p.tab.page.CDP()
	if err != nil {
		return
	}
	defer cdp.Close()
	tried := false
	cdp.On("Fetch.authRequired", func(e map[string]any) {
		answer := map[string]any{"response": "ProvideCredentials", "username": user, "password": password}
		if tried {
			answer = map[string]any{"response": "CancelAuth"}
		}
		tried = true
		s.work.Go(func() {
			_, _ = cdp.Send("Fetch.continueWithAuth", map[string]any{"requestId": e["requestId"], "authChallengeResponse": answer})
		})
	})
	cdp.On("Fetch.requestPaused", func(e map[string]any) {
		s.work.Go(func() { _, _ = cdp.Send("Fetch.continueRequest", map[string]any{"requestId": e["requestId"]}) })
	})
	// Only documents and only requests: a response's headers never come this way (see CDP).
	_, _ = cdp.Send("Fetch.enable", map[string]any{
		"handleAuthRequests": true, "patterns": []map[string]any{{"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}},
	})
	s.visit(p.tab, p.url)
	_, _ = cdp.Send("Fetch.disable", nil)
}

// announceTabs sends the address line and the list of tabs, a moment later: the
// address changes just after the event that tells of it.
func (s *session) announceTabs() {
	s.work.Go(func() {
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
	a.Away = a.Host != "" && !s.rules.ours(a.Host)
	tabs := []map[string]any{}
	for _, t := range s.tabs {
		host := readAddress(t.page.URL()).Host
		tabs = append(tabs, map[string]any{"id": t.id, "s": or(host, "new window"), "on": t == s.front})
	}
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	return map[string]any{"t": "page", "address": a, "tabs": tabs, "crashed": s.front.crashed}
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

const settle = 600 * time.Millisecond
