package auth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Q16, Q17: a credential goes into every place that a definition can name, once, whatever stands there already.
func TestInject(t *testing.T) {
	key := &Credential{Fields: map[string]Secret{"key": NewSecret("k/1?&"), "app": NewSecret("a2")}}
	token := &Credential{AccessToken: NewSecret("t0ken"), Keep: map[string]Secret{"shop": NewSecret("s3")}}
	tests := map[string]struct {
		sends   []providers.Send
		cred    *Credential
		url     string
		headers map[string]string
	}{
		"standard":    {nil, token, "https://api.example.com/v1?q=1", map[string]string{"Authorization": "Bearer t0ken"}},
		"header":      {[]providers.Send{{In: "header", Name: "X-Auth-Token", Format: "${access_token}"}}, token, "https://api.example.com/v1?q=1", map[string]string{"X-Auth-Token": "t0ken", "Authorization": ""}},
		"two headers": {[]providers.Send{{In: "header", Name: "X-Key", Format: "${key}"}, {In: "header", Name: "X-App", Format: "${app}"}}, key, "https://api.example.com/v1?q=1", map[string]string{"X-Key": "k/1?&", "X-App": "a2", "Authorization": ""}},
		"query":       {[]providers.Send{{In: "query", Name: "q", Format: "${key}"}}, key, "https://api.example.com/v1?q=k%2F1%3F%26", map[string]string{"Authorization": ""}},
		"path":        {[]providers.Send{{In: "path", Format: "/bot${key}"}}, key, "https://api.example.com/botk%2F1%3F&/v1?q=1", nil},
		"plain path":  {[]providers.Send{{In: "path", Format: "/bot${app}"}}, key, "https://api.example.com/bota2/v1?q=1", nil},
		"basic":       {[]providers.Send{{In: "basic", Name: "${app}", Format: "${key}"}}, key, "https://api.example.com/v1?q=1", map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("a2:k/1?&"))}},
		"cookies":     {[]providers.Send{{In: "cookie", Name: "sid", Format: "${app}"}, {In: "cookie", Name: "u", Format: "1${app}"}}, key, "https://api.example.com/v1?q=1", map[string]string{"Cookie": "sid=a2; u=1a2"}},
		"none":        {[]providers.Send{{In: "none"}}, token, "https://api.example.com/v1?q=1", map[string]string{"Authorization": ""}},
		"kept":        {[]providers.Send{{In: "header", Name: "X-Shop", Format: "${shop}"}}, token, "https://api.example.com/v1?q=1", map[string]string{"X-Shop": "s3"}},
	}
	for name, test := range tests {
		p := &providers.Provider{
			OAuth2: &providers.OAuth2{Response: providers.Response{Keep: map[string]providers.Keep{"shop": {Path: "shop", Secret: true}}}},
			API:    providers.API{Send: test.sends, Headers: map[string]string{"X-Version": "2026-01-01", "X-Tenant": "${tenant}"}},
			APIKey: &providers.APIKey{Send: test.sends, Fields: []providers.Field{{Name: "key"}, {Name: "app"}}},
			Vars:   map[string]providers.Var{"tenant": {Pattern: "^[a-z]+$"}},
		}
		method := MethodOAuthCode
		if test.cred == key {
			method = MethodAPIKey
		}
		target, err := egress.Parse("https://api.example.com/v1?q=1", egress.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		given := http.Header{"Authorization": {"Bearer mine"}, "Cookie": {"sid=mine"}, "X-Auth-Token": {"mine", "mine too"}, "X-Version": {"mine"}, "Accept": {"*/*"}}
		got, header, err := inject(p, test.cred, method, map[string]string{"tenant": "acme"}, target, given)
		if name == "path" { // a key that cannot be one segment is refused and not sent somewhere else
			if err == nil {
				t.Errorf("path: %s", got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.String() != test.url {
			t.Errorf("%s: %s, want %s", name, got, test.url)
		}
		for field, want := range test.headers {
			if values := header[field]; len(values) > 1 || header.Get(field) != want {
				t.Errorf("%s: %s is %q, want %q", name, field, values, want)
			}
		}
		if header.Get("X-Version") != "2026-01-01" || header.Get("X-Tenant") != "acme" || header.Get("Accept") != "*/*" || given.Get("Authorization") != "Bearer mine" {
			t.Errorf("%s: header %v", name, header)
		}
	}
}

// BF-024: the place of a credential in the query is its own, by the name that is sent, also where a semicolon ends a field.
func TestQueryPlace(t *testing.T) {
	p := &providers.Provider{
		ID: "p", Name: "P", Vars: map[string]providers.Var{"tenant": {Pattern: "^[a-z]+$"}},
		APIKey: &providers.APIKey{Fields: []providers.Field{{Name: "key"}}, Send: []providers.Send{{In: "query", Name: "${tenant}_key", Format: "${key}"}}},
	}
	conn := &Connection{Method: MethodAPIKey, Vars: map[string]string{"tenant": "acme"}}
	for query, test := range map[string]struct {
		want  string
		taken bool // the agent is refused
	}{
		"":                    {"acme_key=k", false},
		"a=1":                 {"a=1&acme_key=k", false},
		"a=1;b=2&&c":          {"a=1;b=2&c&acme_key=k", false},
		"tenant_key=1":        {"tenant_key=1&acme_key=k", false},
		"a=acme_key;":         {"a=acme_key;&acme_key=k", false},
		"acme_key=mine":       {"acme_key=k", true},
		"a=1;acme_key=mine":   {"a=1&acme_key=k", true},
		"acme_key;b=2&c":      {"b=2&c&acme_key=k", true},
		"a&acme%5fkey=mine;b": {"a&b&acme_key=k", true},
	} {
		if err := reservedQuery(p, conn, egress.Target{RawQuery: query}); errors.Is(err, ErrInvalid) != test.taken || !test.taken && err != nil {
			t.Errorf("%s: %v", query, err)
		}
		if got, err := setQuery(query, "acme_key", "k"); err != nil || got != test.want {
			t.Errorf("%s becomes %s, %v; want %s", query, got, err, test.want)
		}
	}
}

// BF-027: what is looked for in an answer is also what the target holds, whole, where a secret is not spelt there as it is.
func TestSpelt(t *testing.T) {
	for in, want := range map[string]string{"query": "k%26+1%21%25%C3%A9k", "path": "k&%201!%25%C3%A9k", "header": "", "cookie": ""} {
		c := &Credential{Fields: map[string]Secret{"key": NewSecret("k& 1!%\u00e9k"), "app": NewSecret("12:a-b_c.d~e")}}
		p := &providers.Provider{APIKey: &providers.APIKey{Send: []providers.Send{{In: in, Name: "q", Format: "/${app}_${key}"}}, Fields: []providers.Field{{Name: "key"}, {Name: "app"}}}}
		target, err := egress.Parse("https://api.example.com/v1", egress.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if target, _, err = inject(p, c, MethodAPIKey, nil, target, nil); err != nil {
			t.Fatal(err)
		}
		sent := 0
		for _, s := range spelt(p, MethodAPIKey, c.Secrets()) {
			if !strings.Contains(target.String(), s.Reveal()) {
				t.Errorf("%s: %s is not in %s", in, s.Reveal(), target)
			}
			if s.Reveal() == want {
				sent++
			}
		}
		if (sent == 1) != (want != "") {
			t.Errorf("%s: %s is not among them", in, want)
		}
	}
}

// A value that the definition needs and nobody has is an error that tells no other value.
func TestInjectWithoutValue(t *testing.T) {
	p := &providers.Provider{ID: "p", Name: "P", API: providers.API{Send: []providers.Send{{In: "header", Name: "X", Format: "${access_token}${refresh_token}"}}}}
	target, _ := egress.Parse("https://api.example.com/", egress.ParseOptions{})
	_, _, err := inject(p, &Credential{AccessToken: NewSecret("canary-token")}, MethodOAuthCode, nil, target, nil)
	if !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "canary-token") {
		t.Errorf("%v", err)
	}
}

// I5: the scope of a challenge is a quoted string or a token (RFC 9110 section 11.2), and no word within another string.
func TestScopeOf(t *testing.T) {
	for challenge, want := range map[string]string{
		`Bearer error="insufficient_scope", scope="repo user"`:                                 "repo user",
		`Bearer error=insufficient_scope, scope=repo`:                                          "repo",
		`Bearer scope=read:user,error=insufficient_scope`:                                      "read:user",
		`Bearer error="insufficient_scope", Scope = repo`:                                      "repo",
		`Bearer error="insufficient_scope", error_description="needs scope=all", scope="repo"`: "repo",
		`Bearer error_description="say \"scope=all\" scope=all", error=insufficient_scope`:     "",
		`Bearer error="insufficient_scope", scope=""`:                                          "",
		`Bearer error="insufficient_scope"`:                                                    "",
	} {
		if got := scopeOf(challenge); got != want {
			t.Errorf("%s: %q", challenge, got)
		}
	}
}

// I1, C24: a look-up with the credential goes to the provider's hosts, also to one that it named itself within its list.
func TestMayAsk(t *testing.T) {
	p := &providers.Provider{
		OAuth2: &providers.OAuth2{
			Issuer: "https://login.example.com", Token: providers.Endpoint{URL: "https://token.example.com/t"},
			Response: providers.Response{Keep: map[string]providers.Keep{"instance_url": {Path: "x", Hosts: []string{"*.example.org"}}}},
		},
		API: providers.API{Hosts: []string{"api.example.com", "${instance_url}"}},
	}
	for address, want := range map[string]bool{
		"https://api.example.com/me": true, "https://eu.example.org/me": true, "https://login.example.com/userinfo": true, "https://token.example.com/me": true,
		"https://us.example.org/me": false, "https://api.example.com.evil.example/me": false, "https://evil.example/api.example.com": false,
		"https://api.example.com:8443/me": false, "https://login.example.com:8443/me": false, "https://x.login.example.com/": false,
	} {
		target, err := egress.Parse(address, egress.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := mayAsk(p, target, map[string]string{"instance_url": "https://eu.example.org"}); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	first, _ := egress.Parse("https://api.example.com/sites", egress.ParseOptions{})
	if !mayAsk(p, first, nil) {
		t.Error("the look-up that learns a host is refused for want of it")
	}
}
