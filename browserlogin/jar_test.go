package browserlogin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func jarred(cookies ...Cookie) Bundle {
	return hide(&contents{Version: 1, ID: "x", At: noon, Domains: []string{"app.example.com", "*.shop.example.org"}, Watched: []string{"sid"}, State: storageState{Cookies: cookies}})
}

func values(b Bundle) string {
	var out []string
	for _, k := range b.in().State.Cookies {
		out = append(out, k.Name+"="+k.Value)
	}
	return strings.Join(out, " ")
}

func setCookies(lines ...string) http.Header { return http.Header{"Set-Cookie": lines} }

// RF-016: an answer renews, adds and deletes, within the definition's domains only.
func TestUpdate(t *testing.T) {
	here, _ := url.Parse("https://app.example.com/a/b?x=1")
	old := jarred(Cookie{Name: "sid", Value: "1", Domain: "app.example.com", Path: "/", Expires: -1, Secure: true})
	for line, want := range map[string]string{
		"sid=2; Path=/; Secure":                                "sid=2",
		"sid=; Path=/; Max-Age=0":                              "",
		"sid=2; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT": "",
		"other=1":                    "sid=1 other=1",
		"ad=1; Domain=example.net":   "sid=1",
		"wide=1; Domain=example.com": "sid=1 wide=1",
		"super=1; Domain=com":        "sid=1",
		"__Host-a=1; Path=/; Secure; Domain=app.example.com":     "sid=1",
		"__Host-a=1; Path=/; Secure":                             "sid=1 __Host-a=1",
		"__Secure-a=1":                                           "sid=1",
		`sid="2"; Path=/; Secure`:                                `sid="2"`,
		`sid={"a":"b,c"}; Path=/; Secure`:                        `sid={"a":"b,c"}`,
		"sid=zwei\u00e4; Path=/; Secure":                         "sid=zwei\u00e4",
		" sid = a=b==\t; Path=/; Secure":                         "sid=a=b==",
		"sid=\x01; Path=/; Secure":                               "sid=1",
		"long=" + strings.Repeat("x", 4096):                      "sid=1",
		"sid=; Path=/; Expires=Thursday, 01-Jan-70 00:00:01 GMT": "",
		"sid=; Path=/; Expires=Thu, 01-Jan-70 00:00:01 GMT":      "",
		"chip=1; Secure; SameSite=None; Partitioned; Path=/":     "sid=1",
	} {
		next, _ := old.update(old, here, setCookies(line), noon)
		if got := values(next); got != want {
			t.Errorf("%s gives %q, not %q", line, got, want)
		}
		if values(old) != "sid=1" {
			t.Fatal("the old bundle changed")
		}
	}
	for want, lines := range map[string][]string{ // the last word of one answer counts (RFC 6265 section 5.3)
		"sid=3":       {"sid=2; Path=/; Secure", "sid=3; Path=/; Secure"},
		"sid=4":       {"sid=; Path=/; Max-Age=0", "sid=4; Path=/; Secure"},
		"":            {"sid=5; Path=/; Secure", "sid=; Path=/; Max-Age=0"},
		"sid=1 new=2": {"new=1", "new=2"},
	} {
		next, _ := old.update(old, here, setCookies(lines...), noon)
		if got := values(next); got != want {
			t.Errorf("%v give %q, not %q", lines, got, want)
		}
	}
	for _, ends := range []string{"Max-Age=9223372036854775807", "Expires=Fri, 31 Dec 9999 23:59:59 GMT"} {
		next, _ := old.update(old, here, setCookies("sid=2; Path=/; Secure; "+ends), noon)
		if k := next.in().State.Cookies[0]; int64(k.Expires) != noon.Add(400*24*time.Hour).Unix() {
			t.Errorf("%s is kept until %.0f", ends, k.Expires)
		}
	}
	next, _ := old.update(old, here, setCookies("p=1"), noon)
	if k := next.in().State.Cookies[1]; k.Path != "/a" || k.Domain != "app.example.com" {
		t.Errorf("a cookie without attributes has path %s and domain %s", k.Path, k.Domain)
	}
}

// RF-016: two calls leave with the same cookie. Whatever order their answers come
// in, the first renewal stays: no late answer brings an old value back or deletes the new one.
func TestLateAnswer(t *testing.T) {
	here, _ := url.Parse("https://app.example.com/")
	sent := jarred(Cookie{Name: "sid", Value: "1", Domain: "app.example.com", Path: "/", Expires: -1})
	for _, late := range []string{"sid=1; Path=/", "sid=; Path=/; Max-Age=0", "sid=3; Path=/"} {
		j := &jar{now: sent}
		if j.store(sent, here, setCookies("sid=2; Path=/"), noon) == nil {
			t.Fatal("the renewal was not taken")
		}
		if j.store(sent, here, setCookies(late), noon) != nil || values(j.newest()) != "sid=2" {
			t.Errorf("after the late answer %s the session is %s", late, values(j.newest()))
		}
		if !j.newest().in().Rolls {
			t.Error("nobody noticed that the site rolls")
		}
	}
}

// RF-016: a call that was sent with a cookie that another answer then deleted does not bring it back.
func TestLateAnswerAfterTheEnd(t *testing.T) {
	here, _ := url.Parse("https://app.example.com/")
	sent := jarred(Cookie{Name: "sid", Value: "1", Domain: "app.example.com", Path: "/", Expires: -1})
	j := &jar{now: sent}
	j.store(sent, here, setCookies("sid=; Path=/; Max-Age=0"), noon)
	if j.store(sent, here, setCookies("sid=2; Path=/"), noon) != nil || values(j.newest()) != "" {
		t.Errorf("after the late answer the session is %q", values(j.newest()))
	}
}

// RF-016: two processes renew the same state at once. The one that is too late to store its own goes on with what was stored.
func TestLateProcess(t *testing.T) {
	here, _ := url.Parse("https://app.example.com/")
	both := jarred(Cookie{Name: "sid", Value: "1", Domain: "app.example.com", Path: "/", Expires: -1})
	var quick, late jars
	first, leave := quick.enter(both)
	defer leave()
	second, leave := late.enter(both)
	defer leave()
	stored := first.store(both, here, setCookies("sid=quick; Path=/"), noon)
	if second.store(both, here, setCookies("sid=late; Path=/"), noon) == nil || stored == nil {
		t.Fatal("an answer was not taken")
	}
	again, leave := late.enter(*stored)
	defer leave()
	if got := values(again.newest()); got != "sid=quick" {
		t.Errorf("it goes on with %q", got)
	}
}

// Calls come into a session while the answers of others renew it: what comes in never
// replaces a later state. The race detector watches the rest.
func TestOverlappingCalls(t *testing.T) {
	here, _ := url.Parse("https://app.example.com/")
	first := jarred(Cookie{Name: "sid", Value: "0", Domain: "app.example.com", Path: "/", Expires: -1, Secure: true})
	var all jars
	jar, leave := all.enter(first)
	defer leave()
	var calls sync.WaitGroup
	calls.Go(func() {
		for i := range 100 {
			jar.store(jar.newest(), here, setCookies(fmt.Sprintf("sid=%d; Path=/; Secure", i+1)), noon)
		}
	})
	calls.Go(func() {
		for range 100 {
			_, leave := all.enter(first)
			leave()
		}
	})
	calls.Wait()
	if got := values(jar.newest()); got != "sid=100" {
		t.Errorf("the newest state is %q", got)
	}
}

func TestCookieHeader(t *testing.T) {
	b := jarred(
		Cookie{Name: "root", Value: "1", Domain: "app.example.com", Path: "/", Expires: -1},
		Cookie{Name: "deep", Value: "2", Domain: "app.example.com", Path: "/api", Expires: -1},
		Cookie{Name: "wide", Value: "3", Domain: ".example.com", Path: "/", Expires: -1, Secure: true},
		Cookie{Name: "old", Value: "4", Domain: "app.example.com", Path: "/", Expires: float64(noon.Unix() - 1)},
		Cookie{Name: "chip", Value: "5", Domain: "app.example.com", Path: "/", Expires: -1, PartitionKey: "https://elsewhere.net"},
		Cookie{Name: "own", Value: "6", Domain: "app.example.com", Path: "/", Expires: -1, PartitionKey: "https://example.com"},
	)
	for address, want := range map[string]string{
		"https://app.example.com/api/x":   "deep=2; root=1; wide=3; own=6",
		"https://app.example.com/apiary":  "root=1; wide=3; own=6",
		"http://app.example.com/":         "root=1; own=6",
		"https://other.example.com/":      "wide=3",
		"https://app.example.com.evil.io": "",
		"https://evilexample.com/":        "",
	} {
		u, _ := url.Parse(address)
		if got := b.CookieHeader(u, noon).Reveal(); got != want {
			t.Errorf("%s gets %q, not %q", address, got, want)
		}
	}
}

// The expiry is that of the cookies that make the session: not of the first tracker, and unknown when one ends with the browser.
func TestExpiresAt(t *testing.T) {
	day := float64(noon.Add(24 * time.Hour).Unix())
	tracker := Cookie{Name: "ad", Domain: "app.example.com", Expires: float64(noon.Add(time.Minute).Unix())}
	sid := Cookie{Name: "sid", Domain: "app.example.com", Expires: day}
	if got := jarred(tracker, sid).ExpiresAt(0); !got.Equal(noon.Add(24 * time.Hour)) {
		t.Errorf("%v", got)
	}
	sid.Expires = -1
	if got := jarred(tracker, sid).ExpiresAt(0); !got.IsZero() {
		t.Errorf("%v", got)
	}
	if got := jarred(tracker, sid).ExpiresAt(time.Hour); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("%v", got)
	}
}

// LV-020: whose cookies are kept.
func TestReaches(t *testing.T) {
	hosts := []string{"login.example.com", "*.shop.example.org", "127.0.0.1:8080"}
	for domain, want := range map[string]bool{
		"login.example.com": true, ".example.com": true, "example.com": false, "other.example.com": false, ".other.example.com": false, "ads.example": false,
		"a.shop.example.org": true, ".shop.example.org": true, "shop.example.org": false, "a.b.shop.example.org": false, ".org": true, "127.0.0.1": true, "evil127.0.0.1": false,
	} {
		if got := reaches(hosts, domain); got != want {
			t.Errorf("%s: %v", domain, got)
		}
	}
}

// SH-002: no verb prints what a bundle holds.
func TestBundlePrintsNothing(t *testing.T) {
	b := jarred(Cookie{Name: "sid", Value: "CANARY-value", Domain: "app.example.com"})
	c := Captured{Bundle: b, Account: "alice"}
	for _, v := range []any{b, &b, c, &c, b.in().State.Cookies, b.in().State.Cookies[0], result{got: &c}, b.Seal(), b.StorageState(), b.CookiesTXT()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if out := fmt.Sprintf(verb, v); strings.Contains(out, "CANARY") || strings.Contains(out, fmt.Sprintf("%x", "CANARY")) {
				t.Errorf("%s of %T: %s", verb, v, out)
			}
		}
	}
	again, err := OpenBundle(b.Seal())
	if err != nil || values(again) != "sid=CANARY-value" {
		t.Errorf("%v", err)
	}
}
