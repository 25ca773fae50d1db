package auth_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// A1, A2, A3, A14: what every authorization request looks like.
func TestAuthorizeURL(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Authorize.URL += "?theme=dark"
	b.def.Scopes.Default = []string{"openid", "read"}
	b.def.Scopes.Offline = []string{"offline_access"}
	b.def.Authorize.Params = map[string]string{"audience": "api"}
	b.def.Authorize.Offline = map[string]string{"access_type": "offline"}
	states, verifiers := map[string]bool{}, map[string]bool{}
	for range 500 {
		u := b.begin(t)
		q := u.Query()
		for name, values := range q {
			if len(values) > 1 {
				t.Fatalf("%s is there twice", name)
			}
		}
		for name, want := range map[string]string{
			"theme": "dark", "audience": "api", "access_type": "offline", "response_type": "code", "client_id": "basic",
			"redirect_uri": redirectURI, "scope": "openid read offline_access", "code_challenge_method": "S256",
		} {
			if q.Get(name) != want {
				t.Fatalf("%s is %q, want %q", name, q.Get(name), want)
			}
		}
		var private struct{ Verifier, Nonce string }
		if err := json.Unmarshal(b.flow.Private, &private); err != nil {
			t.Fatal(err)
		}
		if len(private.Verifier) < 43 || strings.Contains(u.String(), private.Verifier) {
			t.Fatal("the verifier is short, or in the address")
		}
		if private.Nonce != q.Get("nonce") || private.Nonce == "" { // A6
			t.Fatalf("nonce %q", q.Get("nonce"))
		}
		if len(q.Get("state")) < 43 || states[q.Get("state")] || verifiers[private.Verifier] {
			t.Fatal("state or verifier is short or was there before")
		}
		states[q.Get("state")], verifiers[private.Verifier] = true, true
	}
}

// A3: PKCE is left out only where the definition says so.
func TestAuthorizeWithoutPKCE(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.PKCE = "none"
	if q := b.begin(t).Query(); q.Has("code_challenge") || q.Has("code_challenge_method") {
		t.Errorf("PKCE was sent: %v", q)
	}
}

// A4: a server that refuses PKCE is not asked again without it.
func TestNoSecondTryWithoutPKCE(t *testing.T) {
	b := newBench(t, authtest.Options{})
	q := b.approved(t)
	b.Fault("POST /token", authtest.Refuse(400, "invalid_request", "code_challenge is not known here"))
	_, err := b.finish(q)
	want(t, err, auth.ErrConfig)
	if n := len(b.Requests("POST /token")); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// A10, C1: a definition cannot open or call anything but https.
func TestOnlyHTTPS(t *testing.T) {
	for _, address := range []string{"http://example.com/a", "file:///etc/passwd", "javascript:alert(1)", "-flag", "https://u@example.com/", "https://127.0.0.1.evil\\@x/"} {
		b := newBench(t, authtest.Options{})
		b.def.Authorize.URL = address
		if _, err := b.code.Begin(t.Context(), b.flow); err == nil {
			t.Errorf("authorize at %s was accepted", address)
		}
		b = newBench(t, authtest.Options{})
		q := b.approved(t)
		b.def.Token.URL = address
		if _, err := b.finish(q); err == nil {
			t.Errorf("a token request to %s was accepted", address)
		}
	}
}

// A11: scopes are checked and joined as the provider wants them.
func TestScopesAsked(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Scopes = providers.Scopes{Sep: ",", Extra: map[string]string{"user": "user_scope"}}
	b.flow.Request.Scopes = []string{"channels:read", "chat:write", "user:search:read"}
	q := b.begin(t).Query()
	if q.Get("scope") != "channels:read,chat:write" || q.Get("user_scope") != "search:read" {
		t.Errorf("scope %q, user_scope %q", q.Get("scope"), q.Get("user_scope"))
	}
	for _, bad := range []string{"a b", `a"b`, `a\b`, "a,b", "é", "a\n", ""} {
		b.flow.Request.Scopes = []string{bad}
		_, err := b.code.Begin(t.Context(), b.flow)
		want(t, err, auth.ErrInvalid)
	}
	b.def.Scopes = providers.Scopes{}
	if q := b.begin(t).Query(); q.Has("scope") {
		t.Error("scopes were sent to a provider that has none")
	}
}

// A12: resource goes into every request of a flow.
func TestResource(t *testing.T) {
	const resource = "https://api.example.com/v1"
	b := newBench(t, authtest.Options{})
	b.def.Token.Params = map[string]string{"resource": resource}
	out := b.signIn(t)
	if _, err := b.renew(out); err != nil {
		t.Fatal(err)
	}
	if got := b.Requests("GET /authorize")[0].Query.Get("resource"); got != resource {
		t.Errorf("authorize had resource %q", got)
	}
	for _, r := range b.Requests("POST /token") {
		if r.Form.Get("resource") != resource || len(r.Form["resource"]) != 1 {
			t.Errorf("%s had resource %q", r.Form.Get("grant_type"), r.Form["resource"])
		}
	}
	for _, bad := range []string{"foo", "https://api.example.com/#x"} {
		b.def.Token.Params["resource"] = bad
		_, err := b.code.Begin(t.Context(), b.flow)
		want(t, err, auth.ErrConfig)
	}
}

// A13: with PAR the browser carries a reference only, and a refused push opens nothing.
func TestPushedRequest(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.PAR = &providers.Endpoint{URL: b.URL + "/par"}
	b.FaultAlways("POST /par", authtest.Answer(201, "application/json", `{"request_uri":"urn:ietf:params:oauth:request_uri:abc","expires_in":60}`))
	q := b.begin(t).Query()
	if len(q) != 2 || q.Get("client_id") != "basic" || q.Get("request_uri") != "urn:ietf:params:oauth:request_uri:abc" {
		t.Errorf("the front channel carries %v", q)
	}
	pushed := b.Requests("POST /par")[0]
	if pushed.Form.Get("code_challenge") == "" || pushed.Form.Get("state") == "" || pushed.Header.Get("Authorization") == "" {
		t.Errorf("pushed %v", pushed.Form)
	}
	for _, fault := range []authtest.Fault{
		authtest.Refuse(400, "invalid_request", "no"), authtest.Answer(201, "application/json", `{}`), authtest.LoginPage(200),
	} {
		b.Fault("POST /par", fault)
		if step, err := b.code.Begin(t.Context(), b.flow); err == nil || step.Redirect != "" {
			t.Errorf("a refused push opened %q", step.Redirect)
		}
	}
}

// A14: a parameter that a definition sets twice is refused.
func TestNoDoubledParameters(t *testing.T) {
	for _, bend := range []func(*providers.OAuth2){
		func(o *providers.OAuth2) { o.Authorize.URL += "?state=fixed" },
		func(o *providers.OAuth2) { o.Authorize.Params = map[string]string{"state": "fixed"} },
	} {
		b := newBench(t, authtest.Options{})
		bend(b.def)
		_, err := b.code.Begin(t.Context(), b.flow)
		want(t, err, auth.ErrConfig)
	}
}

func TestAuthorizeQuirks(t *testing.T) {
	b := newBench(t, authtest.Options{})
	b.def.Client.Names = map[string]string{"client_id": "appid"}
	b.def.Authorize.Omit = []string{"response_type"}
	b.def.Authorize.Fragment = "wechat_redirect"
	u := b.begin(t)
	if q := u.Query(); q.Get("appid") != "basic" || q.Has("client_id") || q.Has("response_type") {
		t.Errorf("query %v", q)
	}
	if u.Fragment != "wechat_redirect" {
		t.Errorf("fragment %q", u.Fragment)
	}
}

// C9: a code of another attempt does not fit our verifier.
func TestInjectedCode(t *testing.T) {
	b := newBench(t, authtest.Options{})
	stolen := b.approved(t)
	b.begin(t)
	_, err := b.finish(url.Values{"code": stolen["code"], "state": stolen["state"], "iss": stolen["iss"]})
	want(t, err, auth.ErrRefused)
	b.clean(t, err)
}

// C6: what we cannot do is refused before anything is sent, a signing key in the place of a secret above all.
func TestNotOffered(t *testing.T) {
	for name, bend := range map[string]func(b *bench){
		"DPoP":            func(b *bench) { b.def.DPoP = true },
		"jwt-es256":       func(b *bench) { b.def.Client.Secret = "jwt-es256" },
		"private_key_jwt": func(b *bench) { b.def.Client.Auth = "private_key_jwt" },
		"form_post":       func(b *bench) { b.def.Callback.Mode = "form_post" }, // CB-013: a callback is a GET
		"no secret":       func(b *bench) { b.def.Client.Secret, b.flow.Client = "required", auth.Secret{} },
		"no OAuth":        func(b *bench) { b.flow.Provider.OAuth2 = nil },
	} {
		b := newBench(t, authtest.Options{})
		bend(b)
		_, err := b.code.Begin(t.Context(), b.flow)
		want(t, err, auth.ErrConfig)
		_, err = b.code.Refresh(t.Context(), b.flow, &auth.Credential{RefreshToken: auth.NewSecret("r")})
		want(t, err, auth.ErrConfig)
		if n := len(b.Requests("")); n != 0 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}
