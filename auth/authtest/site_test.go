package authtest_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

func startSite(t *testing.T, options authtest.SiteOptions) *authtest.Site {
	t.Helper()
	site := authtest.NewSite(options)
	t.Cleanup(site.Close)
	return site
}

// enter signs in to the site and gives the session cookie.
func enter(t *testing.T, site *authtest.Site, user string) string {
	t.Helper()
	browser := site.Browser(user)
	visit, err := browser.Walk(t.Context(), site.URL+"/login")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(visit.Page, "Welcome") {
		t.Fatalf("the sign-in ended on %q", visit.Page)
	}
	return cookie(t, browser.Cookies(site.URL), "session")
}

func cookie(t *testing.T, cookies []*http.Cookie, name string) string {
	t.Helper()
	for _, c := range cookies {
		if c.Name == name {
			return c.Value
		}
	}
	t.Fatalf("no cookie %s among %v", name, cookies)
	return ""
}

// session asks who a session cookie belongs to, and gives the cookie it gets.
func session(t *testing.T, site *authtest.Site, value string) (answer, *http.Cookie) {
	t.Helper()
	got := call(t, site.URL+"/api/session", http.Header{"Cookie": {"session=" + value}})
	for _, line := range got.header.Values("Set-Cookie") {
		if c, err := http.ParseSetCookie(line); err == nil && c.Name == "session" {
			return got, c
		}
	}
	return got, nil
}

func TestSiteSession(t *testing.T) {
	clock := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	site := startSite(t, authtest.SiteOptions{Lifetime: time.Minute, Now: clock.now})
	value := enter(t, site, "alice")
	if !slices.Contains(site.Secrets(), value) {
		t.Error("the session is not among the secrets")
	}
	if got, renewed := session(t, site, value); got.status != 200 || !strings.Contains(got.body, "alice") || renewed != nil {
		t.Errorf("got %d %s %v", got.status, got.body, renewed)
	}
	if got := call(t, site.URL+"/account", nil); got.status != 302 || got.header.Get("Location") != "/login" {
		t.Errorf("a stranger got %d %v", got.status, got.header)
	}
	clock.at = clock.at.Add(time.Minute)
	if got, _ := session(t, site, value); got.status != 401 {
		t.Errorf("an expired session got %d", got.status)
	}
	value = enter(t, site, "alice")
	site.SignOut("alice")
	if got, _ := session(t, site, value); got.status != 401 {
		t.Errorf("an ended session got %d", got.status)
	}
}

func TestSiteRollsItsCookie(t *testing.T) {
	site := startSite(t, authtest.SiteOptions{Rolling: true})
	first := enter(t, site, "alice")
	got, second := session(t, site, first)
	if got.status != 200 || second == nil || second.Value == first {
		t.Fatalf("got %d and %v", got.status, second)
	}
	if got, _ := session(t, site, first); got.status != 401 {
		t.Errorf("the old cookie got %d", got.status)
	}
	if got, _ := session(t, site, second.Value); got.status != 200 {
		t.Errorf("the new cookie got %d", got.status)
	}
}

func TestSiteGivesStrangersACookieThatProvesNothing(t *testing.T) {
	site := startSite(t, authtest.SiteOptions{Anonymous: true})
	if got := call(t, site.URL+"/login", nil); !strings.Contains(got.header.Get("Set-Cookie"), "session=nobody") {
		t.Errorf("cookies: %v", got.header.Values("Set-Cookie"))
	}
	if got, _ := session(t, site, "nobody"); got.status != 401 {
		t.Errorf("it got %d", got.status)
	}
	if got, _ := session(t, site, enter(t, site, "alice")); got.status != 200 {
		t.Errorf("alice got %d", got.status)
	}
}

func TestSiteWantsTheSecondFactor(t *testing.T) {
	site := startSite(t, authtest.SiteOptions{})
	browser := site.Browser("alice")
	browser.Fill["d6"] = "9"
	if visit, err := browser.Walk(t.Context(), site.URL+"/login"); err == nil {
		t.Errorf("a wrong code led to %q", visit.Page)
	}
}

func TestSitePopup(t *testing.T) {
	site := startSite(t, authtest.SiteOptions{Partitioned: true})
	elsewhere := site.Elsewhere.URL
	if !strings.HasPrefix(elsewhere, "http://localhost:") {
		t.Errorf("the provider is %s", elsewhere)
	}
	visit, err := site.Browser("bob").Walk(t.Context(), elsewhere+"/sso")
	if err != nil || !strings.Contains(visit.Page, "ticket_") {
		t.Fatalf("got %q, %v", visit.Page, err)
	}
	secrets := site.Secrets()
	ticket := secrets[slices.IndexFunc(secrets, func(s string) bool { return strings.HasPrefix(s, "ticket_") })]
	for _, want := range []string{"/welcome", "/login"} {
		got, err := ask(t.Context(), site.URL+"/login/ticket", map[string][]string{"ticket": {ticket}})
		if err != nil || got.header.Get("Location") != want {
			t.Errorf("got %v, %v, want %s", got.header, err, want)
		}
	}
	if got := call(t, site.URL+"/welcome", nil); !strings.Contains(got.header.Get("Set-Cookie"), "Partitioned") {
		t.Errorf("cookies: %v", got.header.Values("Set-Cookie"))
	}
}

func TestSitePages(t *testing.T) {
	site := startSite(t, authtest.SiteOptions{})
	index := call(t, site.URL+"/attacks", nil)
	if strings.Count(index.body, `href="/attack/`) != 13 {
		t.Errorf("the list of attacks is %s", index.body)
	}
	for _, path := range []string{"/motion", "/attack/passkey", "/attack/fetch?target=http://127.0.0.1:1/&now"} {
		if got := call(t, site.URL+path, nil); got.status != 200 || !strings.Contains(got.body, "<script>") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := call(t, site.URL+"/attack/unknown", nil); got.status != 404 {
		t.Errorf("an unknown attack got %d", got.status)
	}
}
