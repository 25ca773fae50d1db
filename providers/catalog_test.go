package providers

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the catalogue's files in the one format")

// TestCatalog holds the shipped definitions to the rules that a person would check.
func TestCatalog(t *testing.T) {
	c, err := Load("", Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.ids) < 100 {
		t.Errorf("only %d providers", len(c.ids))
	}
	var old []string
	for _, id := range c.ids {
		p, err := c.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		on, err := time.Parse(time.DateOnly, p.Checked.On)
		if err != nil {
			t.Error(err)
		}
		if time.Since(on) > 365*24*time.Hour {
			old = append(old, id)
		}
		if p.Custom {
			t.Errorf("%s: is flagged custom", id)
		}
		for _, other := range c.ids {
			if other < id && skeleton(other) == skeleton(id) {
				t.Errorf("%s looks like %s", id, other)
			}
		}
	}
	if len(old) > 0 {
		t.Logf("checked more than a year ago, look again: %s", strings.Join(old, " "))
	}
	for _, id := range []string{"github", "google", "microsoft", "gitlab", "slack", "notion", "linear", "oidc", "practice"} {
		if _, err := c.Get(id); err != nil {
			t.Error(err)
		}
	}
}

// TestCatalogFormat keeps diffs small: each file is what encoding/json writes.
func TestCatalogFormat(t *testing.T) {
	err := fs.WalkDir(embedded, "catalog", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if path.Ext(name) != ".json" {
			t.Errorf("%s does not belong here", name)
			return nil
		}
		have, err := fs.ReadFile(embedded, name)
		if err != nil {
			return err
		}
		p, err := Parse(path.Base(name), have, Options{Loopback: strings.Contains(name, "loopback")})
		if err != nil {
			return err
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(p); err != nil {
			return err
		}
		if bytes.Equal(have, want.Bytes()) {
			return nil
		}
		if *update {
			return os.WriteFile(name, want.Bytes(), 0o644)
		}
		t.Errorf("%s is not in the one format: go test ./providers -run TestCatalogFormat -update", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// CB-008: every provider that is asked without PKCE is listed here by name, so that
// none slips in unseen. A new line needs a page of the provider that says so.
func TestCatalogWithoutPKCE(t *testing.T) {
	want, err := os.ReadFile("testdata/without_pkce.txt")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("", Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, id := range c.ids {
		p, err := c.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if o := p.OAuth2; o != nil && o.PKCE == "none" {
			have = append(have, id)
		}
	}
	if listed := strings.Fields(string(want)); !slices.Equal(have, listed) {
		t.Errorf("without PKCE:\n%s\nlisted in testdata/without_pkce.txt:\n%s", strings.Join(have, "\n"), strings.Join(listed, "\n"))
	}
}

// BF-026: a star covers hosts that a definition does not name, and under some domains strangers run their own code on one
// of them, which would be sent the credential: runtime.adobe.io. So each star is listed here by name. A new line needs
// somebody who has looked what lives under it.
func TestCatalogStars(t *testing.T) {
	c, err := Load("", Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range c.ids {
		p, err := c.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range p.API.Hosts {
			if strings.Contains(host, "*") && id+" "+host != "google *.googleapis.com" {
				t.Errorf("%s: its credential goes to %s", id, host)
			}
		}
	}
}

// CB-020: where OpenID Connect says whose account it is, openid is asked for whatever scopes the caller names.
func TestCatalogAsksForIdentity(t *testing.T) {
	c, err := Load("", Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range c.ids {
		p, err := c.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if o := p.OAuth2; o != nil && slices.Contains(o.Scopes.Default, "openid") && !slices.Contains(o.Scopes.Identity, "openid") {
			t.Errorf("%s: oauth2.scopes.identity has no openid", id)
		}
	}
}
