package browserlogin

import "encoding/json"

// dialog keeps a JavaScript dialog until the person answers.
func (s *session) dialog(t *tab, d Dialog) {
	if d.Kind == "beforeunload" {
		s.async(func() { d.Accept("") })
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
		Inside  bool    `json:"inside,omitempty"` // a frame: X and Y are from where the pointer was pressed last
		More    int     `json:"more,omitempty"`   // choices that are left out
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
// the browser itself would only show an empty page. A browser whose network process
// died has lost its cookies and the way through our proxy, and is done with.
func (s *session) navigationFailed(p *Page, url, reason string) {
	if reason == "net::ERR_PROXY_CONNECTION_FAILED" && s.pool.kind.cdp == "" {
		s.async(func() { s.pool.discard(s.login.Owner) })
		return
	}
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

// asks tells whether an authentication challenge is that of the site for which the person was asked: a redirect may lead to
// another one, and a proxy may ask too.
func (p *prompt) asks(challenge map[string]any) bool {
	origin, _ := challenge["origin"].(string)
	theirs, ours := readAddress(origin), readAddress(p.url)
	return challenge["source"] == "Server" && ours.Host != "" && theirs.Scheme == ours.Scheme && theirs.Host == ours.Host
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
		answer := map[string]any{"response": "CancelAuth"}
		if challenge, _ := e["authChallenge"].(map[string]any); !tried && p.asks(challenge) {
			answer, tried = map[string]any{"response": "ProvideCredentials", "username": user, "password": password}, true
		}
		s.async(func() {
			_, _ = cdp.Send("Fetch.continueWithAuth", map[string]any{"requestId": e["requestId"], "authChallengeResponse": answer})
		})
	})
	cdp.On("Fetch.requestPaused", func(e map[string]any) {
		s.async(func() { _, _ = cdp.Send("Fetch.continueRequest", map[string]any{"requestId": e["requestId"]}) })
	})
	// Only documents and only requests: a response's headers never come this way (see CDP).
	_, _ = cdp.Send("Fetch.enable", map[string]any{
		"handleAuthRequests": true, "patterns": []map[string]any{{"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}},
	})
	s.visit(p.tab, p.url)
	_, _ = cdp.Send("Fetch.disable", nil)
}
