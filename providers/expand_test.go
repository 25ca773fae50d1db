package providers

import (
	"strings"
	"testing"
)

func parsed(t testing.TB) *Provider {
	t.Helper()
	p, err := Parse("example.json", example(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExpand(t *testing.T) {
	p := parsed(t)
	for _, c := range []struct {
		template string
		vars     map[string]string
		want     string // or a part of the error, after "!"
	}{
		{"Bearer ${access_token}", map[string]string{"access_token": "a/b"}, "Bearer a/b"},
		{"https://${site}.acme.com/", nil, "https://main.acme.com/"},
		{"https://${site}.acme.com/", map[string]string{"site": "two"}, "https://two.acme.com/"},
		{"https://${site}.acme.com/?t=${team}", map[string]string{"team": "a&b=c #/?"}, "https://main.acme.com/?t=a%26b%3Dc%20%23%2F%3F"},
		{"https://api-eu.acme.com/apps/${client_id}/grant", map[string]string{"client_id": "a/b"}, "https://api-eu.acme.com/apps/a%2Fb/grant"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://a.acme.com"}, "https://a.acme.com/v1"},
		{"no names", nil, "no names"},

		{"${nobody}", map[string]string{"nobody": "x"}, "!unknown name ${nobody}"},
		{"${access_token}", nil, "!${access_token} has no value"},
		{"${team}", nil, "!team is empty"},
		{"${access_token}", map[string]string{"access_token": "a\r\nX: y"}, "!control characters"},
		{"$access_token", nil, "!has a $"},
		{"https://${site}.acme.com/", map[string]string{"site": "evil.com/"}, "!site must match"},
		{"https://${site}.acme.com/", map[string]string{"site": "evil.com#"}, "!site must match"},
		{"https://api-${region}.acme.com/", map[string]string{"region": "mars"}, "!region must be one of"},
		{"https://api-eu.acme.com/apps/${client_id}", map[string]string{"client_id": ".."}, "!must not have . or .."},
		{"https://api-eu.acme.com/apps/${client_id}", map[string]string{"client_id": "../x"}, "!must not have . or .."},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://evil.com"}, "!not in its list"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://x.acme.com.evil.com"}, "!not in its list"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://x.acme.com@evil.com"}, "!user name"},
		{"${instance_url}/v1", map[string]string{"instance_url": "http://x.acme.com"}, "!must be https"},
		{"${instance_url}/v1", map[string]string{"instance_url": "//x.acme.com"}, "!must be https"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://x.acme.com:8443"}, "!not in its list"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://a.b.acme.com"}, "!not in its list"},
		{"${instance_url}/v1", map[string]string{"instance_url": "https://x.\u0430cme.com"}, "!does not belong in a URL"},
	} {
		got, err := p.Expand(c.template, c.vars)
		if reason, bad := strings.CutPrefix(c.want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s with %v: got %q, %v, want the error %q", c.template, c.vars, got, err, reason)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s with %v: got %q, %v, want %q", c.template, c.vars, got, err, c.want)
		}
	}
}

func TestExpandErrorHoldsNoValue(t *testing.T) {
	p := parsed(t)
	for _, template := range []string{"${access_token}", "https://main.acme.com/${access_token}"} {
		_, err := p.Expand(template, map[string]string{"access_token": "sec\x00ret"})
		if err == nil || strings.Contains(err.Error(), "ret") {
			t.Errorf("%s: %v", template, err)
		}
	}
}

func TestResolve(t *testing.T) {
	p := parsed(t)
	r, err := p.Resolve(map[string]string{"site": "two", "team": "blue", "instance_url": "https://a.acme.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{r.OAuth2.Token.URL, "https://two.acme.com/token"},
		{r.OAuth2.Authorize.URL, "https://two.acme.com/authorize?tenant=blue"},
		{r.OAuth2.Revoke.URL, "https://api-eu.acme.com/apps/${client_id}/grant"},
		{r.API.Hosts[0], "api-eu.acme.com"},
		{r.API.Hosts[1], "${instance_url}"},
		{r.API.Send[0].Format, "Bearer ${access_token}"},
		{r.OAuth2.After[0].Get, "https://api-eu.acme.com/sites"},
		{p.OAuth2.Token.URL, "https://${site}.acme.com/token"}, // the original is untouched
		{p.API.Hosts[0], "api-${region}.acme.com"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for name, vars := range map[string]map[string]string{
		"unknown name": {"team": "x", "sitee": "y"},
		"bad value":    {"team": "x", "site": "a.b"},
		"no value":     {},
	} {
		if _, err := p.Resolve(vars); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestHosts(t *testing.T) {
	p := parsed(t)
	got, err := p.Hosts(map[string]string{"instance_url": "https://a.acme.com"})
	if err != nil || len(got) != 2 || got[0] != "api-eu.acme.com" || got[1] != "a.acme.com" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := p.Hosts(map[string]string{"instance_url": "https://evil.com"}); err == nil {
		t.Errorf("a host outside the list passed: %v", got)
	}
	if got, err := p.Hosts(nil); err == nil {
		t.Errorf("a missing host passed: %v", got)
	}
}

func TestHostMatches(t *testing.T) {
	for _, c := range []struct {
		entry, host string
		want        bool
	}{
		{"api.github.com", "api.github.com", true},
		{"api.github.com", "api.github.com.evil", false},
		{"api.github.com", "api.github.com:8443", false},
		{"api.github.com", "API.GITHUB.COM", false},
		{"*.acme.com", "a.acme.com", true},
		{"*.acme.com", "a.b.acme.com", false},
		{"*.acme.com", "acme.com", false},
		{"*.acme.com", ".acme.com", false},
		{"*.acme.com", "evilacme.com", false},
		{"*.acme.com", "evil.com/.acme.com", false},
		{"*.acme.com", "u@x.acme.com", false},
		{"127.0.0.1:99", "127.0.0.1:99", true},
		{"127.0.0.1:99", "127.0.0.1", false},
	} {
		if got := HostMatches(c.entry, c.host); got != c.want {
			t.Errorf("%s, %s: got %v", c.entry, c.host, got)
		}
	}
}

// Rule 5: what a callback says replaces a variable only from the closed list.
func TestCaptureRebound(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	zoho, err := c.Get("zoho")
	if err != nil {
		t.Fatal(err)
	}
	server := zoho.OAuth2.Callback.Capture["accounts_server"]
	if err := server.Check("https://accounts.zoho.eu"); err != nil || server.Rebound("https://accounts.zoho.eu") != "accounts.zoho.eu" {
		t.Errorf("the European centre: %v", err)
	}
	for _, v := range []string{"https://evil", "https://accounts.zoho.com.evil.example", "http://accounts.zoho.com", "accounts.zoho.com", ""} {
		if server.Check(v) == nil {
			t.Errorf("%q passed", v)
		}
	}
}
