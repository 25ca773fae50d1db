package identity_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// leave presses the button on /login and gives the address at the issuer.
func (b *browser) leave(next string) string {
	b.t.Helper()
	res := b.post("/login", form("next", next))
	_, target, found := strings.Cut(res.Header.Get("Refresh"), "url=")
	if res.StatusCode != http.StatusOK || !found {
		b.t.Fatalf("leaving: %s, %q", res.Status, res.Header.Get("Refresh"))
	}
	return target
}

// approve signs in at the practice issuer and gives the callback's address.
func (h *house) approve(t *testing.T, target, user string) string {
	t.Helper()
	callback, err := h.as.Approve(t.Context(), target, user)
	if err != nil {
		t.Fatal(err)
	}
	return callback
}

func TestSignIn(t *testing.T) {
	for _, client := range []authtest.Client{{ID: "public"}, {ID: "basic", Secret: "basic secret/+:%&="}, {ID: "post", Secret: "post secret/+:%&="}} {
		t.Run(client.ID, func(t *testing.T) {
			h := open(t)
			h.Issuer.ClientID, h.Issuer.ClientSecret = client.ID, auth.NewSecret(client.Secret)
			if client.ID == "post" {
				h.metadata("token_endpoint_auth_methods_supported", []string{"client_secret_post"})
			}
			b := newBrowser(t, h.serve(t))
			target := b.leave("/c/R1")
			asked, _ := url.Parse(target)
			q := asked.Query()
			if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("state") == "" || q.Get("nonce") == "" ||
				q.Get("redirect_uri") != b.base+"/login/callback" || q.Get("scope") != "openid" || q.Get("response_type") != "code" {
				t.Errorf("asked for %v", q)
			}
			res := b.get(h.approve(t, target, "alice"))
			if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/c/R1" {
				t.Fatalf("back: %s to %q", res.Status, res.Header.Get("Location"))
			}
			// The agent's token and the person's browser speak of the same owner.
			caller, err := h.Caller(bearer(h.as.Sign("at+jwt", h.good())))
			if owner := b.owner(h); err != nil || owner == nil || *owner != caller.Owner {
				t.Errorf("the browser is %v, the agent's token %v, %v", owner, caller.Owner, err)
			}
			if n := len(h.as.Requests("POST /token")); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
		})
	}
}

// The answer to one sign-in is worth nothing in another browser, at another time, or twice.
func TestStolenAndOldAnswers(t *testing.T) {
	h := open(t)
	base := h.serve(t)
	b, other := newBrowser(t, base), newBrowser(t, base)
	callback := h.approve(t, b.leave(""), "alice")

	refuse := func(b *browser, address, what string, status int) {
		t.Helper()
		if res := b.get(address); res.StatusCode != status || b.owner(h) != nil {
			t.Errorf("%s: %s, signed in as %v", what, res.Status, b.owner(h))
		}
	}
	refuse(other, callback, "a browser without the cookie", http.StatusBadRequest)
	other.leave("")
	refuse(other, callback, "a browser with a sign-in of its own", http.StatusBadRequest)
	if n := len(h.as.Requests("POST /token")); n != 0 {
		t.Errorf("%d codes were sent", n)
	}

	u, _ := url.Parse(base)
	kept := b.client.Jar.Cookies(u)
	if res := b.get(callback); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("the right browser: %s", res.Status)
	}
	b.post("/logout", nil)
	refuse(b, callback, "the same answer again", http.StatusBadRequest)
	b.client.Jar.SetCookies(u, kept)
	refuse(b, callback, "the same answer with the cookie kept", http.StatusBadRequest)
	if n := len(h.as.Requests("POST /token")); n != 1 {
		t.Errorf("%d codes were sent", n)
	}

	callback = h.approve(t, b.leave(""), "alice")
	h.clock.pass(10 * time.Minute)
	refuse(b, callback, "too late", http.StatusGone)
}

// CB-004, CB-012: the code is sent once, however often and fast the answer comes, and not at all for who looks ahead.
func TestAnswerAtOnce(t *testing.T) {
	h := open(t)
	base := h.serve(t)
	b := newBrowser(t, base)
	callback := h.approve(t, b.leave(""), "alice")
	u, _ := url.Parse(base)
	come := func(purpose string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, callback, nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		for _, c := range b.client.Jar.Cookies(u) {
			r.AddCookie(c)
		}
		if purpose != "" {
			r.Header.Set("Sec-Purpose", purpose)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if status := come("prefetch"); status != http.StatusNoContent {
		t.Errorf("a look ahead: %d", status)
	}
	var in atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if come("") == http.StatusSeeOther {
				in.Add(1)
			}
		})
	}
	all.Wait()
	if n := len(h.as.Requests("POST /token")); n != 1 || in.Load() != 1 {
		t.Errorf("%d codes were sent, %d are signed in", n, in.Load())
	}
}

func TestChangedAnswers(t *testing.T) {
	h := open(t)
	base := h.serve(t)
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for name, c := range map[string]struct {
		change func(url.Values)
		status int
	}{
		"no state":         {func(q url.Values) { q.Del("state") }, 400},
		"empty state":      {set("state", ""), 400},
		"cut state":        {func(q url.Values) { q.Set("state", q.Get("state")[:8]) }, 400},
		"changed state":    {func(q url.Values) { q.Set("state", flipped(q.Get("state"))) }, 400},
		"two states":       {func(q url.Values) { q.Add("state", q.Get("state")) }, 400},
		"two codes":        {func(q url.Values) { q.Add("code", "x") }, 400},
		"another issuer":   {set("iss", "https://evil.example"), 400}, // RFC 9207
		"no issuer":        {func(q url.Values) { q.Del("iss") }, 400},
		"no code":          {func(q url.Values) { q.Del("code") }, 403},
		"made-up code":     {set("code", "made-up"), 403},
		"declined":         {set("error", "access_denied"), 403},
		"hostile error":    {set("error", authtest.HostileText), 403},
		"declined by whom": {func(q url.Values) { q.Set("error", "access_denied"); q.Set("iss", "https://evil.example") }, 400},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t, base)
			u, err := url.Parse(h.approve(t, b.leave(""), "alice"))
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			c.change(q)
			u.RawQuery = q.Encode()
			if res := b.get(u.String()); res.StatusCode != c.status || b.owner(h) != nil {
				t.Errorf("%s, signed in as %v", res.Status, b.owner(h))
			}
		})
	}
}

// flipped changes the first character behind the id.
func flipped(state string) string {
	c := "A"
	if state[9] == 'A' {
		c = "B"
	}
	return state[:9] + c + state[10:]
}

func TestDeclined(t *testing.T) {
	h := open(t)
	b := newBrowser(t, h.serve(t))
	callback, err := h.as.Deny(t.Context(), b.leave(""))
	if err != nil {
		t.Fatal(err)
	}
	if res := b.get(callback); res.StatusCode != http.StatusForbidden || b.owner(h) != nil {
		t.Errorf("%s, signed in as %v", res.Status, b.owner(h))
	}
}

func TestBadIDTokens(t *testing.T) {
	h := open(t)
	b := newBrowser(t, h.serve(t))
	now := h.clock.now().Unix()
	for name, c := range map[string]struct {
		typ     string
		changes map[string]any
	}{
		"other nonce":       {"JWT", map[string]any{"nonce": "other"}},
		"no nonce":          {"JWT", map[string]any{"nonce": nil}},
		"other audience":    {"JWT", map[string]any{"aud": "other"}},
		"for the resource":  {"JWT", map[string]any{"aud": resource}},
		"no audience":       {"JWT", map[string]any{"aud": nil}},
		"other issuer":      {"JWT", map[string]any{"iss": "https://evil.example"}},
		"expired":           {"JWT", map[string]any{"exp": now}},
		"no expiry":         {"JWT", map[string]any{"exp": nil}},
		"of tomorrow":       {"JWT", map[string]any{"iat": now + 61}},
		"other party":       {"JWT", map[string]any{"azp": "other"}},
		"several, no party": {"JWT", map[string]any{"aud": []string{"public", "other"}}},
		"no subject":        {"JWT", map[string]any{"sub": nil}},
		"an access token":   {"at+jwt", nil},
	} {
		t.Run(name, func(t *testing.T) {
			target := b.leave("")
			h.as.Fault("/token", h.idToken(t, target, c.typ, c.changes))
			if res := b.get(h.approve(t, target, "alice")); res.StatusCode != http.StatusForbidden || b.owner(h) != nil {
				t.Errorf("%s, signed in as %v", res.Status, b.owner(h))
			}
		})
	}
	target := b.leave("")
	h.as.Fault("/token", h.idToken(t, target, "JWT", map[string]any{"aud": []string{"public", "other"}, "azp": "public", "Sub": "bob"}))
	if res := b.get(h.approve(t, target, "alice")); res.StatusCode != http.StatusSeeOther || *b.owner(h) != (auth.Owner{User: "alice"}) {
		t.Errorf("a good one: %s, signed in as %v", res.Status, b.owner(h))
	}
}

// idToken makes the token endpoint answer with a changed, but signed, ID token.
func (h *house) idToken(t *testing.T, target, typ string, changes map[string]any) authtest.Fault {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	now := h.clock.now()
	token := h.as.Sign(typ, with(map[string]any{
		"iss": h.as.URL, "sub": "alice", "aud": "public", "nonce": u.Query().Get("nonce"), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}, changes))
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"access_token": "access", "token_type": "Bearer", "id_token": token})
	}
}

func TestTokenEndpointInTrouble(t *testing.T) {
	h := open(t)
	b := newBrowser(t, h.serve(t))
	for name, c := range map[string]struct {
		fault  authtest.Fault
		status int
	}{
		"cut": {authtest.CutBefore, 503},
		"redirect": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, 503},
		"no ID": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			_, _ = w.Write([]byte(`{"access_token":"x"}`))
		}, 403},
		"nothing": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			callback := h.approve(t, b.leave(""), "alice")
			h.as.Fault("/token", c.fault)
			if res := b.get(callback); res.StatusCode != c.status || b.owner(h) != nil {
				t.Errorf("%s, signed in as %v", res.Status, b.owner(h))
			}
		})
	}
}

// CB-015: a sign-in leads to a page of ours, whatever it was asked for.
func TestForeignNext(t *testing.T) {
	h := open(t)
	base := h.serve(t)
	for _, next := range []string{
		"//evil.example", "https://evil.example", `/\evil.example`, `\\evil.example`, "javascript:alert(1)", "/c/..//evil.example", "/c/%2e%2e/x",
		"/c/x?y=//evil.example", "/c/x#y", "/c/", "/c/x/app", "c/x", " /c/x", "/c/x\n", "/c/x\r\nSet-Cookie: a=b", "/login", "/logout", "/mcp",
		"/connections/", "/c/" + strings.Repeat("x", 65),
	} {
		b := newBrowser(t, base)
		if got := b.post("/login", form("code", h.code(t, alice), "next", next)).Header.Get("Location"); got != "/connections" {
			t.Errorf("%q by link leads to %q", next, got)
		}
		if got := b.get(h.approve(t, b.leave(next), "alice")).Header.Get("Location"); got != "/connections" {
			t.Errorf("%q by issuer leads to %q", next, got)
		}
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/login?"+form("next", next).Encode(), nil))
		if !strings.Contains(w.Body.String(), `name="next" value="/connections"`) {
			t.Errorf("%q is on the page", next)
		}
	}
	for _, next := range []string{"/c/aB-_9", "/done/x", "/secret/x", "/live/x", "/approvals/x", "/approvals", "/apps", "/activity"} {
		b := newBrowser(t, base)
		if got := b.post("/login", form("code", h.code(t, alice), "next", next)).Header.Get("Location"); got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

func TestPages(t *testing.T) {
	h := open(t)
	page := func(target string, cookies ...*http.Cookie) string {
		t.Helper()
		r := httptest.NewRequest("GET", target, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, r)
		header := w.Header()
		if strings.Contains(w.Body.String(), "<script") || strings.Contains(w.Body.String(), "style=") || header.Get("Cache-Control") != "no-store" ||
			header.Get("Referrer-Policy") != "no-referrer" || !strings.HasPrefix(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v", target, header)
		}
		return w.Body.String()
	}
	issuer, _ := url.Parse(h.as.URL)
	if body := page("/login"); !strings.Contains(body, issuer.Host) || strings.Contains(body, "owner-link") {
		t.Errorf("with an issuer: %s", body)
	}
	if body := page("/login", signedIn(t, h, alice)); !strings.Contains(body, "acme/alice") || !strings.Contains(body, `action="/logout"`) {
		t.Errorf("signed in: %s", body)
	}
	if body := page(`/login/%22%3E%3Cscript%3E`); !strings.Contains(body, `value="&#34;&gt;&lt;script&gt;"`) {
		t.Errorf("a hostile code: %s", body)
	}
	h.Issuer = nil
	if body := page("/login"); !strings.Contains(body, "owner-link") {
		t.Errorf("without an issuer: %s", body)
	}
	if res := h.post("/login", nil); res.StatusCode != http.StatusConflict {
		t.Errorf("leaving without an issuer: %s", res.Status)
	}
	if body := page("/login/callback?state=ABCDEFGH.x&code=x"); !strings.Contains(body, "owner-link") {
		t.Errorf("an answer without an issuer: %s", body)
	}
	if _, err := h.Caller(bearer("a.b.c")); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("a JWT without an issuer: %v", err)
	}
	for _, path := range []string{"/login", "/login/ABC", "/login/callback"} {
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, httptest.NewRequest("HEAD", path, nil))
		if w.Code != http.StatusNoContent {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
	}
}

// A server that nobody here wrote signs people in too, and its access tokens speak of the same owner.
func TestSignInAtOIDCProvider(t *testing.T) {
	p := oidcProvider{authtest.StartOIDCProvider(t, authtest.OIDCOptions{RedirectURI: "http://127.0.0.1/login/callback"})}
	for _, client := range authtest.DefaultClients() {
		t.Run(client.ID, func(t *testing.T) {
			h := open(t)
			h.clock.at = time.Now() // the provider's
			h.Issuer.URL, h.Issuer.ClientID, h.Issuer.ClientSecret = p.Issuer, client.ID, auth.NewSecret(client.Secret)
			base := h.serve(t)
			for _, user := range []string{"alice", "bob"} {
				b := newBrowser(t, base)
				callback, err := p.Approve(t.Context(), b.leave("/c/R1"), user)
				if err != nil {
					t.Fatal(err)
				}
				if res := b.get(callback); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/c/R1" {
					t.Fatalf("back: %s", res.Status)
				}
				owner := b.owner(h)
				if owner == nil || *owner != (auth.Owner{User: user}) {
					t.Fatalf("signed in as %v", owner)
				}
				tokens := p.tokens(t, client, user)
				caller, err := h.Caller(bearer(tokens.AccessToken))
				if err != nil || caller.Owner != *owner || caller.Client != client.ID || !slices.Equal(caller.Scopes, []string{"repo"}) {
					t.Errorf("the agent's token: %+v, %v", caller, err)
				}
				// MC-016: what else came with it is no access token.
				refused(t, h, tokens.RefreshToken)
				refused(t, h, tokens.Extra("id_token").(string))
			}
		})
	}
}

// oidcProvider gets tokens as an agent does, for our resource.
type oidcProvider struct{ *authtest.OIDCProvider }

func (p oidcProvider) tokens(t *testing.T, client authtest.Client, user string) *oauth2.Token {
	t.Helper()
	style := oauth2.AuthStyleInParams
	if client.Auth == "basic" {
		style = oauth2.AuthStyleInHeader
	}
	config := &oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: "http://127.0.0.1/login/callback", Scopes: []string{"openid", "offline_access", "repo"},
		Endpoint: oauth2.Endpoint{AuthURL: p.Issuer + "/auth", TokenURL: p.Issuer + "/token", AuthStyle: style},
	}
	verifier := oauth2.GenerateVerifier()
	forUs := oauth2.SetAuthURLParam("resource", resource)
	callback, err := p.Approve(t.Context(), config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), forUs, oauth2.SetAuthURLParam("prompt", "consent")), user)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	token, err := config.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier), forUs)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
