package providers

import "testing"

func TestReads(t *testing.T) {
	p := parsed(t)
	for _, c := range []struct {
		method, path string
		want         bool
	}{
		{"GET", "/v1/pages", true},
		{"HEAD", "/v1/pages", true},
		{"POST", "/v1/pages", false},
		{"OPTIONS", "/v1/pages", false},
		{"POST", "/v1/search", true},
		{"POST", "/v1/search/more", false},
		{"DELETE", "/v1/search", false},
		{"POST", "/v1/search;as=write", false}, // which may be another path
		{"POST", "/v1", false},
		{"POST", "/", false},
		{"GET", "/v1/run/job", false},
		{"GET", "/v1/%72un/job", false},
		{"GET", "//v1/./run/job", false},
		{"GET", "/V1/Run/job", false}, // BF-023: many servers do not care about case
		{"POST", "/V1/search", false},
		{"get", "/v1/pages", false},
	} {
		if got := p.Reads(c.method, "api-eu.acme.com", c.path); got != c.want {
			t.Errorf("%s %s: got %v", c.method, c.path, got)
		}
	}
}

func TestSlackReadsByName(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	slack, err := c.Get("slack")
	if err != nil {
		t.Fatal(err)
	}
	if slack.Reads("GET", "slack.com", "/api/chat.postMessage") {
		t.Error("posting a message by GET counts as reading")
	}
	if !slack.Reads("POST", "slack.com", "/api/conversations.list") {
		t.Error("listing channels by POST counts as writing")
	}
}

// BF-029: paths that give the credential back in a form that redaction cannot see are
// denied, in every spelling that a server may take for them.
func TestDenied(t *testing.T) {
	p, err := parsed(t).Resolve(map[string]string{"team": "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, path string
		want       bool
	}{
		{"api-eu.acme.com", "/v1/whoami-raw", true},
		{"a.acme.com", "/v1/whoami-raw", true},
		{"api-eu.acme.com", "/v1/whoami-raw/", true},
		{"api-eu.acme.com", "/v1//whoami-raw", true},
		{"api-eu.acme.com", "/v1/x/../whoami-raw", true},
		{"api-eu.acme.com", "/v1/x/%2e%2e/whoami-raw", true},
		{"api-eu.acme.com", "/v1/%77hoami-raw", true},
		{"api-eu.acme.com", "/v1/%2577hoami-raw", true},
		{"api-eu.acme.com", "/V1/WhoAmI-raw", true},
		{"api-eu.acme.com", "/v1;a=b/whoami-raw;c", true},
		{"api-eu.acme.com", "/debug", true},
		{"api-eu.acme.com", "/debug/a/b", true},
		{"a.acme.com", "/debug/a/b", false},
		{"main.acme.com", "/token", true},
		{"api-eu.acme.com", "/apps/anything/grant", true},
		{"api-eu.acme.com", "/apps/anything/grant.json", true},
		{"main.acme.com", "/token.json", true}, // Rails reads a format there
		{"main.acme.com", "/Token.XML/", true},
		{"main.acme.com", "/token%2ejson;a=b", true},
		{"main.acme.com", "/token.json/x", false},
		{"main.acme.com", "/token.jsonx", false},
		{"main.acme.com", "/tokens", false},
		{"api-eu.acme.com", "/v1/pages", false},
		{"api-eu.acme.com", "/v1/whoami", false},
	} {
		if got := p.Denied("GET", c.host, c.path); got != c.want {
			t.Errorf("%s%s: got %v", c.host, c.path, got)
		}
	}
}

// BF-029: no shipped provider lets call_api reach its own token endpoints.
func TestCatalogDeniesTokenEndpoints(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Search("", "", 0) {
		if p.OAuth2 == nil {
			continue
		}
		for name, e := range p.OAuth2.named() {
			rule := endpointRule(e.URL)
			for _, format := range []string{"", ".json", ".xml"} {
				if e.URL != "" && !p.Denied("POST", rule.Host, rule.Path+format) {
					t.Errorf("%s: oauth2.%s is not denied with %q behind it", p.ID, name, format)
				}
			}
		}
	}
}

// BF-029: what stands beside the token endpoints, and lists, makes or explains tokens.
func TestCatalogDeniesTokenPaths(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for id, paths := range map[string][]string{
		"mastodon": {"/oauth/token", "/oauth/token.json", "/oauth/token/info", "/oauth/revoke.json", "/oauth/introspect"},
		"zendesk": {"/oauth/tokens", "/oauth/tokens.json", "/api/v2/oauth/tokens", "/api/v2/oauth/tokens.json",
			"/api/v2/oauth/tokens/current", "/api/v2/oauth/tokens/current.json", "/api/v2/oauth/clients/1/generate_secret.json"},
	} {
		p, err := c.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		vars := map[string]string{}
		for name := range p.Vars {
			vars[name] = map[string]string{"host": "social.example", "subdomain": "acme"}[name]
		}
		if p, err = p.Resolve(vars); err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if host := p.API.Hosts[0]; !p.Denied("GET", host, path) || p.Denied("GET", host, "/api/v1/statuses") {
				t.Errorf("%s%s", host, path)
			}
		}
	}
}
