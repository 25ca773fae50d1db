package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// good are the claims of a valid access token.
func (h *house) good() map[string]any {
	now := h.clock.now()
	return map[string]any{
		"iss": h.as.URL, "sub": "alice", "aud": resource, "client_id": "agent", "scope": "latchpost:connect latchpost:use",
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "1",
	}
}

// with changes claims; nil takes one away.
func with(claims map[string]any, changes map[string]any) map[string]any {
	claims = maps.Clone(claims)
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

func TestAccessToken(t *testing.T) {
	h := open(t)
	caller, err := h.Caller(bearer(h.as.Sign("at+jwt", h.good())))
	want := auth.Caller{Owner: auth.Owner{User: "alice"}, Client: "agent", Verified: true, Scopes: []string{"latchpost:connect", "latchpost:use"}}
	if err != nil || !reflect.DeepEqual(caller, want) {
		t.Fatalf("got %+v, %v", caller, err)
	}
	for name, c := range map[string]struct {
		typ     string
		changes map[string]any
		want    auth.Caller
	}{
		"media type":         {"application/at+jwt", nil, want},
		"capitals":           {"AT+JWT", nil, want},
		"plain JWT":          {"JWT", nil, want},
		"Keycloak":           {"JWT", map[string]any{"typ": "Bearer", "client_id": nil, "azp": "agent", "aud": []string{"account", resource}}, want},
		"Okta":               {"JWT", map[string]any{"client_id": nil, "cid": "agent", "scope": nil, "scp": []string{"latchpost:connect", "latchpost:use"}}, want},
		"Entra":              {"JWT", map[string]any{"client_id": nil, "azp": "agent", "scope": nil, "scp": "latchpost:connect latchpost:use"}, want},
		"issuer's clock":     {"at+jwt", map[string]any{"iat": h.clock.now().Unix() + 60, "nbf": h.clock.now().Unix() + 60}, want},
		"other letters":      {"at+jwt", map[string]any{"Sub": "bob", "SUB": "bob", "Iss": "https://evil.example"}, want},
		"no scopes, not all": {"at+jwt", map[string]any{"scope": nil}, auth.Caller{Owner: want.Owner, Client: "agent", Verified: true, Scopes: []string{}}},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := h.Caller(bearer(h.as.Sign(c.typ, with(h.good(), c.changes))))
			if err != nil || !reflect.DeepEqual(caller, c.want) {
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
}

func TestBadClaims(t *testing.T) {
	h := open(t)
	now := h.clock.now().Unix()
	for name, c := range map[string]struct {
		typ     string
		changes map[string]any
	}{
		// MC-012
		"expired a second ago":     {"at+jwt", map[string]any{"exp": now - 1}},
		"expires now":              {"at+jwt", map[string]any{"exp": now}},
		"no expiry":                {"at+jwt", map[string]any{"exp": nil}},
		"expiry as text":           {"at+jwt", map[string]any{"exp": "tomorrow"}},
		"expiry out of range":      {"at+jwt", map[string]any{"exp": 1e30}},
		"not before in an hour":    {"at+jwt", map[string]any{"nbf": now + 3600}},
		"not before in 61 s":       {"at+jwt", map[string]any{"nbf": now + 61}},
		"issued in 61 s":           {"at+jwt", map[string]any{"iat": now + 61}},
		"issued in the far future": {"at+jwt", map[string]any{"iat": now + 1e9, "exp": now + 2e9}},

		// MC-013
		"other audience":       {"at+jwt", map[string]any{"aud": "https://other.example/mcp"}},
		"audiences without us": {"at+jwt", map[string]any{"aud": []string{"https://other.example", "account"}}},
		"no audience":          {"at+jwt", map[string]any{"aud": nil}},
		"empty audience":       {"at+jwt", map[string]any{"aud": []string{}}},
		"audience is a prefix": {"at+jwt", map[string]any{"aud": "https://latchpost.example"}},
		"audience is longer":   {"at+jwt", map[string]any{"aud": resource + "/more"}},
		"trailing slash":       {"at+jwt", map[string]any{"aud": resource + "/"}},
		"capitals":             {"at+jwt", map[string]any{"aud": "https://LATCHPOST.example/mcp"}},
		"default port":         {"at+jwt", map[string]any{"aud": "https://latchpost.example:443/mcp"}},
		"audience object":      {"at+jwt", map[string]any{"aud": map[string]string{"aud": resource}}},
		"our client":           {"at+jwt", map[string]any{"aud": "public"}},

		// MC-016
		"ID token":               {"JWT", map[string]any{"nonce": "n"}},
		"ID token by at_hash":    {"JWT", map[string]any{"at_hash": "x"}},
		"Keycloak's ID token":    {"JWT", map[string]any{"typ": "ID"}},
		"Keycloak's refresh":     {"JWT", map[string]any{"typ": "Refresh"}},
		"Keycloak's offline":     {"JWT", map[string]any{"typ": "Offline"}},
		"Cognito's ID token":     {"JWT", map[string]any{"token_use": "id"}},
		"logout token":           {"logout+jwt", nil},
		"untyped logout token":   {"JWT", map[string]any{"events": map[string]any{}}},
		"identity assertion":     {"oauth-id-jag+jwt", nil},
		"DPoP proof":             {"dpop+jwt", nil},
		"token bound to a key":   {"at+jwt", map[string]any{"cnf": map[string]string{"jkt": "x"}}},
		"no client to speak for": {"at+jwt", map[string]any{"client_id": nil}},
		"a client called as we":  {"at+jwt", map[string]any{"client_id": "Owner"}},

		"other issuer":          {"at+jwt", map[string]any{"iss": "https://evil.example"}},
		"issuer with slash":     {"at+jwt", map[string]any{"iss": h.as.URL + "/"}},
		"no issuer":             {"at+jwt", map[string]any{"iss": nil}},
		"no subject":            {"at+jwt", map[string]any{"sub": nil}},
		"empty subject":         {"at+jwt", map[string]any{"sub": ""}},
		"subject in capitals":   {"at+jwt", map[string]any{"sub": nil, "Sub": "alice"}},
		"subject is a number":   {"at+jwt", map[string]any{"sub": 7}},
		"unprintable subject":   {"at+jwt", map[string]any{"sub": "ali\u200bce"}},
		"subject with a space":  {"at+jwt", map[string]any{"sub": "alice "}},
		"the machine's own":     {"at+jwt", map[string]any{"sub": "local"}},
		"client is a long name": {"at+jwt", map[string]any{"client_id": strings.Repeat("a", 201)}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, h, h.as.Sign(c.typ, with(h.good(), c.changes))) })
	}
	if _, err := h.Caller(bearer(h.as.Sign("at+jwt", h.good()))); err != nil {
		t.Errorf("the unchanged token: %v", err)
	}
}

// MC-012: a token that has run out is told from one that is no good: what it opened may go on.
func TestExpiryIsTold(t *testing.T) {
	h := open(t)
	for claim, value := range map[string]any{"exp": h.clock.now().Unix() - 1, "aud": "https://other.example/mcp"} {
		_, err := h.Caller(bearer(h.as.Sign("at+jwt", with(h.good(), map[string]any{claim: value}))))
		if !errors.Is(err, auth.ErrDenied) || errors.Is(err, auth.ErrExpired) != (claim == "exp") {
			t.Errorf("%s: %v", claim, err)
		}
	}
}

func TestForgedTokens(t *testing.T) {
	h := open(t)
	genuine := h.as.Sign("at+jwt", h.good())
	parts := strings.Split(genuine, ".")
	var header map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	key := h.publicKey(t)
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	hs256 := func(secret []byte) string {
		input := encode(with(header, map[string]any{"alg": "HS256"})) + "." + parts[1]
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(input))
		return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	bob := encode(with(h.good(), map[string]any{"sub": "bob"}))
	jwe := func() string {
		e, err := jose.NewEncrypter(jose.A128GCM, jose.Recipient{Algorithm: jose.RSA_OAEP, Key: key}, (&jose.EncrypterOptions{}).WithContentType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		object, err := e.Encrypt([]byte(genuine))
		if err != nil {
			t.Fatal(err)
		}
		token, _ := object.CompactSerialize()
		return token
	}
	for name, token := range map[string]string{
		"none":                   encode(with(header, map[string]any{"alg": "none"})) + "." + parts[1] + ".",
		"None with a signature":  encode(with(header, map[string]any{"alg": "None"})) + "." + parts[1] + "." + parts[2],
		"HS256 with the DER key": hs256(der),
		"HS256 with the PEM key": hs256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 with the modulus": hs256(key.N.Bytes()),
		"HS256 without a secret": hs256(nil),
		"other claims":           parts[0] + "." + bob + "." + parts[2],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"no signature, no dot":   parts[0] + "." + parts[1],
		"another algorithm":      encode(with(header, map[string]any{"alg": "PS256"})) + "." + parts[1] + "." + parts[2],
		"unknown kid":            sign(t, jose.RS256, stranger, "unknown", "at+jwt", h.good()),
		"known kid, strange key": sign(t, jose.RS256, stranger, header["kid"].(string), "at+jwt", h.good()),
		"brings its own key":     signWithJWK(t, stranger, h.good()),
		"critical header":        encode(with(header, map[string]any{"crit": []string{"x"}, "x": 1})) + "." + parts[1] + "." + parts[2],
		"encrypted":              jwe(),
		"JSON serialization":     `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"four parts":             genuine + ".x",
		"dots":                   "..",
		"not base64":             "!." + parts[1] + "." + parts[2],
		"header is no object":    base64.RawURLEncoding.EncodeToString([]byte("[]")) + "." + parts[1] + "." + parts[2],
		"refresh token, opaque":  "refresh_4f1c9f4e4f1c9f4e",
		"larger than 16 KiB":     h.as.Sign("at+jwt", with(h.good(), map[string]any{"pad": strings.Repeat("a", 16<<10)})),
	} {
		t.Run(name, func(t *testing.T) { refused(t, h, token) })
	}
	if _, err := h.Caller(bearer(genuine)); err != nil {
		t.Errorf("the genuine token: %v", err)
	}
}

func TestAlgorithms(t *testing.T) {
	h := open(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	h.as.FaultAlways("/jwks", publish(
		map[string]string{"kty": "AKP", "kid": "future", "alg": "ML-DSA-44"},
		map[string]string{"kty": "oct", "kid": "shared", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"},
		jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "rsa", Use: "sig"},
		jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "enc", Use: "enc"},
		jose.JSONWebKey{Key: p256.Public(), KeyID: "p256"}, jose.JSONWebKey{Key: p384.Public(), KeyID: "p384"},
		jose.JSONWebKey{Key: p521.Public(), KeyID: "p521"}, jose.JSONWebKey{Key: public, KeyID: "ed"},
	))
	for _, c := range []struct {
		alg jose.SignatureAlgorithm
		key any
		kid string
		ok  bool
	}{
		{jose.RS256, rsaKey, "rsa", true}, {jose.PS256, rsaKey, "rsa", true}, {jose.ES256, p256, "p256", true},
		{jose.ES384, p384, "p384", true}, {jose.EdDSA, private, "ed", true},
		{jose.RS512, rsaKey, "rsa", false}, {jose.ES512, p521, "p521", false}, {jose.RS256, rsaKey, "enc", false},
		{jose.ES256, p256, "rsa", false}, {jose.RS256, rsaKey, "", false},
		{jose.HS256, []byte("secretsecretsecretsecretsecretsecret"), "shared", false},
	} {
		t.Run(string(c.alg)+" "+c.kid, func(t *testing.T) {
			caller, err := h.Caller(bearer(sign(t, c.alg, c.key, c.kid, "at+jwt", h.good())))
			if (err == nil) != c.ok {
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
}

// A signature does not make sense of what it covers.
func TestSignedNonsense(t *testing.T) {
	h := open(t)
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	h.as.FaultAlways("/jwks", publish(jose.JSONWebKey{Key: public, KeyID: "ed"}))
	good, _ := json.Marshal(h.good())
	for name, payload := range map[string]string{
		"a claim there twice": `{"sub":"bob",` + string(good[1:]),
		"no object":           `["sub"]`,
		"null":                `null`,
		"nothing":             ``,
		"not UTF-8":           "\xff\xfe",
		"two values":          string(good) + string(good),
		"very deep":           strings.Repeat("[", 5000),
	} {
		t.Run(name, func(t *testing.T) {
			key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "ed"}}
			refused(t, h, signWith(t, key, (&jose.SignerOptions{}).WithType("at+jwt"), []byte(payload)))
		})
	}
	if _, err := h.Caller(bearer(sign(t, jose.EdDSA, private, "ed", "at+jwt", h.good()))); err != nil {
		t.Errorf("sense: %v", err)
	}
}

// publish answers with a key set of the test's own.
func publish(keys ...any) authtest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	}
}

func TestOwnerClaims(t *testing.T) {
	h := open(t)
	h.Issuer.OwnerClaim, h.Issuer.OrgClaim = "email", "org"
	for name, c := range map[string]struct {
		changes map[string]any
		want    *auth.Owner
	}{
		"both":              {map[string]any{"email": "a@example.com", "email_verified": true, "org": "acme"}, &auth.Owner{Org: "acme", User: "a@example.com"}},
		"unverified":        {map[string]any{"email": "a@example.com", "email_verified": false, "org": "acme"}, nil},
		"perhaps verified":  {map[string]any{"email": "a@example.com", "org": "acme"}, nil},
		"verified in words": {map[string]any{"email": "a@example.com", "email_verified": "true", "org": "acme"}, nil},
		"no org":            {map[string]any{"email": "a@example.com", "email_verified": true}, nil},
		"two orgs":          {map[string]any{"email": "a@example.com", "email_verified": true, "org": []string{"acme", "other"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			caller, err := h.Caller(bearer(h.as.Sign("at+jwt", with(h.good(), c.changes))))
			switch {
			case c.want == nil && !errors.Is(err, auth.ErrDenied):
				t.Errorf("got %+v, %v", caller, err)
			case c.want != nil && (err != nil || caller.Owner != *c.want):
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
}

func (h *house) publicKey(t *testing.T) *rsa.PublicKey {
	t.Helper()
	res, err := http.Get(h.as.URL + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	return set.Keys[0].Key.(*rsa.PublicKey)
}

func encode(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, kid, typ string, claims map[string]any) string {
	t.Helper()
	payload, _ := json.Marshal(claims)
	return signWith(t, jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)), payload)
}

func signWithJWK(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	payload, _ := json.Marshal(claims)
	return signWith(t, jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("at+jwt"), payload)
}

func signWith(t *testing.T, key jose.SigningKey, opts *jose.SignerOptions, payload []byte) string {
	t.Helper()
	signer, err := jose.NewSigner(key, opts)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func BenchmarkCaller(b *testing.B) {
	h := open(b)
	issued, _, err := h.Tokens.Create(b.Context(), alice, "ci", nil, time.Time{})
	if err != nil {
		b.Fatal(err)
	}
	for name, token := range map[string]string{"issued": issued.Reveal(), "jwt": h.as.Sign("at+jwt", h.good())} {
		b.Run(name, func(b *testing.B) {
			r := bearer(token)
			for b.Loop() {
				if _, err := h.Caller(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
