package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// discoverBench is a definition that says nothing but the issuer.
func discoverBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, authtest.Options{})
	*b.def = providers.OAuth2{
		Flows: []string{"code", "device"}, Issuer: b.URL, Discovery: "oidc", PKCE: "required", Client: providers.Client{Secret: "optional"},
		Scopes: providers.Scopes{Sep: " ", Default: []string{"openid", "email"}}, Refresh: providers.Refresh{Grant: "refresh_token"},
	}
	b.flow.Provider.Identity = nil
	return b
}

// document answers with the server's metadata, changed.
func (b *bench) document(change map[string]any) authtest.Fault {
	m := b.Metadata()
	maps.Copy(m, change)
	body, _ := json.Marshal(m)
	return authtest.Answer(200, "application/json", string(body))
}

// publicKey is the modulus of the key that the server publishes.
func (b *bench) publicKey(t *testing.T) []byte {
	t.Helper()
	resp, err := http.Get(b.URL + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct{ Keys []struct{ N string } }
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("jwks: %v", err)
	}
	n, err := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// G1, A6: everything comes from the issuer's document, and the ID token is verified with its keys.
func TestDiscovery(t *testing.T) {
	b := discoverBench(t)
	out := b.signIn(t)
	if out.Account != "alice@example.com" || out.AccountID != "alice" {
		t.Errorf("signed in as %q (%q)", out.Account, out.AccountID)
	}
	next, err := b.renew(out)
	if err != nil {
		t.Fatal(err)
	}
	if told, err := b.code.Revoke(t.Context(), b.flow, next.Credential); err != nil || !told {
		t.Errorf("revoke: %v, %v", told, err)
	}
	const path = "GET /.well-known/openid-configuration"
	if n := len(b.Requests(path)); n != 1 { // G7: cached
		t.Errorf("the document was read %d times", n)
	}
	b.flow.Now = b.flow.Now.Add(25 * time.Hour)
	b.begin(t)
	if n := len(b.Requests(path)); n != 2 {
		t.Errorf("after a day it was read %d times", n)
	}
}

// G1: where one place has nothing, the other is asked.
func TestDiscoveryOrder(t *testing.T) {
	b := discoverBench(t)
	b.FaultAlways("GET /.well-known/openid-configuration", authtest.LoginPage(404))
	b.begin(t)
	b = discoverBench(t)
	b.def.Discovery = "rfc8414"
	b.begin(t)
	if n := len(b.Requests("GET /.well-known/oauth-authorization-server")); n != 1 {
		t.Errorf("RFC 8414 was asked %d times", n)
	}
}

// A5, G2, G3, G6, PD-002, PD-003: a document that cannot be trusted is not used.
func TestDiscoveryAttacks(t *testing.T) {
	evil := authtest.NewServer(authtest.Options{})
	defer evil.Close()
	base := discoverBench(t)
	for name, fault := range map[string]authtest.Fault{
		"other issuer":       base.document(map[string]any{"issuer": "https://evil.example"}),
		"issuer with slash":  base.document(map[string]any{"issuer": base.URL + "/"}),
		"issuer in capitals": base.document(map[string]any{"issuer": strings.ToUpper(base.URL)}),
		"no issuer":          base.document(map[string]any{"issuer": ""}),
		"plain only":         base.document(map[string]any{"code_challenge_methods_supported": []string{"plain"}}),
		"no PKCE list":       base.document(map[string]any{"code_challenge_methods_supported": nil}),
		"http token":         base.document(map[string]any{"token_endpoint": "http://example.com/token"}),
		"metadata address":   base.document(map[string]any{"token_endpoint": "https://169.254.169.254/token"}),
		"private address":    base.document(map[string]any{"token_endpoint": "https://10.0.0.1/token"}),
		"metadata name":      base.document(map[string]any{"jwks_uri": "https://metadata.google.internal/keys"}),
		"file":               base.document(map[string]any{"revocation_endpoint": "file:///etc/passwd"}),
		"user info":          base.document(map[string]any{"userinfo_endpoint": "https://a@example.com/"}),
		"number":             base.document(map[string]any{"authorization_endpoint": 5}),
		"twice":              authtest.Twice("issuer", "https://evil.example"),
		"redirect":           authtest.Redirect(302, evil.URL+"/.well-known/openid-configuration"),
		"redirect private":   authtest.Redirect(307, "http://169.254.169.254/"),
		"huge":               authtest.Huge(50 << 20), "bomb": authtest.GzipBomb(50 << 20), "endless": authtest.Endless, "silence": authtest.Silence,
		"deep": authtest.Answer(200, "application/json", strings.Repeat("[", 1e5)), "page": authtest.LoginPage(200), "503": authtest.Busy(503, ""),
	} {
		t.Run(name, func(t *testing.T) {
			base.oauth = &auth.OAuth{Out: base.oauth.Out, Loopback: true} // nothing cached
			base.Heal()
			base.FaultAlways("GET /.well-known/openid-configuration", fault)
			base.FaultAlways("GET /.well-known/oauth-authorization-server", fault)
			_, err := auth.OAuthCode{OAuth: base.oauth}.Begin(t.Context(), base.flow)
			var e *auth.Error
			if !asError(err, &e) || e.Code != auth.ErrConfig.Code && e.Code != auth.ErrUnavailable.Code {
				t.Errorf("got %v", err)
			}
			base.clean(t, err)
		})
	}
	if n := len(evil.Requests("")); n != 0 {
		t.Errorf("the other server got %d requests", n)
	}
}

// G1, C1, PD-002: an issuer or endpoint on this machine or network is not called without the switch.
func TestNoLoopbackWithoutTheSwitch(t *testing.T) {
	for _, issuer := range []string{"http://127.0.0.1:1", "https://127.0.0.1", "https://localhost", "https://10.0.0.1", "https://h.example.com?x", "https://u@h.example.com", "https://h.example.com#x"} {
		b := discoverBench(t)
		b.def.Issuer = issuer
		c := auth.OAuthCode{OAuth: &auth.OAuth{Out: egress.New(egress.Options{})}}
		_, err := c.Begin(t.Context(), b.flow)
		want(t, err, auth.ErrConfig)
	}
	b := newBench(t, authtest.Options{})
	q := b.approved(t)
	b.Forget()
	c := auth.OAuthCode{OAuth: &auth.OAuth{Out: egress.New(egress.Options{}), Loopback: true}} // the client still refuses
	_, err := c.Finish(t.Context(), b.flow, auth.Input{Query: q})
	want(t, err, auth.ErrConfig)
	if n := len(b.Requests("")); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// G7: a document that moves the token endpoint is not followed with a token from the old one.
func TestMovedTokenEndpoint(t *testing.T) {
	b := discoverBench(t)
	evil := authtest.NewServer(authtest.Options{})
	defer evil.Close()
	out := b.signIn(t)
	b.flow.Now = b.flow.Now.Add(25 * time.Hour)
	b.FaultAlways("GET /.well-known/openid-configuration", b.document(map[string]any{"token_endpoint": evil.URL + "/token", "revocation_endpoint": evil.URL + "/revoke"}))
	_, err := b.renew(out)
	want(t, err, auth.ErrConfig)
	_, err = b.code.Revoke(t.Context(), b.flow, out.Credential)
	want(t, err, auth.ErrConfig)
	if n := len(evil.Requests("")); n != 0 {
		t.Errorf("the other server got %d requests", n)
	}
}

// G7, PD-003: a document that moves the revocation endpoint alone gets neither the refresh token nor the client's secret. One that
// was on a host of its own when the user signed in may stay there, and go to the issuer's.
func TestMovedRevocationEndpoint(t *testing.T) {
	b := discoverBench(t)
	other, evil := authtest.NewServer(authtest.Options{}), authtest.NewServer(authtest.Options{})
	defer other.Close()
	defer evil.Close()
	at := func(server *authtest.Server) {
		b.FaultAlways("GET /.well-known/openid-configuration", b.document(map[string]any{"revocation_endpoint": server.URL + "/revoke"}))
	}
	at(other)
	out := b.signIn(t)
	b.flow.Now = b.flow.Now.Add(25 * time.Hour) // the document is read again
	at(evil)
	_, err := b.code.Revoke(t.Context(), b.flow, out.Credential)
	want(t, err, auth.ErrConfig)
	old := *out.Credential // of before anything but the token endpoint was noted
	old.Keep = map[string]auth.Secret{"token_endpoint": auth.NewSecret(b.URL + "/token")}
	_, err = b.code.Revoke(t.Context(), b.flow, &old)
	want(t, err, auth.ErrConfig)
	if n := len(evil.Requests("")); n != 0 {
		t.Errorf("the other server got %d requests", n)
	}
	for _, place := range []*authtest.Server{other, b.Server} {
		b.flow.Now = b.flow.Now.Add(25 * time.Hour)
		at(place)
		if told, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil || !told || len(place.Requests("POST /revoke")) == 0 {
			t.Errorf("revoke: %v, %v", told, err)
		}
	}
	b.def.Revoke = &providers.Endpoint{URL: evil.URL + "/revoke"} // not found, but chosen
	if _, err := b.code.Revoke(t.Context(), b.flow, out.Credential); err != nil {
		t.Errorf("the definition's own endpoint: %v", err)
	}
}

// A6, C22, PD-008: an ID token that does not verify is a refusal, and nothing is stored.
func TestForgedIDTokens(t *testing.T) {
	b := discoverBench(t)
	stranger := authtest.NewServer(authtest.Options{})
	defer stranger.Close()
	claims := func(nonce string, change map[string]any) map[string]any {
		c := map[string]any{"iss": b.URL, "aud": "basic", "sub": "mallory", "email": "mallory@example.com", "nonce": nonce, "exp": b.flow.Now.Add(time.Hour).Unix(), "iat": b.flow.Now.Unix()}
		maps.Copy(c, change)
		return c
	}
	for name, forge := range map[string]func(nonce string) string{
		"other nonce":    func(n string) string { return b.Sign("JWT", claims("x", nil)) },
		"no nonce":       func(n string) string { return b.Sign("JWT", claims("", nil)) },
		"other audience": func(n string) string { return b.Sign("JWT", claims(n, map[string]any{"aud": "other"})) },
		"two audiences": func(n string) string {
			return b.Sign("JWT", claims(n, map[string]any{"aud": []string{"basic", "other"}}))
		},
		"other azp":    func(n string) string { return b.Sign("JWT", claims(n, map[string]any{"azp": "other"})) },
		"other issuer": func(n string) string { return b.Sign("JWT", claims(n, map[string]any{"iss": "https://evil.example"})) },
		"expired": func(n string) string {
			return b.Sign("JWT", claims(n, map[string]any{"exp": b.flow.Now.Add(-time.Hour).Unix()}))
		},
		"future": func(n string) string {
			return b.Sign("JWT", claims(n, map[string]any{"iat": b.flow.Now.Add(time.Hour).Unix()}))
		},
		"stranger's key": func(n string) string { return stranger.Sign("JWT", claims(n, nil)) },
		"alg none": func(n string) string {
			parts := strings.Split(b.Sign("JWT", claims(n, nil)), ".")
			return "eyJhbGciOiJub25lIn0." + parts[1] + "."
		},
		"HS256 with the public key": func(n string) string {
			_, keys, _ := strings.Cut(b.Sign("JWT", claims(n, nil)), ".")
			body, _, _ := strings.Cut(keys, ".")
			signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + body
			mac := hmac.New(sha256.New, b.publicKey(t))
			mac.Write([]byte(signed))
			return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		},
		"garbage": func(string) string { return "x.y.z" },
	} {
		t.Run(name, func(t *testing.T) {
			q := b.approved(t)
			var private struct{ Nonce string }
			_ = json.Unmarshal(b.flow.Private, &private)
			b.Fault("POST /token", authtest.With(map[string]any{"id_token": forge(private.Nonce)}))
			out, err := b.finish(q)
			if out == nil || out.Account != "" || out.AccountID != "" { // what is there has to be revoked
				t.Errorf("beside the refusal: %+v", out)
			}
			want(t, err, auth.ErrRefused)
		})
	}
	// C23: userinfo about somebody else than the ID token does not name the account.
	q := b.approved(t)
	b.Fault("/userinfo", authtest.Answer(http.StatusOK, "application/json", `{"sub":"mallory","email":"mallory@example.com"}`))
	out, err := b.finish(q)
	if err != nil || out.AccountID != "alice" || out.Account != "alice@example.com" {
		t.Errorf("%+v, %v", out, err)
	}
}
