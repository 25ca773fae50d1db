package providers

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// custom writes a definition of one's own into a directory.
func custom(t *testing.T, dir, id, name string) {
	t.Helper()
	data := bytes.Replace(example(t), []byte(`"id": "example"`), fmt.Appendf(nil, `"id": %q`, id), 1)
	data = bytes.Replace(data, []byte(`"name": "Wiki of Acme"`), fmt.Appendf(nil, `"name": %q`, name), 1)
	if err := os.WriteFile(filepath.Join(dir, id+".json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// PI-006: an unknown id is refused with the nearest ones, never guessed.
func TestUnknownProvider(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"githuh": "github", "gitbub": "github", "GitHub": "github", "g00gle": "google", "goggle": "google",
		"slakc": "slack", "notlon": "notion", "git-lab": "gitlab", "micros0ft": "microsoft", "linaer": "linear",
	} {
		p, err := c.Get(id)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || p != nil {
			t.Errorf("%s: got %v, %v", id, p, err)
			continue
		}
		if len(unknown.Nearest) == 0 || unknown.Nearest[0] != want || len(unknown.Nearest) > 3 {
			t.Errorf("%s: nearest %v, want %s first", id, unknown.Nearest, want)
		}
		if !strings.Contains(err.Error(), "did you mean "+want) {
			t.Errorf("the error does not say what to do: %v", err)
		}
	}
	for _, id := range []string{"", "zzzzqqqq", strings.Repeat("a", 10_000), "\u0456\u0456\u0456", "../github", "github.json"} {
		if _, err := c.Get(id); err == nil || len(err.Error()) > 200 {
			t.Errorf("%.20q: got %v", id, err)
		}
	}
}

// PI-006: a definition of one's own is flagged, and cannot pass for one of ours.
func TestCustomProvider(t *testing.T) {
	dir := t.TempDir()
	custom(t, dir, "acme-wiki", "Acme Wiki")
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte("not a definition"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Get("acme-wiki")
	if err != nil || !p.Custom {
		t.Fatalf("got %+v, %v", p, err)
	}
	r, err := p.Resolve(map[string]string{"team": "x"})
	if err != nil || !r.Custom {
		t.Errorf("resolving lost the flag: %v", err)
	}

	for _, bad := range []struct{ id, name, want string }{
		{"github", "My own", "id: is taken by GitHub"},
		{"githuh", "My own", "id: looks like github"},
		{"g1thub", "My own", "id: looks like github"},
		{"git-hub", "My own", "id: looks like github"},
		{"sIack", "My own", "id: must be 1 to 40"},
		{"s1ack", "My own", "id: looks like slack"},
		{"rnicrosoft", "My own", "id: looks like microsoft"},
		{"gihtub", "My own", "id: looks like github"},
		{"own", "GitHub", "name: looks like GitHub"},
		{"own", " Git-Hub ", "name: looks like GitHub"},
		{"own", "G\u00edthub", "name: looks like GitHub"},
		{"own", "G\u0456thub", "name: must have Latin letters"},
		{"own", "Google\u200b", "name: must be printable"},
		{"own", "G00gle", "name: looks like Google"},
	} {
		dir := t.TempDir()
		custom(t, dir, bad.id, bad.name)
		if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), bad.id+".json: "+bad.want) {
			t.Errorf("%s, %q: got %v, want %q", bad.id, bad.name, err, bad.want)
		}
	}
}

func TestLoadNamesEveryBadFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one.json", "two.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"schema":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "big.json"), make([]byte, MaxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir, Options{})
	for _, want := range []string{"one.json: id: ", "two.json: id: ", "big.json: larger than"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "none"), Options{}); err == nil {
		t.Error("a directory that is not there passed")
	}
}

func TestPracticeNeedsLoopback(t *testing.T) {
	strict, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Get("practice"); err == nil {
		t.Error("practice is there without Loopback")
	}
	loose, err := Load("", Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := loose.Get("practice")
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.Resolve(map[string]string{"port": "8099", "api_port": "8099"})
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := r.Hosts(nil)
	if err != nil || !slices.Equal(hosts, []string{"127.0.0.1:8099"}) || r.OAuth2.Token.URL != "http://127.0.0.1:8099/token" {
		t.Errorf("got %v, %s, %v", hosts, r.OAuth2.Token.URL, err)
	}
	for _, port := range []string{"80@evil.com", "1/", "", "0"} {
		if _, err := p.Resolve(map[string]string{"port": port}); err == nil {
			t.Errorf("port %q passed", port)
		}
	}
}

// Answers given beforehand obey the same patterns as a person's.
func TestDefaults(t *testing.T) {
	c, err := Load("", Options{Defaults: map[string]map[string]string{"gitlab": {"host": "git.acme.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Get("gitlab")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Resolve(nil); err != nil || r.OAuth2.Token.URL != "https://git.acme.com/oauth/token" {
		t.Errorf("got %v, %v", r, err)
	}
	for name, bad := range map[string]map[string]map[string]string{
		"no such provider": {"gitlap": {"host": "git.acme.com"}},
		"no such variable": {"gitlab": {"hots": "git.acme.com"}},
		"outside pattern":  {"gitlab": {"host": "evil.com/"}},
	} {
		if _, err := Load("", Options{Defaults: bad}); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestSearch(t *testing.T) {
	c, err := Load("", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		query, method string
		limit         int
		want          string // the first hit
	}{
		{"github", "", 5, "github"}, {"GITHUB", "", 5, "github"}, {"gmail", "", 5, "google"}, {"jira", "", 0, "atlassian"},
		{"git", "device_code", 1, "github"}, {"twilio", "api_key", 0, "twilio"}, {"slack", "api_key", 0, ""}, {"no such thing", "", 0, ""},
		{"x", "", 0, "x"}, {"mail", "", 0, "mailchimp"}, {"hub", "", 0, "hubspot"}, // a whole name, its beginning, a keyword, a part
	} {
		got := c.Search(s.query, s.method, s.limit)
		first := ""
		if len(got) > 0 {
			first = got[0].ID
		}
		if first != s.want || s.limit > 0 && len(got) > s.limit {
			t.Errorf("%q %q: got %s (%d hits), want %s", s.query, s.method, first, len(got), s.want)
		}
	}
	all := c.Search("", "", 0)
	if len(all) != len(c.ids) || !slices.IsSortedFunc(all, func(a, b *Provider) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("an empty query does not list all, by id")
	}
}

// Names that nobody checked against a list, in any script, that a reader could take for one another.
func TestLookalike(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"alice@example.com", "Alice@Example.com"}: true,
		{"alice@example.com", "аlice@ехample.com"}: true, // Cyrillic
		{"alice@example.com", "ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ"}: true,
		{"alice@example.com", "a1ice@examp1e.com"}: true,
		{"alice", "alic\u00e9"}:                    true,
		{"alic\u00e9", "alice\u0301"}:              true,
		{"work account", "work\u00a0 account"}:     true,
		{"работа", "рабoта"}:                       true, // a Latin o
		{"owner", "0wner"}:                         true,
		{"owner", "οwner"}:                         true, // Greek
		{"***", "***"}:                             true,
		{"***", "!!!"}:                             false,
		{"alice@example.com", "bob@example.com"}:   false,
		{"team 1", "team 2"}:                       false,
		{"漢字", "仮名"}:                               false,
		{"owner", "home owner"}:                    false,
	} {
		if Lookalike(pair[0], pair[1]) != want || Lookalike(pair[1], pair[0]) != want {
			t.Errorf("%q and %q: want %v", pair[0], pair[1], want)
		}
	}
}
