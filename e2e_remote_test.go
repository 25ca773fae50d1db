package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/playwright-community/playwright-go"
	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// resource is what the tokens of agents are for. It need not be where the server is.
const resource = "https://latchpost.example/mcp"

var alice, bob = auth.Owner{User: "alice"}, auth.Owner{User: "bob"}

// remoteHouse is `latchpost serve` for the users of an issuer that nobody here wrote.
func remoteHouse(t *testing.T, issuer *authtest.OIDCProvider) *neighbourhood {
	t.Helper()
	return settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve",
		"--oidc-issuer", issuer.Issuer, "--oidc-client-id", "public", "--resource", resource)
}

// httpAgent is an agent of a user that found the issuer by the server's own word, has an
// access token (JWT) of it, and speaks Streamable HTTP.
func (n *neighbourhood) httpAgent(issuer *authtest.OIDCProvider, user string) *agent {
	n.t.Helper()
	refused, err := http.Post(n.base+"/mcp", "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		n.t.Fatal(err)
	}
	_ = refused.Body.Close()
	if challenge := refused.Header.Get("WWW-Authenticate"); refused.StatusCode != 401 || !strings.Contains(challenge, "/.well-known/oauth-protected-resource/mcp") {
		n.t.Fatalf("without a token: %s %s", refused.Status, challenge)
	}
	client := authtest.DefaultClients()[1]
	config := &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: "http://127.0.0.1/login/callback",
		Scopes:   []string{"openid", "latchpost:connect", "latchpost:use", "latchpost:revoke"},
		Endpoint: oauth2.Endpoint{AuthURL: issuer.Issuer + "/auth", TokenURL: issuer.Issuer + "/token", AuthStyle: oauth2.AuthStyleInHeader},
	}
	verifier, audience := oauth2.GenerateVerifier(), oauth2.SetAuthURLParam("resource", resource)
	callback, err := issuer.Approve(n.t.Context(), config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), audience), user)
	if err != nil {
		n.t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		n.t.Fatal(err)
	}
	token, err := config.Exchange(n.t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier), audience)
	if err != nil {
		n.t.Fatal(err)
	}
	return n.bearer(token.AccessToken)
}

// bearer is an agent that has a token.
func (n *neighbourhood) bearer(token string) *agent {
	return &agent{n.t, func(ctx context.Context, tool string, args map[string]any) (map[string]any, bool, error) {
		const version = "2026-07-28"
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{
			"name": tool, "arguments": args, "_meta": map[string]any{
				"io.modelcontextprotocol/protocolVersion":    version,
				"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "somebody else", "version": "1"},
				"io.modelcontextprotocol/clientCapabilities": map[string]any{},
			},
		}})
		if err != nil {
			return nil, false, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.base+"/mcp", bytes.NewReader(body))
		if err != nil {
			return nil, false, err
		}
		for name, value := range map[string]string{
			"Authorization": "Bearer " + token, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
			"MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": tool,
		} {
			req.Header.Set(name, value)
		}
		res, err := insecure.Do(req)
		if err != nil {
			return nil, false, err
		}
		defer res.Body.Close()
		return readAnswer(res)
	}}
}

// readAnswer takes the result of a tool from JSON or from the last event of a stream.
func readAnswer(res *http.Response) (map[string]any, bool, error) {
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, false, err
	}
	text := string(body)
	if at := strings.LastIndex(text, "data: "); at >= 0 && strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		text = text[at+len("data: "):]
	}
	var message struct {
		Result struct {
			StructuredContent map[string]any
			IsError           bool
		}
		Error json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &message); err != nil || message.Error != nil {
		return nil, false, fmt.Errorf("%s: %s", res.Status, body)
	}
	return message.Result.StructuredContent, message.Result.IsError, nil
}

// signsIn opens a page of ours, which asks a person to sign in at the issuer first, and
// ends on that page.
func (p *person) signsIn(address string) {
	p.t.Helper()
	if status := p.open(address); status != http.StatusForbidden && status != http.StatusUnauthorized {
		p.t.Fatalf("%s, not signed in, gets %d", p.name, status)
	}
	p.shot("please-sign-in")
	p.press("Sign in")
	p.reads("Latchpost learns who you are")
	p.shot("sign-in")
	p.press("Sign in")
	p.must(p.Locator("button[value=allow]").WaitFor())
	p.approve(p.name, address)
}

// remoteStories are two users on one server. The issuer runs once for all of them.
func (c *chromium) remoteStories(t *testing.T) {
	issuer := authtest.StartOIDCProvider(t, authtest.OIDCOptions{RedirectURI: "http://127.0.0.1/login/callback"})
	for _, story := range []struct {
		name string
		tell func(*testing.T, *chromium, *authtest.OIDCProvider)
	}{
		{"the whole way", wholeWay},
		{"ID-002 open", openByAnother},
		{"ID-002 confirm", confirmByAnother},
		{"ID-001 callback", callbackByAnother},
		{"ID-001 callback without a session", callbackByNobody},
		{"ID-010 key form", keyFormByAnother},
		{"ID-011 live view", liveViewByAnother},
	} {
		t.Run(story.name, func(t *testing.T) { story.tell(t, c, issuer) })
	}
	t.Run("one owner", func(t *testing.T) { oneOwner(t, c) })
}

// A server of one owner: the agent has a token that was issued, the browser a session by
// the link of `latchpost owner-link`. Whoever else opens the agent's link is told to sign
// in, and has nothing to do that with.
func oneOwner(t *testing.T, c *chromium) {
	listen := freePort(t)
	base := "http://" + listen
	n := settleAt(t, authtest.Options{}, listen, base, strings.NewReader(""), io.Discard, "serve", "--base-url", base)
	token, _, err := n.identity.Tokens.Create(t.Context(), alice, "laptop-agent", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	link, err := n.identity.Link(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	agent := n.bearer(token.Reveal())
	q := agent.asks(nil)
	p, stranger := c.person(t, "alice"), c.person(t, "stranger")
	if status := stranger.open(q.link); status != http.StatusForbidden {
		t.Errorf("a stranger gets %d", status)
	}
	stranger.press("Sign in")
	stranger.reads("latchpost owner-link")
	stranger.shot("sign-in-by-code")
	p.open(link.Reveal())
	p.press("Sign in")
	p.reads("Nothing is connected yet")
	stranger.open(link.Reveal())
	stranger.press("Sign in")
	stranger.reads("was used already")
	stranger.shot("link-spent")
	p.open(q.link)
	p.reads("laptop-agent")
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base+"/done/")
	p.reads("Practice provider is connected")
	agent.hears(q, "connected")
	if who := agent.getsThrough(); who != "alice" {
		t.Errorf("the call speaks for %s", who)
	}
}

// The link of alice's agent: she signs in, confirms, signs in at the provider and comes
// back, and her agent goes on. Bob's agent has nothing of it.
func wholeWay(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	hers, his := n.httpAgent(issuer, "alice"), n.httpAgent(issuer, "bob")
	q := hers.asks(nil)
	p := c.person(t, "alice")
	p.signsIn(q.link)
	p.reads(q.code)
	p.reads("basic calls itself somebody else asks") // the client by its verified token, and its own word as no more than that
	if text := p.text(); strings.Contains(text, "unverified") {
		t.Errorf("the page does not take the token's word for who it is: %s", text)
	}
	p.shot("connect")
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base)
	p.reads("Practice provider is connected")
	p.shot("connected")
	hers.hears(q, "connected")
	if who := hers.getsThrough(); who != "alice" {
		t.Errorf("the call speaks for %s", who)
	}
	p.hasCookies(n, false, "lp_owner_"+port(n.base), "lp_login_", "lp_flow_")
	p.open(n.base + "/connections")
	p.shot("connections")
	if answer := his.does("list_connections", map[string]any{}); strings.Contains(fmt.Sprint(answer), "alice") {
		t.Errorf("bob's agent sees %v", answer)
	}
	if answer, _, _ := his.call(t.Context(), "wait_for_auth", map[string]any{"request_id": q.id}); answer["status"] == "connected" {
		t.Errorf("bob's agent hears %v", answer)
	}
}

// ID-002: the first check. Bob opens alice's link: he is told, nothing begins, and it is on
// record with both names.
func openByAnother(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	q := n.httpAgent(issuer, "alice").asks(nil)
	p := c.person(t, "bob")
	p.signsIn(n.base + "/connections")
	if status := p.open(q.link); status != http.StatusForbidden {
		t.Errorf("bob gets %d", status)
	}
	p.reads("belongs to another account")
	p.shot("another-account")
	if forms, _ := p.Locator("form").Count(); forms > 0 {
		t.Error("bob sees a form")
	}
	n.mismatched(q)
	if seen := n.provider.Requests("/authorize"); len(seen) > 0 {
		t.Errorf("the provider heard of it: %v", seen)
	}
}

// mismatched: it is on record that bob came with what was made for alice.
func (n *neighbourhood) mismatched(q asked) {
	n.t.Helper()
	if e := n.happened(alice, "identity_mismatch"); e.Request != q.id || e.Owner != alice || e.Detail["visitor"] != "bob" {
		n.t.Errorf("on record: %+v", e)
	}
}

const sendElsewhere = `([address, fields]) => {
	const form = [...document.forms].find(f => f.elements.token);
	for (const [name, value] of Object.entries(fields)) {
		form.querySelectorAll("[name=" + name + "]").forEach(old => old.remove());
		const field = document.createElement("input");
		[field.name, field.value] = [name, value];
		form.append(field);
	}
	form.action = address;
	form.submit();
}`

// posts sends the form of the page that is open, with all that belongs to it, to another
// address, and gives the status of the answer.
func (p *person) posts(address string, fields map[string]any) int {
	p.t.Helper()
	var answer playwright.Response
	p.leaves(func() (err error) {
		answer, err = p.ExpectResponse(address, func() error {
			_, err := p.Evaluate(sendElsewhere, []any{address, fields})
			return err
		})
		return err
	})
	return answer.Status()
}

// ID-002: the second check. Bob, on a page of his own, sends the form of alice's: with his
// own token, and with hers, which somebody may have seen.
func confirmByAnother(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	hers, his := n.httpAgent(issuer, "alice").asks(nil), n.httpAgent(issuer, "bob").asks(nil)
	a, b := c.person(t, "alice"), c.person(t, "bob")
	a.signsIn(hers.link)
	b.signsIn(his.link)
	stolen, err := a.Locator("[name=token]").First().GetAttribute("value")
	a.must(err)
	for _, fields := range []map[string]any{{"do": "connect"}, {"do": "connect", "token": stolen}} {
		b.open(his.link)
		if status := b.posts(hers.link, fields); status != http.StatusForbidden {
			t.Errorf("bob's form: %d, %s", status, b.text())
		}
	}
	b.shot("forged")
	if r, err := n.db.Request(t.Context(), hers.id); err != nil || r.State != auth.Created {
		t.Errorf("alice's request is %+v, %v", r, err)
	}
	if seen := n.provider.Requests("/authorize"); len(seen) > 0 {
		t.Errorf("the provider heard of it: %v", seen)
	}
}

// ID-001: the third check. Alice confirms and hands the provider's address to bob, who
// signs in there. He even has her flow cookie, so that only who he is stands in the way.
// Nothing is redeemed, and alice's own way stays open.
func callbackByAnother(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	agent := n.httpAgent(issuer, "alice")
	q := agent.asks(nil)
	a, b := c.person(t, "alice"), c.person(t, "bob")
	b.signsIn(n.base + "/connections")
	a.signsIn(q.link)
	a.press("Connect")
	a.arrives(n.provider.URL)
	b.takesFlowCookie(a)
	b.open(a.URL())
	b.approve("bob", n.base+"/callback/practice")
	b.reads("belongs to another account")
	b.shot("callback-refused")
	n.unredeemed(q)
	n.mismatched(q)
	agent.hears(q, "pending")
	a.approve("alice", n.base)
	a.reads("Practice provider is connected")
	agent.hears(q, "connected")
	if who := agent.getsThrough(); who != "alice" {
		t.Errorf("alice's agent speaks for %s", who)
	}
}

// takesFlowCookie copies the cookie that ties a flow to the browser of another person.
func (p *person) takesFlowCookie(from *person) {
	p.t.Helper()
	all, err := from.Context().Cookies()
	p.must(err)
	at := slices.IndexFunc(all, func(k playwright.Cookie) bool { return strings.HasPrefix(k.Name, "lp_flow_") })
	if at < 0 {
		p.t.Fatalf("%s has no flow cookie", from.name)
	}
	p.must(p.Context().AddCookies([]playwright.OptionalCookie{all[at].ToOptionalCookie()}))
}

// unredeemed: no code went to the token endpoint, and nothing is connected.
func (n *neighbourhood) unredeemed(q asked) {
	n.t.Helper()
	if seen := n.provider.Requests("POST /token"); len(seen) > 0 {
		n.t.Errorf("%d token requests", len(seen))
	}
	for _, o := range []auth.Owner{alice, bob} {
		if all, err := n.vault.Desk(o).Connections(n.t.Context()); err != nil || len(all) > 0 {
			n.t.Errorf("%s has %v, %v", o, all, err)
		}
	}
	if r, err := n.db.Request(n.t.Context(), q.id); err != nil || r.State != auth.Redirected {
		n.t.Errorf("the request is %+v, %v", r, err)
	}
}

// ID-001: the same in a browser that nobody signed in to.
func callbackByNobody(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	q := n.httpAgent(issuer, "alice").asks(nil)
	a, b := c.person(t, "alice"), c.person(t, "bob")
	a.signsIn(q.link)
	a.press("Connect")
	a.arrives(n.provider.URL)
	b.takesFlowCookie(a)
	b.open(a.URL())
	b.approve("bob", n.base+"/callback/practice")
	b.reads("Please sign in")
	if status := b.open(b.URL()); status != http.StatusForbidden {
		t.Errorf("a stranger's callback: %d", status)
	}
	n.unredeemed(q)
}

// ID-010: the key form of alice's agent opens for bob no more than its link does, and takes
// no key of his.
func keyFormByAnother(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	byKey := map[string]any{"method": "api_key"}
	hers, his := n.httpAgent(issuer, "alice").asks(byKey), n.httpAgent(issuer, "bob").asks(byKey)
	a, b := c.person(t, "alice"), c.person(t, "bob")
	a.signsIn(hers.link)
	a.press("Connect")
	a.reads("Key for Practice provider")
	a.shot("key-form")
	b.signsIn(his.link)
	if status := b.open(n.base + "/secret/" + hers.id); status != http.StatusForbidden {
		t.Errorf("alice's form opens for bob: %d", status)
	}
	if fields, _ := b.Locator("input").Count(); fields > 0 {
		t.Error("bob sees a field")
	}
	n.mismatched(hers)
	b.open(his.link)
	b.press("Connect")
	b.reads("Key for Practice provider")
	if status := b.posts(n.base+"/secret/"+hers.id, map[string]any{"field_key": "CANARYkeyOfBob"}); status != http.StatusForbidden {
		t.Errorf("bob's key for alice: %d", status)
	}
	n.unredeemed(hers)
}

// ID-011: alice's live view is not there for bob: no page, no socket, no picture.
func liveViewByAnother(t *testing.T, c *chromium, issuer *authtest.OIDCProvider) {
	n := remoteHouse(t, issuer)
	q := n.httpAgent(issuer, "alice").asks(map[string]any{"method": "browser"})
	a, b := c.person(t, "alice"), c.person(t, "bob")
	a.signsIn(q.link)
	a.press("Connect")
	a.arrives(n.base + "/live/")
	a.must(a.Locator(`#veil[data-phase="waiting"]`).WaitFor(playwright.LocatorWaitForOptions{State: playwright.WaitForSelectorStateAttached}))
	a.shot("live")
	a.hasCookies(n, false, "latchpost_live_")
	b.signsIn(n.base + "/connections")
	var frames atomic.Int32
	b.OnWebSocket(func(s playwright.WebSocket) { s.OnFrameReceived(func([]byte) { frames.Add(1) }) })
	if status := b.open(a.URL()); status != http.StatusNotFound {
		t.Errorf("alice's live view opens for bob: %d", status)
	}
	b.shot("live-refused")
	n.mismatched(q)
	b.open(n.base + "/connections")
	ended := b.js(`(address) => new Promise(done => { const s = new WebSocket(address); s.onopen = () => done("open"); s.onerror = () => done("refused") })`,
		strings.Replace(a.URL(), "http", "ws", 1)+"/ws")
	if ended != "refused" || frames.Load() > 0 {
		t.Errorf("bob's socket is %v, with %d frames", ended, frames.Load())
	}
	b.broken() // the policy of /connections stands in the way of the socket, too
}
