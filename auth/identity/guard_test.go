package identity_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/guard"
)

// Everything that a browser sends on its way through a sign-in passes the layers in front.
func TestSignInBehindGuard(t *testing.T) {
	h := open(t)
	var base string
	h.BaseURL = func() string { return base }
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	base = server.URL
	u, _ := url.Parse(base)
	limited := guard.Options{
		Hosts: []string{u.Host}, Origins: []string{base}, Burst: 20, Rate: 1, Now: h.clock.now,
		Class: func(path string) guard.Class { return guard.Class{Limited: strings.HasPrefix(path, "/login")} },
	}
	handler = guard.New(limited)(h.Handler())

	b := newBrowser(t, base)
	send := func(method, target string, form url.Values, fetch ...string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if method == "POST" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for i := 0; i < len(fetch); i += 2 {
			r.Header.Set(fetch[i], fetch[i+1])
		}
		res, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	// A page under no-referrer posts with the origin null.
	res := send("POST", base+"/login", form("next", "/c/R1"), "Origin", "null", "Sec-Fetch-Site", "same-origin")
	_, target, _ := strings.Cut(res.Header.Get("Refresh"), "url=")
	if !strings.Contains(res.Header.Get("Content-Security-Policy"), "style-src 'self'") {
		t.Errorf("policy %q", res.Header.Get("Content-Security-Policy"))
	}
	res = send("GET", h.approve(t, target, "alice"), nil, "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/c/R1" {
		t.Fatalf("back: %s", res.Status)
	}

	// Another site must not sign the person in as somebody of its choice, nor out.
	for path, values := range map[string]url.Values{"/login": form("code", h.code(t, auth.Owner{User: "mallory"})), "/logout": nil} {
		for name, handle := range map[string]http.Handler{"with guard": handler, "without": h.Handler()} {
			r := httptest.NewRequest("POST", base+path, strings.NewReader(values.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			for _, c := range b.client.Jar.Cookies(u) {
				r.AddCookie(c)
			}
			w := httptest.NewRecorder()
			handle.ServeHTTP(w, r)
			if w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 {
				t.Errorf("%s %s from another site: %d", path, name, w.Code)
			}
		}
	}
	if owner := b.owner(h); owner == nil || *owner != (auth.Owner{User: "alice"}) {
		t.Errorf("signed in as %v", owner)
	}

	// DS-004: one address that hammers is slowed down before it reaches us.
	statuses := map[int]int{}
	for range 40 {
		statuses[send("GET", base+"/login", nil).StatusCode]++
	}
	if statuses[http.StatusTooManyRequests] < 20 {
		t.Errorf("40 requests at once: %v", statuses)
	}
}

// A request that was given up costs nothing more, and lets nobody in.
func TestRequestGivenUp(t *testing.T) {
	h := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if caller, err := h.Caller(bearer("garbage").WithContext(ctx)); err == nil {
		t.Errorf("got %+v", caller)
	}
}
