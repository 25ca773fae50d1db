package web_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

// send posts JSON and gives the answer's object.
func (p *person) send(path, body string, pairs ...string) map[string]any {
	p.t.Helper()
	p.do(p.request("POST", path, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, pairs...)))
	return p.object()
}

func (p *person) object() map[string]any {
	p.t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(p.last.body), &out); err != nil {
		p.t.Fatalf("%v: %s", err, p.last.body)
	}
	return out
}

func TestAPI(t *testing.T) {
	h := open(t, nil)
	owner := h.person().signIn("local")
	h.connect(owner, h.ask(claude, auth.Wish{}).RequestID, "alice")
	approval := h.approval(claude, auth.Call{Provider: "practice", Method: "POST", Path: "/repos"})
	pending := h.ask(claude, auth.Wish{Scopes: []string{"repo"}}).RequestID

	for path, text := range map[string]string{
		"connections": `"account":"alice@example.com"`, "requests": pending, "approvals": `"answers":["once","hour","always","deny"]`,
		"grants": `"access":"read"`, "events?kind=request.confirm": `"decision":"allow"`, "providers?query=github": `"id":"github"`,
	} {
		owner.get("/api/v1/" + path)
		owner.want(200, text)
	}
	for _, secret := range h.Server.Secrets() {
		owner.get("/api/v1/connections")
		if strings.Contains(owner.last.body, secret) {
			t.Error("a secret is in the answer")
		}
	}

	owner.send("/api/v1/approvals/"+approval+"/decide", `{"answer":"release_8h"}`)
	owner.want(400)
	owner.send("/api/v1/approvals/"+approval+"/decide", `{"answer":"deny","more":1}`)
	owner.want(400)
	owner.send("/api/v1/approvals/"+approval+"/decide", `{"answer":"deny"}`)
	owner.want(200)
	if s := h.status(claude, approval); s.Status != auth.StatusDeclined {
		t.Errorf("the approval is %s", s.Status)
	}
	owner.send("/api/v1/revoke", `{}`)
	owner.want(400)
	owner.send("/api/v1/revoke", `{"request_id":"`+pending+`"}`)
	owner.want(200, pending)
	owner.send("/api/v1/revoke", `{"provider":"practice"}`)
	owner.want(200, `"at_provider":"revoked"`)
	if got := h.accounts(); got != "" {
		t.Errorf("connected: %s", got)
	}
}

func TestAPIIsForItsOwner(t *testing.T) {
	h := open(t, nil)
	h.connect(h.person(), h.ask(claude, auth.Wish{}).RequestID, "alice")
	approval := h.approval(claude, auth.Call{Provider: "practice", Method: "POST", Path: "/repos"})
	other := h.person().signIn("acme/ann")
	other.get("/api/v1/connections")
	other.want(200, `"connections":[]`)
	other.send("/api/v1/approvals/"+approval+"/decide", `{"answer":"always"}`)
	other.want(404)
	owner := h.person().signIn("local")
	for _, pairs := range [][]string{
		{"Content-Type", "text/plain"}, {"Content-Type", "application/x-www-form-urlencoded"},
		{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Origin", "null"},
	} {
		owner.do(owner.request("POST", "/api/v1/revoke", strings.NewReader(`{"provider":"practice"}`), append([]string{"Content-Type", "application/json"}, pairs...)))
		if owner.last.status == 200 {
			t.Errorf("%v is taken", pairs)
		}
	}
	if got := h.accounts(); got != "alice@example.com" {
		t.Errorf("connected: %s", got)
	}
}
