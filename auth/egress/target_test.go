package egress

import (
	"net/url"
	"strings"
	"testing"
)

func mustParse(t testing.TB, raw string) Target {
	t.Helper()
	target, err := Parse(raw, ParseOptions{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestParseCanonical(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.github.com":                      "https://api.github.com/",
		"https://api.github.com/":                     "https://api.github.com/",
		"https://api.github.com?q=1":                  "https://api.github.com/?q=1",
		"HTTPS://API.GITHUB.COM./x":                   "https://api.github.com/x", // BF-004
		"https://api.github.com:443/x":                "https://api.github.com/x",
		"https://api.github.com:8443/x":               "https://api.github.com:8443/x",
		"https://a.test/%72epos/%7euser/a%20b/":       "https://a.test/repos/~user/a%20b/",
		"https://a.test/a+b/%2b/x:y/%3A":              "https://a.test/a%2Bb/%2B/x:y/:",
		"https://a.test/caf%c3%a9":                    "https://a.test/caf%C3%A9",
		"https://a.test/100%25":                       "https://a.test/100%25",
		"https://a.test/...":                          "https://a.test/...",
		"https://a.test/x?a=%2F..%2f&b=c+d&e=%zz?//":  "https://a.test/x?a=%2F..%2f&b=c+d&e=%zz?//",
		"https://xn--80ak6aa92e.com/":                 "https://xn--80ak6aa92e.com/",
		"https://bucket_name.s3.example.com/":         "https://bucket_name.s3.example.com/",
		"https://a.test/{{token}}/${TOKEN}/%25(t)s":   "https://a.test/%7B%7Btoken%7D%7D/$%7BTOKEN%7D/%25(t)s", // BF-025
		"http://127.0.0.1:8080/":                      "http://127.0.0.1:8080/",
		"http://[::1]:8080/":                          "http://[::1]:8080/",
		"http://LOCALHOST:80/":                        "http://localhost/",
		"https://1.example.com/":                      "https://1.example.com/",
		"https://123.45.example/" + "a":               "https://123.45.example/a",
		"https://" + strings.Repeat("a.", 60) + "com": "https://" + strings.Repeat("a.", 60) + "com/",
	} {
		got, err := Parse(raw, ParseOptions{Loopback: true})
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if got.String() != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	attacks := map[string][]string{
		"BF-001 user info": {"https://api.github.com@evil.test/", "https://api.github.com:443@evil.test", "https://@evil.test/",
			"https://a:b@evil.test/"},
		"BF-002 backslash, tab, encoded host": {`https://api.github.com\@evil`, `https://a.test\.evil/`, `https:\\a.test/`,
			"https://api.github.com%2eevil/", "https://a%00.test/", "https://a\t.test/", "https://a.test/\tx", "https://a.test/\x00",
			" https://a.test/", "https://a.test/ ", "https://a.test\n/"},
		"BF-003 homographs": {"https://аpi.github.com/", "https://api。github。com/", "https://ⓖithub.com/", "https://faß.de/",
			"https://api.github.com/ｘ"},
		"BF-008 IP literals": {"https://127.0.0.1/", "https://8.8.8.8/", "https://0x7f.1/", "https://2130706433/", "https://017700000001/",
			"https://127.1/", "https://[::]/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/",
			"https://[2002:7f00:1::]/", "https://[fe80::1%25eth0]/", "https://0.0.0.1/", "https://192.0.0.192/", "https://198.18.0.1/",
			"https://[fec0::1]/", "https://0x7f000001/", "https://1.2.3.0x4/", "https://a.0/", "https://0x/", "https://127.0.0.1./",
			"https://[2606:4700::1111]/", "https://::1/", "https://[v1.x]/"},
		"BF-017 control characters": {"https://a.test/a\r\nHost:evil", "https://a.test/x?a\nb", "https://a.test/%0d%0aX", "https://a.test/%00",
			"https://a.test/%7f", "https://a.test/%c2%85"},
		"BF-023 paths": {"https://a.test/../user", "https://a.test/repos/%2e%2e/user", "https://a.test/repos/.%2E/user", "https://a.test//user",
			"https://a.test/a//b", "https://a.test/.", "https://a.test/a/./b", "https://a.test/a;b=1/c", "https://a.test/a%3bb",
			"https://a.test/%252e%252e/user", "https://a.test/%25%32%65", "https://a.test/a%2fb", "https://a.test/a%2Fb", "https://a.test/a%5cb",
			"https://a.test/a%255cb", "https://a.test/%c0%ae%c0%ae/", "https://a.test/%", "https://a.test/%zz", "https://a.test/a//"},
		"PD-002 schemes": {"http://a.test/", "file:///etc/passwd", "gopher://a.test/", "javascript:alert(1)", "//a.test/", "a.test", "",
			"https:a.test", "https:/a.test", "https:///x", "https://", "https://:443/", "http://169.254.169.254/", "ws://a.test/",
			"http://localhost.evil.test/", "http://127.0.0.1.evil.test/"},
		"other": {"https://a.test/#x", "https://a.test:/", "https://a.test:0/", "https://a.test:65536/", "https://a.test:0443/",
			"https://a.test:+443/", "https://a..test/", "https://.test/", "https://-a.test/", "https://a.test../", "https://a!b.test/",
			"https://" + strings.Repeat("a", 64) + ".test/", "https://" + strings.Repeat("a.", 125) + "test/", "https://a.test/" + strings.Repeat("a", 8<<10), "https://a.test/" + strings.Repeat(`"`, 4<<10), "https://localhost/"},
	}
	for name, raws := range attacks {
		t.Run(name, func(t *testing.T) {
			for _, raw := range raws {
				got, err := Parse(raw, ParseOptions{})
				if KindOf(err) != KindURL {
					t.Errorf("%q: got %v, %v", raw, got, err)
				}
			}
		})
	}
}

// BF-008: the loopback switch opens the canonical spellings and no others.
func TestParseLoopback(t *testing.T) {
	for _, raw := range []string{"http://0x7f.1/", "http://127.1/", "http://2130706433/", "http://0177.0.0.1/", "http://[::]/", "http://0.0.0.0/",
		"http://[0:0:0:0:0:0:0:1]/", "http://[::ffff:127.0.0.1]/", "http://127.0.0.01/", "http://128.0.0.1/", "http://[::1%25lo]/"} {
		if got, err := Parse(raw, ParseOptions{Loopback: true}); KindOf(err) != KindURL {
			t.Errorf("%q: got %v, %v", raw, got, err)
		}
	}
}

// BF-014: whatever the agent brings is matched afresh, and look-alikes of a listed host are other hosts.
func TestMatchHost(t *testing.T) {
	patterns := []string{"api.github.com", "*.Example.com", "files.test:8443", "*.corp.test:9000", "127.0.0.1:8080", "[::1]:8080", "*.com", "*", "xn--80ak6aa92e.com"}
	for raw, want := range map[string]bool{
		"https://api.github.com/":           true,
		"https://API.GITHUB.COM./":          true,
		"https://api.github.com:443/":       true,
		"https://api.github.com:8443/":      false,
		"https://api.github.com.evil.test/": false,
		"https://evil.test/api.github.com":  false,
		"https://x.api.github.com/":         false,
		"https://apixgithub.com/":           false,
		"https://a.example.com/":            true,
		"https://a.b.example.com/":          false,
		"https://example.com/":              false,
		"https://aexample.com/":             false,
		"https://xn--pple-43d.example.com/": false, // BF-003
		"https://xn--80ak6aa92e.com/":       true,  // BF-003: listed literally
		"https://a.example.com:8443/":       false,
		"https://files.test:8443/":          true,
		"https://files.test/":               false,
		"https://a.corp.test:9000/":         true,
		"https://a.corp.test/":              false,
		"https://other.com/":                false,
		"http://127.0.0.1:8080/":            true,
		"http://127.0.0.1/":                 false,
		"http://127.0.0.2:8080/":            false,
		"http://[::1]:8080/":                true,
		"http://[::1]:8081/":                false,
	} {
		if got := mustParse(t, raw).MatchHost(patterns); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
	if (Target{}).MatchHost([]string{"", ":0", ":443"}) {
		t.Error("the zero target matches")
	}
}

func TestJoinPath(t *testing.T) {
	base := mustParse(t, "https://a.test/v3/?x=1")
	for relative, want := range map[string]string{
		"":              "https://a.test/v3",
		"user":          "https://a.test/v3/user",
		"/user":         "https://a.test/v3/user",
		"/user/?q=a/..": "https://a.test/v3/user/?q=a/..",
		"?q=1":          "https://a.test/v3?q=1",
		"evil.test":     "https://a.test/v3/evil.test",
		"@evil.test":    "https://a.test/v3/@evil.test",
	} {
		if got, err := base.JoinPath(relative); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v", relative, got, err)
		}
	}
	for _, relative := range []string{"..", "/../user", "//evil.test/", "https://evil.test/", `\evil`, "a#b", "%2e%2e/x", "a\nb", strings.Repeat("a", 9<<10), strings.Repeat(`"`, 4<<10)} {
		if got, err := base.JoinPath(relative); KindOf(err) != KindURL {
			t.Errorf("BF-023 %q: %v, %v", relative, got, err)
		}
	}
}

func TestTargetParts(t *testing.T) {
	got := mustParse(t, "http://[::1]:8080/x")
	if got.Host != "::1" || got.Port != 8080 || got.Authority() != "[::1]:8080" || got.Origin() != "http://[::1]:8080" {
		t.Errorf("%+v", got)
	}
}

// FuzzParse holds Parse to its promise: what it admits is a fixed point, and net/url reads it the same way.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://a.test/%72x/?q", "http://127.0.0.1:1/", "https://a.test:8443//", "https://[::1]/%25", "https://a@b/", "https://a.test/%252f", "https://a.test/" + strings.Repeat(`"`, 4<<10)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := Parse(raw, ParseOptions{Loopback: true})
		if err != nil {
			if KindOf(err) != KindURL {
				t.Fatalf("%q: %v", raw, err)
			}
			return
		}
		again, err := Parse(got.String(), ParseOptions{Loopback: true})
		if err != nil || again != got {
			t.Fatalf("%q: %+v, then %+v, %v", raw, got, again, err)
		}
		u, err := url.Parse(got.String())
		if err != nil || u.Host != got.Authority() || u.Hostname() != got.Host || u.EscapedPath() != got.Path || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q: net/url reads %+v, %v", got, u, err)
		}
		for segment := range strings.SplitSeq(u.Path[1:], "/") {
			if segment == ".." || segment == "." || strings.Contains(segment, `\`) {
				t.Fatalf("%q: segment %q", got, segment)
			}
		}
	})
}
