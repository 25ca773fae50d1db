package browserlogin

import (
	_ "embed"
	"net/url"
	"sync"
	"sync/atomic"
)

//go:embed limits.js
var limitsScript string

// tab is one page of a login: the first, or a popup.
type tab struct {
	id    int
	page  *Page
	cdp   CDP
	cast  *cast
	agent *agent
	blank atomic.Bool   // it is the empty page that we opened, which nobody has written into
	ready chan struct{} // closed when the page can be shown, or will never be
	fail  error

	handed bool // somebody has a link to the service's view of it; of session.mu

	mu      sync.Mutex
	dialog  *Dialog // waits for its answer
	crashed bool
	drawn   bool  // see draw
	warned  bool  // see leaveWarning
	popup   popup // the menu or picker that is drawn for it
}

// popup is a native popup that the viewer draws.
type popup struct {
	id    int // as the viewer knows it
	held  int // as the page's script knows it
	where world
}

// open makes the page ready for a viewer. It blocks on the browser.
func (t *tab) open(emit func(frame), ours bool) {
	defer close(t.ready)
	if t.cdp, t.fail = t.page.CDP(); t.fail != nil {
		return
	}
	t.cast = newCast(t.cdp, emit)
	if ours {
		t.draw()
	}
	// A passkey request that gets past limits.js would open an invisible native sheet
	// that swallows every later click. This keeps the sheet away.
	_, _ = t.cdp.Send("WebAuthn.enable", map[string]any{"enableUI": false})
	_, _ = t.cdp.Send("WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{
		"protocol": "ctap2", "transport": "usb", "hasResidentKey": false, "hasUserVerification": false, "automaticPresenceSimulation": false,
	}})
}

// draw lets our view draw what the browser itself would. In the service's view that is the service's task.
func (t *tab) draw() {
	t.mu.Lock()
	again := t.drawn
	t.drawn = true
	t.mu.Unlock()
	if again {
		return
	}
	t.agent.join(t.cdp)
	for _, f := range t.page.children() {
		t.agent.joinFrame(t.page, f)
	}
}

func (t *tab) isDrawn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drawn
}

func (t *tab) openDialog() *Dialog {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dialog
}

func (t *tab) takeDialog() *Dialog {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dialog
	t.dialog = nil
	return d
}

// address is what stands in the address line: from the browser, never from the page.
type address struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Path   string `json:"path"` // without the query, which may hold a token
	Secure bool   `json:"secure"`
	Away   bool   `json:"away"` // the page is none of the definition's
}

// away tells whether what is typed goes to somebody else. A page without a host (about:, data:) belongs to whoever opened it or led there.
func (a address) away(r *rules) bool {
	switch a.Scheme {
	case "http", "https", "about", "blob", "data":
		return !r.ours(a.Host)
	}
	return false // the browser's own page, which says that an address does not open
}

func readAddress(raw string) address {
	u, err := url.Parse(raw)
	if err != nil {
		return address{}
	}
	path := u.EscapedPath()
	if len(path) > 120 {
		path = path[:120] + "…"
	}
	if u.Scheme == "blob" { // its address has that of the page which made it
		inner := readAddress(u.Opaque)
		return address{Scheme: u.Scheme, Host: inner.Host, Secure: inner.Secure}
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return address{Scheme: u.Scheme}
	}
	return address{Scheme: u.Scheme, Host: u.Host, Path: path, Secure: u.Scheme == "https"}
}
