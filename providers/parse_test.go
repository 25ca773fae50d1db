package providers

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

func example(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/example.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// with changes one field of the example; a nil value takes it away.
func with(t testing.TB, path string, value any) []byte {
	t.Helper()
	var root map[string]any
	if err := json.Unmarshal(example(t), &root); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(path, ".")
	var at any = root
	for _, part := range parts[:len(parts)-1] {
		if list, ok := at.([]any); ok {
			i, err := strconv.Atoi(part)
			if err != nil {
				t.Fatal(err)
			}
			at = list[i]
			continue
		}
		m := at.(map[string]any)
		if m[part] == nil {
			m[part] = map[string]any{}
		}
		at = m[part]
	}
	last := parts[len(parts)-1]
	if value == nil {
		delete(at.(map[string]any), last)
	} else {
		at.(map[string]any)[last] = value
	}
	data, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseExample(t *testing.T) {
	if _, err := Parse("example.json", example(t), Options{}); err != nil {
		t.Fatal(err)
	}
	bare := `{"schema":1,"id":"bare","name":"Bare","category":"dev","docs":"https://acme.com/","checked":{"on":"2026-11-30","source":"docs","level":"own"},
		"api":{"hosts":["api.acme.com"],"send":[{"in":"none"}]}}`
	if _, err := Parse("bare.json", []byte(bare), Options{}); err == nil || !strings.Contains(err.Error(), "has none of oauth2, api_key and browser") {
		t.Errorf("a definition without a way to sign in: %v", err)
	}
}

// TestParseRefuses has one line for every rule of the format.
func TestParseRefuses(t *testing.T) {
	list := func(v ...any) []any { return v }
	obj := func(kv ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i].(string)] = kv[i+1]
		}
		return m
	}
	for _, c := range []struct {
		path  string
		value any
		want  string
	}{
		// The head.
		{"schema", 2, "schema: must be 1"},
		{"id", "Example", "id: must be 1 to 40"},
		{"id", "other", "id: must equal the file name"},
		{"name", nil, "name: is missing"},
		{"name", "G\u0456thub", "name: must have Latin letters"},
		{"name", "a\u202eb", "name: must be printable"},
		{"id", "a--b", "id: must be 1 to 40"},
		{"category", nil, "category: is missing"},
		{"docs", nil, "docs: is missing"},
		{"vars.site.ask", nil, "vars.site.ask: is missing"},
		{"vars.Extra", obj("ask", "?"), `the name "Extra" must be lower case`},
		{"docs", "javascript:alert(1)", "docs: has '(', which"},
		{"docs", "https://example.com/${team}", "docs: must be written out"},
		{"docs", "http://docs.acme.com", "docs: must be https"},
		{"logo", "https://x.acme.com/l.png", "logo: unknown field"},
		{"ID", "example", "ID: must be written id"},
		{"oauth2.token.urll", "x", "oauth2.token.urll: unknown field"},
		{"oauth2.token.url", 7, "oauth2.token.url: must be a string"},
		{"oauth2.pkce", "plain", "oauth2.pkce: must be one of: S256"},
		{"oauth2.pkce", nil, "oauth2.pkce: is missing"},
		{"oauth2.scopes.identity", list("nobody:proposed"), "oauth2.scopes.identity[0]: must be one of oauth2.scopes.default"},
		{"oauth2.flows", list("code", "implicit"), "oauth2.flows[1]: must be one of"},

		// Rule 1: templates are ${name} and nothing else, and every name is known.
		{"oauth2.token.url", "https://x.acme.com/${nobody}", "oauth2.token.url: unknown name ${nobody}"},
		{"oauth2.token.url", "https://x.acme.com/${site:-main}", "has a $ that is not a ${name}"},
		{"oauth2.token.url", "https://x.acme.com/${${site}}", "has a $ that is not a ${name}"},
		{"oauth2.token.url", "https://x.acme.com/$site", "has a $ that is not a ${name}"},
		{"oauth2.token.url", "https://x.acme.com/${site", "has a $ that is not a ${name}"},
		{"api.send.0.format", nil, "api.send[0].format: is missing"},
		{"api.headers", obj("X-Tenant", "${tenant}"), "api.headers.X-Tenant: unknown name ${tenant}"},
		{"vars.client_secret", obj("ask", "?"), "declared twice or is built in"},

		// Rule 2: what lands in a host has a pattern that cannot lead out of it.
		{"vars.site.pattern", "^.*$", "${site} stands in a host"},
		{"vars.site.pattern", "^[a-z/]+$", "${site} stands in a host"},
		{"vars.site.pattern", "^[^/]+$", "${site} stands in a host"},
		{"vars.site.pattern", "^[a-z?#@]+$", "${site} stands in a host"},
		{"vars.site.pattern", "(?i)^[a-z]+$", "${site} stands in a host"},
		{"vars.site.pattern", nil, "${site} stands in a host"},
		{"vars.site.pattern", "[a-z]+", "vars.site.pattern: must begin with ^"},
		{"vars.site.pattern", "^[a-z]+$|x", "vars.site.pattern: must begin with ^"},
		{"vars.site.pattern", "(?m)^[a-z]+$", "vars.site.pattern: must begin with ^"},
		{"vars.site.pattern", "^(a$", "vars.site.pattern: is not a regular expression"},
		{"vars.site.pattern", "^" + strings.Repeat("a", 600) + "$", "vars.site.pattern: is longer than 512"},
		{"vars.site.default", "evil.com/", "vars.site.default: site must match"},
		{"vars.region.enum", list("eu", "us/"), "${region} stands in a host"},
		{"oauth2.token.url", "https://${client_id}.acme.com/", "${client_id} must not stand in a host"},

		// Rule 3: every URL is plain https on a public name.
		{"oauth2.token.url", "http://x.acme.com/token", "oauth2.token.url: must be https"},
		{"oauth2.token.url", "//x.acme.com/token", "oauth2.token.url: must be https"},
		{"oauth2.token.url", "https://u:p@x.acme.com/", "oauth2.token.url: must not carry a user name"},
		{"oauth2.token.url", "https://x.acme.com/#a", "oauth2.token.url: must not have a fragment"},
		{"oauth2.token.url", "https://x.acme.com/a/../b", "oauth2.token.url: must not have . or .."},
		{"oauth2.token.url", "https://x.acme.com/%2e%2e/b", "oauth2.token.url: must not have . or .."},
		{"oauth2.token.url", "https://\u0430cme.com/", "oauth2.token.url: has 'а', which"},
		{"oauth2.token.url", "https://ACME.com/", "oauth2.token.url: must be a full host name"},
		{"oauth2.token.url", "https://acme/", "oauth2.token.url: must be a full host name"},
		{"oauth2.token.url", "https://acme.com./", "oauth2.token.url: must be a full host name"},
		{"oauth2.token.url", "https:///token", "oauth2.token.url: has no host"},
		{"oauth2.token.url", "https://" + strings.Repeat("a23456789.", 26) + "acme.com/", "oauth2.token.url: must be a full host name"},
		{"oauth2.token.url", "https://x.acme.com/" + strings.Repeat("a", 2048), "oauth2.token.url: is longer than 2048"},
		{"oauth2.issuer", "https://x.acme.com/?tenant=1", "oauth2.issuer: must not have a query"},
		{"oauth2.discovery", "oidc", "oauth2.discovery: needs an issuer"},
		{"oauth2.token.url", "https://acme.com:443/", "oauth2.token.url: has a port"},
		{"oauth2.token.url", "https://acme.com:99999999/", "oauth2.token.url: has a port"},
		{"oauth2.token.url", "http://127.0.0.1:99/", "oauth2.token.url: must be https"},

		// Rule 4: hosts are a fixed list.
		{"api.hosts", nil, "api.hosts: is missing"},
		{"api.hosts", list("*"), "api.hosts[0]: must be a full host name"},
		{"api.hosts", list("*.com"), "api.hosts[0]: must be a full host name"},
		{"api.hosts", list("*.co.uk"), "api.hosts[0]: must not cover all of co.uk"},
		{"api.hosts", list("*.co.uk:8443"), "api.hosts[0]: must not cover all of co.uk"},
		{"api.hosts", list("*.asso.fr"), "api.hosts[0]: must not cover all of asso.fr"},
		{"api.hosts", list("*.github.io"), "api.hosts[0]: must not cover all of github.io"},
		{"api.hosts", list("*.s3.amazonaws.com"), "api.hosts[0]: must not cover all of s3.amazonaws.com"},
		{"api.hosts", list("a.*.acme.com"), "api.hosts[0]: must be a full host name"},
		{"api.hosts", list("a*.acme.com"), "api.hosts[0]: must be a full host name"},
		{"api.hosts", list("https://api.acme.com"), "api.hosts[0]: has a port"},
		{"api.hosts", list("api.acme.com/v1"), "api.hosts[0]: must be a full host name"},
		{"api.hosts", list("${webhook}"), "${webhook} must not stand in a host"},
		{"api.hosts", list("10.0.0.1"), "api.hosts[0]: must be a name, not an address"},
		{"api.base", "https://evil.com/", "api.base: is not on a host"},
		{"api.base", "${instance_url}.evil.com/", "api.base: must go on with a slash"},
		{"identity.url", "https://evil.com/me", "identity.url: is not on a host"},
		{"api_key.verify.url", "https://evil.com/me", "api_key.verify.url: is not on a host"},
		{"browser.probe.url", "https://evil.com/me", "browser.probe.url: is not on a host"},
		{"oauth2.after.0.get", "https://evil.com/me", "oauth2.after[0].get: is not on a host"},
		{"oauth2.after", []any{
			map[string]any{"get": "https://api.acme.com/sites", "list": ".", "value": "id", "store": "site"},
			map[string]any{"get": "https://api.acme.com/where", "value": "id", "store": "region"},
		}, "oauth2.after[0].list: must be in the last look-up"},

		// Rule 5: a callback parameter that replaces a variable comes from a closed list.
		{"oauth2.callback.capture.server.enum", nil, "oauth2.callback.capture.server.into: needs a closed enum"},
		{"oauth2.callback.capture.server.enum", list("https://mars"), "has a value that the variable region does not allow"},
		{"oauth2.callback.capture.server.into", "nowhere", "into: is not a variable"},
		{"oauth2.callback.capture.hook.pattern", nil, "hook: needs one of pattern, equals and enum"},

		// Rule 6: paths are names and indexes.
		{"identity.label", list("$.user"), "identity.label[0]: must be names and indexes"},
		{"identity.label", list("user..mail"), "identity.label[0]: must be names and indexes"},
		{"identity.label", list("user[*].mail"), "identity.label[0]: must be names and indexes"},

		// Rule 7: nothing without its provenance.
		{"checked", nil, "checked.level: is missing"},
		{"checked.on", "yesterday", "checked.on: must be a day"},
		{"checked.source", nil, "checked.source: is missing"},
		{"checked.level", "memory", "checked.level: must be one of"},

		// What the protocol sets is not the definition's.
		{"oauth2.authorize.params", obj("state", "x"), "oauth2.authorize.params.state: is set by us"},
		{"oauth2.authorize.params", obj("code_challenge_method", "plain"), "is set by us"},
		{"oauth2.authorize.url", "https://${site}.acme.com/authorize?redirect_uri=x", "oauth2.authorize.url.redirect_uri: is set by us"},
		{"oauth2.token.params", obj("grant_type", "password"), "oauth2.token.params.grant_type: is set by us"},
		{"api.headers", obj("Authorization", "x"), "api.headers.Authorization: is a header that only we may set"},
		{"api.headers", obj("Bad Header", "x"), "is not a header name"},
		{"api.headers", obj("Proxy-Authorization", "x"), "api.headers.Proxy-Authorization: is a header that only we may set"},
		{"api.headers", obj("Sec-Fetch-Site", "none"), "api.headers.Sec-Fetch-Site: is a header that only we may set"},
		{"identity.headers", obj("Authorization", "x", "Cookie", "y"), "identity.headers.Cookie: is a header that only we may set"},
		{"api.headers_allowed", list("Cookie"), "api.headers_allowed[0]: is a header that only we may set"},
		{"api.headers_allowed", list("X-HTTP-Method-Override"), "api.headers_allowed[0]: is a header that only we may set"},
		{"api.headers_allowed", list("X-Forwarded-For"), "api.headers_allowed[0]: is a header that only we may set"},
		{"api.headers", obj("X-Key", "${client_secret}"), "must not use ${client_secret}"},
		{"identity.url", "https://${site}.acme.com/${refresh_token}", "must not use ${client_secret} or ${refresh_token}"},

		// Sending.
		{"api.send", nil, "api.send: is missing"},
		{"api.send", list(obj("in", "body")), "api.send[0].in: must be one of"},
		{"api.send", list(obj("in", "header", "name", "Authorization", "format", "Bearer abc")), "sends nothing of the credential"},
		{"api.send", list(obj("in", "path", "format", "bot${access_token}")), "must begin with a slash"},
		{"api.send", list(obj("in", "none"), obj("in", "none")), "none must stand alone"},
		{"api_key.send", nil, "api_key.send: is missing"},

		// Browser.
		{"browser.success", nil, "browser.success: needs a condition"},
		{"browser.success.all", list(obj("cookie", "a", "selector", "b")), "browser.success.all[0]: must have exactly one"},
		{"browser.second_factor.any", list(obj()), "browser.second_factor.any[0]: must have exactly one"},
		{"browser.success.any", list(obj("url", "acme")), "browser.success.any[0].url: must begin with ^"},
		{"browser.domains", nil, "browser.domains: is missing"},
		{"browser.login_url", "file:///etc/passwd", "browser.login_url: must be https"},
		{"browser.probe_s", -1, "browser.probe_s: must be from 0 to ten years"},
		{"oauth2.refresh.life_s", 1 << 40, "oauth2.refresh.life_s: must be from 0 to ten years"},
		{"browser.probe.ok", list(700), "browser.probe.ok[0]: must be a status"},

		// Rule 1, rule 8: what the protocol passes has no other name, by which it would go elsewhere, or be kept in the clear.
		{"oauth2.response.keep.webhook.path", "refresh_token", "keep.webhook.path: must not be taken under another name"},
		{"oauth2.response.keep.webhook.path", "data[0].Refresh_Token", "keep.webhook.path: must not be taken under another name"},
		{"oauth2.response", obj("refresh_token", list("data.rt"), "keep", obj("instance_url", obj("path", "rt"))), "keep.instance_url.path: must not be taken"},
		{"oauth2.response.keep.instance_url.path", "access_token", "keep.instance_url.path: is a token: it must be secret"},
		{"oauth2.response.keep.instance_url.path", "id_token", "keep.instance_url.path: is a token: it must be secret"},
		{"oauth2.response", obj("access_token", list("data.at"), "keep", obj("instance_url", obj("path", "data.at"))), "keep.instance_url.path: is a token"},
		{"oauth2.callback.capture.hook.param", "code", "capture.hook.param: must not be taken under another name"},
		{"oauth2.callback.capture.hook.param", "state", "capture.hook.param: must not be taken under another name"},
		{"oauth2.callback.capture.server.param", "id_token", "capture.server.param: is a token: it must be secret"},
		{"oauth2.callback", obj("code", "auth_code", "capture", obj("server", obj("param", "auth_code", "pattern", "^.*$"))), "capture.server.param: must not be taken"},

		// OAuth 2.
		{"oauth2.flows", nil, "oauth2.flows: is missing"},
		{"oauth2.client.secret", nil, "oauth2.client.secret: is missing"},
		{"oauth2.client.auth", nil, "oauth2.client.auth: is missing"},
		{"oauth2.refresh.grant", nil, "oauth2.refresh.grant: is missing"},
		{"oauth2.token.url", nil, "oauth2.token.url: is missing"},
		{"oauth2.authorize.url", nil, "oauth2.authorize.url: is missing"},
		{"oauth2.flows", list("code", "device"), "oauth2.device.url: is missing"},
		{"oauth2", obj("flows", list("client_credentials"), "client", obj("secret", "none", "auth", "none")), "oauth2.flows: client_credentials needs a client secret"},
		{"oauth2.response.assume_ttl", -1, "oauth2.response.assume_ttl: must be from 0 to ten years"},
		{"oauth2.refresh.grace_s", -1, "oauth2.refresh.grace_s: must be from 0 to ten years"},
		{"oauth2.refresh.min_age_s", -1, "oauth2.refresh.min_age_s: must be from 0 to ten years"},
		{"oauth2.refresh.idle_s", -1, "oauth2.refresh.idle_s: must be from 0 to ten years"},
		{"oauth2.issuer_template", "https://evil.com/{tenant}", "oauth2.issuer_template: must be on the host of the issuer"},
		{"oauth2.response.ok", "ok", "oauth2.response.ok: must be path=value"},
		{"oauth2.response.extra_scope", obj("authed_user", "scope"), "extra_scope.authed_user: is no prefix of oauth2.scopes.extra"},
		{"oauth2.response.keep.webhook", obj("secret", true), "keep.webhook.path: is missing"},
		{"oauth2.response.keep.webhook.place", true, "keep.webhook.place: must not be a secret"},
		{"oauth2.callback.capture.hook.param", nil, "capture.hook.param: is missing"},
		{"oauth2.authorize.offline", obj("audience", "x"), "oauth2.authorize.offline.audience: is in params already"},
		{"oauth2.authorize.offline", obj("state", "x"), "oauth2.authorize.offline.state"},
		{"oauth2.refresh.params", obj("refresh_token", "x"), "oauth2.refresh.params.refresh_token"},
		{"oauth2.after.0.get", nil, "oauth2.after[0].get: is missing"},
		{"oauth2.after.0.value", nil, "oauth2.after[0].value: is missing"},
		{"oauth2.after.0.store", nil, "oauth2.after[0].store: is missing"},
		{"oauth2.after.0.header", obj("Authorization", "Bearer ${access_token}", "Host", "evil.com"), "oauth2.after[0].header.Host: is a header that only we may set"},
		{"oauth2.token.headers", obj("Cookie", "x"), "oauth2.token.headers.Cookie: is a header that only we may set"},
		{"oauth2.token.auth", "bearer", "oauth2.token.auth: bearer needs a token"},
		{"oauth2.par", obj("auth", "basic"), "oauth2.par.url: is missing"},
		{"oauth2.revoke", obj("url", "https://x.acme.com/revoke", "body", "none", "params", obj("a", "b")), "oauth2.revoke.params: cannot be sent without a body"},
		{"oauth2.revoke.ok", list(500), "oauth2.revoke.ok[0]: must be a status from 200 to 499"},
		{"oauth2.revoke.ok", list(199), "oauth2.revoke.ok[0]: must be a status from 200 to 499"},

		// Keys.
		{"api_key.fields", list(obj("ask", "Key")), "api_key.fields[0].name: is missing"},
		{"api_key.fields.0.ask", nil, "api_key.fields[0].ask: is missing"},
		{"api_key.verify.url", nil, "api_key.verify.url: is missing"},
		{"api_key.send", list(obj("in", "query", "format", "${key}")), "api_key.send[0].name: is missing"},
		{"api_key.send", list(obj("in", "cookie", "name", "s")), "api_key.send[0].format: is missing"},
		{"api_key.send", list(obj("in", "query", "name", "${key}", "format", "x")), "api_key.send[0].name: must be a plain name"},
		{"api_key.send", list(obj("in", "basic")), "api_key.send[0].name: is missing"},
		{"api_key.send", list(obj("name", "X-Key", "format", "${key}")), "api_key.send[0].in: is missing"},
		{"api_key.send", list(obj("in", "header", "name", "Host", "format", "${key}")), "api_key.send[0].name: is a header that only we may set"},
		{"api.headers_allowed", list("authorization"), "api.headers_allowed[0]"},
		{"api", obj("hosts", list("api.acme.com"), "send", list(obj("in", "header", "name", "X-Key", "format", "${access_token}")), "headers_allowed", list("x-key")), "api.headers_allowed[0]: carries the credential"},
		{"api.access", list(obj("is", "read")), "api.access[0].path: is missing"},
		{"deny", list(obj("host", "api-eu.acme.com")), "deny[0].path: is missing"},
		{"identity.label", nil, "identity.label: is missing"},
		{"identity.url", nil, "identity.url: is missing"},
		{"oauth2", nil, "identity: is for oauth2"},

		// The browser, once more.
		{"browser.login_url", nil, "browser.login_url: is missing"},
		{"browser.usage", nil, "browser.usage: is missing"},
		{"browser.assume_ttl", -1, "browser.assume_ttl: must be from 0 to ten years"},
		{"browser.probe", obj("ok", list(200)), "browser.probe.url: is missing"},
		{"browser.identity", obj("url", "https://home.acme.com/me", "selector", "#me"), "browser.identity: needs either selector or url"},
		{"browser.identity", obj("label", list("email")), "browser.identity: needs either selector or url"},
		{"browser.identity.label", nil, "browser.identity.label: is missing"},
		{"browser.identity.url", "https://evil.com/me", "browser.identity.url: is not on a host"},

		// Path rules.
		{"deny", list(obj("path", "v1")), "deny[0].path: must be a path"},
		{"deny", list(obj("path", "/a/../b")), "deny[0].path: must be a path"},
		{"deny", list(obj("path", "/**/b")), "deny[0].path: may have ** as its last part only"},
		{"deny", list(obj("path", "/[a-z]")), "deny[0].path: must have no special characters"},
		{"deny", list(obj("host", "*.com", "path", "/a")), "deny[0].host: must be a full host name"},
		{"api.access", list(obj("path", "/a")), "api.access[0].is: is missing"},
	} {
		_, err := Parse("example.json", with(t, c.path, c.value), Options{})
		switch {
		case err == nil:
			t.Errorf("%s = %v passed, want %q", c.path, c.value, c.want)
		case !strings.Contains(err.Error(), c.want):
			t.Errorf("%s = %v: got %v, want %q", c.path, c.value, err, c.want)
		case !strings.HasPrefix(err.Error(), "example.json: "):
			t.Errorf("the error does not name the file: %v", err)
		}
	}
}

// HL-030: what is not plain https never becomes an address that a browser is given.
func TestParseRefusesAddressesThatRunSomething(t *testing.T) {
	for _, u := range []string{
		"javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "-flag", "https:acme.com",
		"https://x.acme.com/$(calc)", "https://x.acme.com/`id`", "https://x.acme.com/a|b", "https://x.acme.com/a&b'c",
		"https://x.acme.com/\"", "https://x.acme.com/a b", "https://x.acme.com/<script>", "https://x.acme.com\\@evil.com/",
		" https://x.acme.com/", "https://x.acme.com/\n", "JavaScript://x.acme.com/%0aalert(1)",
	} {
		for _, field := range []string{"oauth2.authorize.url", "browser.login_url", "docs", "register", "api_key.create"} {
			if _, err := Parse("example.json", with(t, field, u), Options{}); err == nil {
				t.Errorf("%s = %q passed", field, u)
			}
		}
		doc, err := json.Marshal(map[string]string{"issuer": "https://acme.com", "authorization_endpoint": u})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMetadata("https://acme.com", doc, MetadataOptions{}); err == nil {
			t.Errorf("authorization_endpoint %q passed", u)
		}
	}
}

// inside are addresses that must not be reached from outside, in the spellings people try.
var inside = []string{
	"http://169.254.169.254/latest", "https://169.254.169.254/latest", "file:///etc/passwd", "https://127.0.0.1/",
	"https://10.0.0.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://localhost/", "https://a.localhost/",
	"https://2130706433/", "https://0x7f.1/", "https://0x7f000001/", "https://metadata.google.internal/", "https://8.8.8.8/",
}

// PD-002: no address of a definition or a discovery document names the inside of a
// network. Names that lead there are refused when they are dialled, by egress.
func TestNoAddressInside(t *testing.T) {
	for _, u := range inside {
		for _, field := range []string{"oauth2.token.url", "oauth2.revoke.url", "oauth2.discovery", "identity.url", "docs"} {
			if _, err := Parse("example.json", with(t, field, u), Options{}); err == nil {
				t.Errorf("%s = %q passed", field, u)
			}
		}
		for _, e := range new(Metadata).endpoints() {
			doc, err := json.Marshal(map[string]string{"issuer": "https://acme.com", e.name: u})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseMetadata("https://acme.com", doc, MetadataOptions{Loopback: true}); err == nil {
				t.Errorf("%s = %q passed", e.name, u)
			}
		}
	}
}

// PD-005: whatever the bytes, Parse ends soon, does not panic, and what it lets
// through can be resolved or says why not.
func FuzzParse(f *testing.F) {
	f.Add(example(f))
	for _, id := range []string{"github", "slack", "zoho", "oidc", "twilio"} {
		data, err := embedded.ReadFile("catalog/" + id + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"schema":1,"schema":1}`))
	f.Add([]byte(`{"vars":{"a":{"pattern":"^((a+)+)+$"}}}`))
	f.Add([]byte(strings.Repeat("[", 100_000)))
	f.Add([]byte(`{"api":{"hosts":["${a}"]},"vars":{"a":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("example.json", data, Options{})
		if err != nil {
			return
		}
		if r, err := p.Resolve(nil); err == nil {
			r.Denied("GET", "api.acme.com", "/v1")
		}
		if _, err := Parse("example.json", data, Options{Loopback: true}); err != nil {
			t.Fatalf("stricter with loopback: %v", err)
		}
	})
}

// PD-005: the bombs.
func TestParseBounds(t *testing.T) {
	for name, data := range map[string][]byte{
		"10 MiB":        append([]byte(`{"name":"`), append(make([]byte, 10<<20), `"}`...)...),
		"deep":          []byte(strings.Repeat(`{"a":`, 100_000)),
		"twice":         []byte(`{"id":"a","id":"b"}`),
		"trailing":      append(example(t), '{'),
		"pattern bomb":  with(t, "vars.site.pattern", "^"+strings.Repeat("(a{1000}){1000}", 3)+"$"),
		"unicode host":  with(t, "api.hosts", []string{"api.acm\u00e9.com"}),
		"not an object": []byte(`[]`),
		"empty":         nil,
	} {
		if _, err := Parse("example.json", data, Options{}); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}
