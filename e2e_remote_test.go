package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

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
	return settle(t, authtest.Options{}, "http", strings.NewReader(""), io.Discard, "serve",
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
	p.shot("sign-in-needed")
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
	for name, tell := range map[string]func(*testing.T, *chromium, *authtest.OIDCProvider){
		"the whole way": wholeWay,
		"ID-002 open":   openByAnother,
	} {
		t.Run(name, func(t *testing.T) { tell(t, c, issuer) })
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
	p.reads("basic") // the client by its verified token, not by what it calls itself
	if text := p.text(); strings.Contains(text, "somebody else") || strings.Contains(text, "unverified") {
		t.Errorf("the page takes the agent's word for who it is: %s", text)
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
	if n, _ := p.Locator("form").Count(); n > 0 {
		t.Error("bob sees a form")
	}
	if e := n.happened(alice, "identity_mismatch"); e.Request != q.id || e.Owner != alice || e.Detail["visitor"] != "bob" {
		t.Errorf("on record: %+v", e)
	}
	if seen := n.provider.Requests("/authorize"); len(seen) > 0 {
		t.Errorf("the provider heard of it: %v", seen)
	}
}
