package auth

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

var pathProvider = &providers.Provider{ID: "p", Name: "P", API: providers.API{Hosts: []string{"api.example.com"}}}

func judgePath(raw string, g Grant) (egress.Target, Verdict, error) {
	t, err := egress.Parse(raw, egress.ParseOptions{})
	if err != nil {
		return t, Verdict{}, err
	}
	g.Kind = Use
	return t, judge(pathProvider, &Connection{Hosts: []string{"api.example.com"}}, []Grant{g}, []string{"GET"}, t), nil
}

// BF-023: what a grant says about paths holds for the canonical path, which is the one that is sent.
func TestGrantedPaths(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		allow         bool
	}{
		{"/repos/*", "/repos/a", true},
		{"/repos/*", "/repos/a%20b", true},
		{"/repos/*", "/%72epos/a", true},
		{"/repos/*", "/repos/*", true},
		{"/repos/a%20b", "/repos/a%20b", true},
		{"/repos/a%20b", "/repos/%61%20b", true},
		{"/repos/**", "/repos/a/b", true},
		{"/repos/*/issues", "/repos/a/issues", true},
		{"/repos/*", "/repos", false},
		{"/repos/*", "/repos/", false},
		{"/repos/*", "/repos/a/", false},
		{"/repos/*", "/repos/a/b", false},
		{"/repos/*", "/user", false},
		{"/repos/*", "/REPOS/a", false},
		{"/repos/**", "/repos", false},
		{"/repos/**", "/repositories/a", false},
		{"/repos/v*", "/repos/v1", false}, // a star is a whole segment
		{"/**/keys", "/user/keys", false}, // and two stars are the end
		{"/repos/a", "/repos/a%2Ab", false},
	} {
		_, v, err := judgePath("https://api.example.com"+test.path, Grant{Paths: []string{test.pattern}, Access: Write})
		if err != nil || v.Allow != test.allow {
			t.Errorf("%s under %s: %+v, %v", test.path, test.pattern, v, err)
		}
	}
	for _, path := range []string{"/repos/../user", "/repos/%2e%2e/user", "//user", "/repos/a;b", "/repos/a%2fb", "/repos/%252e%252e/user", `/repos/..\user`, "/repos/%00", "/repos/./a"} {
		if _, v, err := judgePath("https://api.example.com"+path, Grant{Paths: []string{"/**"}}); err == nil {
			t.Errorf("%s is a path: %+v", path, v)
		}
	}
}

// BF-035: under a read-only grant whatever writes is asked for, each call anew. Rules name themselves, and what nobody can allow is told apart from what the owner can.
func TestRules(t *testing.T) {
	p := &providers.Provider{ID: "p", API: providers.API{Hosts: []string{"api.example.com"}}, Deny: []providers.PathRule{{Path: "/token/**"}, {Path: "/shown", Methods: []string{"GET"}}}}
	c := &Connection{Hosts: []string{"api.example.com"}}
	read, write := Grant{ID: "r", Kind: Use, Access: Read}, Grant{ID: "w", Kind: Use, Access: Write}
	for name, test := range map[string]struct {
		grants      []Grant
		method, url string
		want        string
	}{
		"nothing granted":    {nil, "GET", "https://api.example.com/a", "ask no_grant"},
		"a release grant":    {[]Grant{{Kind: Release}}, "GET", "https://api.example.com/a", "ask no_grant"},
		"reading":            {[]Grant{read}, "GET", "https://api.example.com/a", "allow grant r"},
		"writing":            {[]Grant{read}, "POST", "https://api.example.com/a", "ask read_only"},
		"asking for options": {[]Grant{read}, "OPTIONS", "https://api.example.com/a", "ask read_only"},
		"the second grant":   {[]Grant{read, write}, "DELETE", "https://api.example.com/a", "allow grant w"},
		"another method":     {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST"}}}, "DELETE", "https://api.example.com/a", "ask scope"},
		"another host":       {[]Grant{{Kind: Use, Access: Write, Hosts: []string{"b.example.com"}}}, "GET", "https://api.example.com/a", "ask scope"},
		"a host of nobody":   {[]Grant{write}, "GET", "https://evil.example.com/a", "never host"},
		"another port":       {[]Grant{write}, "GET", "https://api.example.com:8443/a", "never host"},
		"a denied path":      {[]Grant{write}, "GET", "https://api.example.com/token/x", "never deny_path"},
		// BF-021: a method in the query is one, as Facebook and WordPress see it.
		"reading that deletes":     {[]Grant{read}, "GET", "https://api.example.com/a?x=1&method=delete", "ask read_only"},
		"reading that posts":       {[]Grant{read}, "GET", "https://api.example.com/a?_m%65thod=P%4fST", "ask read_only"},
		"granted GET, deletes":     {[]Grant{{Kind: Use, Access: Write, Methods: []string{"GET"}}}, "GET", "https://api.example.com/a?_method=DELETE", "ask scope"},
		"writing that deletes":     {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST"}}}, "POST", "https://api.example.com/a?X-HTTP-Method-Override=DELETE", "ask scope"},
		"two methods":              {[]Grant{{Kind: Use, Access: Write, Methods: []string{"PUT"}}}, "POST", "https://api.example.com/a?_method=PUT&_method=DELETE", "ask scope"},
		"one method twice":         {[]Grant{{Kind: Use, Access: Write, Methods: []string{"PUT"}}}, "POST", "https://api.example.com/a?_method=PUT&method=put", "ask scope"}, // the API may not know of it
		"both methods":             {[]Grant{{Kind: Use, Access: Write, Methods: []string{"PUT", "POST"}}}, "POST", "https://api.example.com/a?_method=PUT&method=put", "allow grant "},
		"the pair":                 {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST as PUT"}}}, "POST", "https://api.example.com/a?_method=PUT", "allow grant "},
		"half of the pair":         {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST as PUT"}}}, "POST", "https://api.example.com/a", "ask scope"},
		"the other half":           {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST as PUT"}}}, "PUT", "https://api.example.com/a", "ask scope"},
		"more than the pair":       {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST as PUT"}}}, "POST", "https://api.example.com/a?_method=PUT&_method=DELETE", "ask scope"},
		"the pair in no order":     {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST as PUT"}}}, "PUT", "https://api.example.com/a?_method=POST", "ask scope"},
		"a semicolon":              {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST"}}}, "POST", "https://api.example.com/a?x=1;_method=DELETE", "ask scope"},
		"another escape broken":    {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST"}}}, "POST", "https://api.example.com/a?_method%zz=DELETE", "ask scope"},
		"a verb of WebDAV":         {[]Grant{{Kind: Use, Access: Write, Methods: []string{"POST"}}}, "POST", "https://api.example.com/a?_method=move", "ask scope"},
		"into a denied GET":        {[]Grant{write}, "POST", "https://api.example.com/shown?_method=GET", "never deny_path"},
		"a method of another kind": {[]Grant{read}, "GET", "https://api.example.com/a?method=artist.search&payment_method=card", "allow grant r"},
		"a denied path, case":      {[]Grant{write}, "GET", "https://api.example.com/Token/x", "never deny_path"},
	} {
		target, err := egress.Parse(test.url, egress.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		verbs, err := methods(egress.Request{Method: test.method, Target: target})
		if err != nil {
			t.Fatal(err)
		}
		v := judge(p, c, test.grants, verbs, target)
		got := "never " + v.Rule
		if v.Ask {
			got = "ask " + v.Rule
		}
		if v.Allow {
			got = "allow " + v.Rule + " " + v.Grant.ID
		}
		if got != test.want || v.Never() == (v.Allow || v.Ask) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	if v := judge(p, &Connection{Hosts: []string{"old.example.com"}}, []Grant{write}, []string{"GET"}, egress.Target{Scheme: "https", Host: "api.example.com", Port: 443, Path: "/"}); v.Rule != RuleHost {
		t.Errorf("a host that the definition added after the connection was made: %+v", v)
	}
}

// A star in a path that the owner approves does not become a wildcard.
func TestApprovedStar(t *testing.T) {
	for path, want := range map[string]bool{"/repos/a": true, "/repos/**": false, "/repos/*": false, "/repos/*/x": false, "/repos/a*b": true, "/%2A": false} {
		target, err := egress.Parse("https://api.example.com"+path, egress.ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a := &Approval{Kind: Use, Method: "POST", URL: target.String(), Why: RuleReadOnly}
		g, err := grantOf(a, Decision{Allow: true, Always: true}, a.CreatedAt)
		if (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil && (!g.covers([]string{"POST"}, target) || g.covers([]string{"PUT"}, target) || g.covers([]string{"POST"}, egress.Target{Scheme: "https", Host: "api.example.com", Port: 443, Path: "/repos/b"})) {
			t.Errorf("%s: the grant is %+v", path, g)
		}
	}
}

// BF-023: however a URL is written, what a grant for one folder allows stays in that folder, and is spelt the
// same when it is sent.
func FuzzGrantedPath(f *testing.F) {
	for _, seed := range []string{"/repos/a", "/repos/../user", "/repos/%2e%2e/user", "//user", "/repos/a;b", "/repos/%252e", "/repos/*", "/repos/a%2fb", "/repos/ä", "/repos/a?x=/../", "/repos/a#b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		target, v, err := judgePath("https://api.example.com"+path, Grant{Paths: []string{"/repos/*"}, Access: Write})
		if err != nil || !v.Allow {
			return
		}
		segment, inside := strings.CutPrefix(target.Path, "/repos/")
		if !inside || segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "/\\;?#") || !canonical(target) || target.Host != "api.example.com" {
			t.Errorf("%q is allowed as %q", path, target)
		}
	})
}

// canonical reports whether a target reads back as itself.
func canonical(t egress.Target) bool {
	again, err := egress.Parse(t.String(), egress.ParseOptions{})
	return err == nil && again == t
}

// Whatever a body is, it is read or refused, and the call is never less than what it is sent as.
func FuzzMethods(f *testing.F) {
	for _, seed := range [][2]string{{"application/json", `{"_method":"DELETE"}`}, {"a/b", "_method=DELETE&x"}, {"multipart/form-data; boundary=x", "--x\r\nA: b\r\n\r\nPUT\r\n--x--"},
		{"", "{{"}, {"multipart/mixed; boundary=\"x y\"", "--x y--"}, {"application/json; charset=x", "1"}} {
		f.Add(seed[0], []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		verbs, err := methods(egress.Request{Method: "POST", Header: http.Header{"Content-Type": {contentType}}, Body: body})
		if (err == nil) != (len(verbs) > 0 && verbs[0] == "POST") || err != nil && !errors.Is(err, ErrInvalid) || slices.Contains(verbs, "") {
			t.Errorf("%q, %v", verbs, err)
		}
	})
}
