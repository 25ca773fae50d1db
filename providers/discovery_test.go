package providers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func document(t testing.TB, issuer string, kv ...any) []byte {
	t.Helper()
	doc := map[string]any{
		"issuer": issuer, "authorization_endpoint": "https://login.acme.com/authorize", "token_endpoint": "https://login.acme.com/token",
		"code_challenge_methods_supported": []string{"plain", "S256"}, "claims_supported": []string{"sub"},
	}
	for i := 0; i < len(kv); i += 2 {
		doc[kv[i].(string)] = kv[i+1]
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// PD-003: the issuer in the document is the one asked for, byte for byte.
func TestMetadataIssuer(t *testing.T) {
	const issuer = "https://login.acme.com"
	if _, err := ParseMetadata(issuer, document(t, issuer), MetadataOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{
		"", "https://login.acme.com/", "https://LOGIN.acme.com", "https://evil.com", "https://login.acme.com:443",
		"http://login.acme.com", "https://login.acme.com/{tenantid}", "https://login.acme.com?x", " https://login.acme.com",
	} {
		if _, err := ParseMetadata(issuer, document(t, other), MetadataOptions{}); err == nil {
			t.Errorf("issuer %q passed for %s", other, issuer)
		}
	}
	const template = "https://login.microsoftonline.com/{tenantid}/v2.0"
	if _, err := ParseMetadata("https://login.microsoftonline.com/common/v2.0", document(t, template), MetadataOptions{IssuerTemplate: template}); err != nil {
		t.Errorf("the template that the definition names: %v", err)
	}
}

func TestMetadataRefuses(t *testing.T) {
	const issuer = "https://login.acme.com"
	for _, c := range []struct {
		name string
		data []byte
		opt  MetadataOptions
		want string
	}{
		{"plain only", document(t, issuer, "code_challenge_methods_supported", []string{"plain"}), MetadataOptions{}, "does not list S256"},
		{"empty list", document(t, issuer, "code_challenge_methods_supported", []string{}), MetadataOptions{}, "does not list S256"},
		{"no list", document(t, issuer, "code_challenge_methods_supported", nil), MetadataOptions{RequirePKCE: true}, "is missing"},
		{"http", document(t, issuer, "token_endpoint", "http://login.acme.com/token"), MetadataOptions{}, "token_endpoint: must be https"},
		{"loopback endpoint of a public issuer", document(t, issuer, "token_endpoint", "http://127.0.0.1:9/token"), MetadataOptions{Loopback: true}, "must be https"},
		{"two issuers", []byte(`{"issuer":"https://evil.com","issuer":"https://login.acme.com"}`), MetadataOptions{}, "given twice"},
		{"wrong case", document(t, issuer, "Token_Endpoint", "https://evil.com/"), MetadataOptions{}, "Token_Endpoint"},
		{"huge", append(document(t, issuer), make([]byte, 300<<10)...), MetadataOptions{}, "larger than"},
		{"HTML", []byte("<html>"), MetadataOptions{}, "invalid character"},
		{"endpoint is a list", document(t, issuer, "token_endpoint", []string{"https://x.acme.com"}), MetadataOptions{}, "must be a string"},
	} {
		if _, err := ParseMetadata(issuer, c.data, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	// CB-008: a server that does not list its methods is still sent S256, so its document passes.
	if _, err := ParseMetadata(issuer, document(t, issuer, "code_challenge_methods_supported", nil), MetadataOptions{}); err != nil {
		t.Error(err)
	}
	const local = "http://127.0.0.1:9"
	if _, err := ParseMetadata(local, document(t, local, "token_endpoint", local+"/token"), MetadataOptions{Loopback: true}); err != nil {
		t.Error(err)
	}
}

func TestWellKnown(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://a.acme.com":        {"https://a.acme.com/.well-known/oauth-authorization-server", "https://a.acme.com/.well-known/openid-configuration"},
		"https://a.acme.com/":       {"https://a.acme.com/.well-known/oauth-authorization-server", "https://a.acme.com/.well-known/openid-configuration"},
		"https://a.acme.com:8443/x": {"https://a.acme.com:8443/.well-known/oauth-authorization-server/x", "https://a.acme.com:8443/x/.well-known/openid-configuration"},
		"https://a.acme.com/x/y/":   {"https://a.acme.com/.well-known/oauth-authorization-server/x/y", "https://a.acme.com/x/y/.well-known/openid-configuration"},
		"http://127.0.0.1:99":       {"http://127.0.0.1:99/.well-known/oauth-authorization-server", "http://127.0.0.1:99/.well-known/openid-configuration"},
	} {
		got, err := WellKnown(issuer)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", issuer, got, err)
		}
	}
	for _, issuer := range []string{
		"", "http://a.acme.com", "https://a.acme.com?x", "https://a.acme.com?", "https://a.acme.com#x", "https://a.acme.com/#",
		"https://u@a.acme.com", "https://a.acme.com:443/", "https://10.0.0.1", "https://localhost", "https://a.acme.com/../x", "file:///etc",
	} {
		if got, err := WellKnown(issuer); err == nil {
			t.Errorf("%q passed: %v", issuer, got)
		}
	}
}

func TestWithMetadata(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	const issuer = "https://login.acme.com/realms/x"
	m, err := ParseMetadata(issuer, document(t, issuer,
		"userinfo_endpoint", "https://login.acme.com/me", "device_authorization_endpoint", "https://login.acme.com/device",
		"revocation_endpoint", "https://login.acme.com/revoke", "pushed_authorization_request_endpoint", "https://login.acme.com/par",
		"authorization_response_iss_parameter_supported", true, "token_endpoint_auth_methods_supported", []string{"client_secret_post"}), MetadataOptions{})
	if err != nil {
		t.Fatal(err)
	}

	generic, err := c.Get("oidc")
	if err != nil {
		t.Fatal(err)
	}
	p, err := generic.Resolve(map[string]string{"issuer_host": "login.acme.com", "issuer_path": "/realms/x", "api_host": "api.acme.com"})
	if err != nil {
		t.Fatal(err)
	}
	if p.OAuth2.Issuer != issuer {
		t.Errorf("issuer %s", p.OAuth2.Issuer)
	}
	urls, err := p.OAuth2.MetadataURLs()
	if err != nil || urls[0] != issuer+"/.well-known/openid-configuration" {
		t.Errorf("got %v, %v", urls, err)
	}
	p = p.WithMetadata(m)
	o := p.OAuth2
	if o.Token.URL != m.Token || o.Authorize.URL != m.Authorization || o.Device.URL != m.Device || o.Revoke.URL != m.Revocation ||
		o.Client.Auth != "post" || o.Callback.Iss != "required" || p.Identity.URL != m.UserInfo {
		t.Errorf("not filled in: %+v", o)
	}
	if o.PAR != nil {
		t.Error("pushed requests are used although nothing requires them")
	}
	if generic.OAuth2.Token.URL != "" {
		t.Error("the catalogue's provider was changed")
	}

	github, err := c.Get("github")
	if err != nil {
		t.Fatal(err)
	}
	if got := github.WithMetadata(m).OAuth2.Token.URL; got != github.OAuth2.Token.URL {
		t.Errorf("a document replaced what the definition says: %s", got)
	}
}

func FuzzParseMetadata(f *testing.F) {
	const issuer = "https://login.acme.com"
	f.Add(document(f, issuer))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMetadata(issuer, data, MetadataOptions{})
		if err == nil && m.Issuer != issuer {
			t.Fatalf("issuer %q", m.Issuer)
		}
	})
}
