package identity_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// code makes a one-time link and gives its last part.
func (h *house) code(t *testing.T, o auth.Owner) string {
	t.Helper()
	link, err := h.Link(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return link.Reveal()[strings.LastIndex(link.Reveal(), "/")+1:]
}

func form(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values
}

// answer is what Handler says to a post without cookies.
func (h *house) post(path string, values url.Values, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, r)
	return w.Result()
}

// signedIn gives the session cookie of a browser that used a link.
func signedIn(t *testing.T, h *house, o auth.Owner) *http.Cookie {
	t.Helper()
	for _, c := range h.post("/login", form("code", h.code(t, o))).Cookies() {
		if strings.HasSuffix(c.Name, "lp_owner") || strings.HasPrefix(c.Name, "lp_owner_") {
			return c
		}
	}
	t.Fatal("no session cookie")
	return nil
}

func (h *house) ownerOf(cookies ...*http.Cookie) *auth.Owner {
	r := httptest.NewRequest("GET", "/connections", nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	owner, _ := h.Owner(r)
	return owner
}

func TestLink(t *testing.T) {
	h := open(t)
	base := h.serve(t)
	link, err := h.Link(t.Context(), alice)
	if err != nil || !strings.HasPrefix(link.Reveal(), base+"/login/") {
		t.Fatalf("got a link of %d bytes, %v", len(link.Reveal()), err)
	}
	b := newBrowser(t, base)
	code := strings.TrimPrefix(link.Reveal(), base+"/login/")
	for range 3 { // a scanner looks at it
		if res := b.get("/login/" + code); res.StatusCode != http.StatusOK || len(res.Cookies()) > 0 {
			t.Errorf("opening: %s with %v", res.Status, res.Cookies())
		}
	}
	if owner := b.owner(h); owner != nil {
		t.Errorf("opened only, and signed in as %v", owner)
	}
	res := b.post("/login", form("code", " "+strings.ToLower(code), "next", "/c/ABC"))
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/c/ABC" {
		t.Errorf("the button: %s to %q", res.Status, res.Header.Get("Location"))
	}
	if owner := b.owner(h); owner == nil || *owner != alice {
		t.Errorf("signed in as %v", owner)
	}
	second := newBrowser(t, base)
	if res := second.post("/login", form("code", code)); res.StatusCode != http.StatusGone || second.owner(h) != nil {
		t.Errorf("the second time: %s", res.Status)
	}
	for _, kind := range []string{"session.link", "session.begin"} {
		if events, err := h.Audit.Events(t.Context(), alice, auth.EventFilter{Kind: kind}); err != nil || len(events) != 1 {
			t.Errorf("%s on record: %+v, %v", kind, events, err)
		}
	}
}

func TestLinkExpires(t *testing.T) {
	h := open(t)
	code := h.code(t, alice)
	h.clock.pass(10 * time.Minute)
	if res := h.post("/login", form("code", code)); res.StatusCode != http.StatusGone || len(res.Cookies()) > 0 {
		t.Errorf("got %s", res.Status)
	}
}

func TestFiftyBrowsersWithOneLink(t *testing.T) {
	h := open(t)
	code := h.code(t, alice)
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if res := h.post("/login", form("code", code)); len(res.Cookies()) > 0 {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d browsers are in", in.Load())
	}
}

func TestSessionEnds(t *testing.T) {
	h := open(t)
	cookie := signedIn(t, h, alice)
	if owner := h.ownerOf(cookie); owner == nil || *owner != alice {
		t.Fatalf("signed in as %v", owner)
	}
	h.clock.pass(11 * time.Hour)
	if h.ownerOf(cookie) == nil {
		t.Error("after 11 hours nobody is signed in")
	}
	h.clock.pass(time.Hour) // its use an hour ago does not count
	if owner := h.ownerOf(cookie); owner != nil {
		t.Errorf("after 12 hours %v is signed in", owner)
	}

	cookie = signedIn(t, h, alice)
	res := h.post("/logout", nil, cookie)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/login" || res.Cookies()[0].MaxAge != -1 {
		t.Errorf("signing out: %s, %v", res.Status, res.Cookies())
	}
	if owner := h.ownerOf(cookie); owner != nil {
		t.Errorf("signed out, and still %v", owner)
	}
	if res := h.post("/logout", nil); res.StatusCode != http.StatusSeeOther {
		t.Errorf("signing out twice: %s", res.Status)
	}
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/logout", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("signing out by a link: %d", w.Code)
	}
}

// A session that an attacker knows does not become the victim's by signing in.
func TestSessionFixation(t *testing.T) {
	h := open(t)
	mallory := auth.Owner{User: "mallory"}
	planted := signedIn(t, h, mallory)
	res := h.post("/login", form("code", h.code(t, alice)), planted)
	fresh := res.Cookies()[0]
	if fresh.Value == planted.Value {
		t.Error("the planted session was kept")
	}
	if owner := h.ownerOf(fresh); owner == nil || *owner != alice {
		t.Errorf("signed in as %v", owner)
	}
	if owner := h.ownerOf(planted); owner != nil {
		t.Errorf("the planted session is %v's", owner)
	}
	other := signedIn(t, h, mallory)
	if owner := h.ownerOf(other, fresh); owner != nil {
		t.Errorf("with two session cookies: %v", owner)
	}
	for _, value := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 5000)} {
		if owner := h.ownerOf(&http.Cookie{Name: fresh.Name, Value: value}); owner != nil {
			t.Errorf("a made-up session is %v's", owner)
		}
	}
}

// HL-011
func TestCookieFlags(t *testing.T) {
	h := open(t)
	check := func(c *http.Cookie, prefix string, secure bool, age time.Duration) {
		t.Helper()
		if !strings.HasPrefix(c.Name, prefix) || c.Secure != secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode ||
			c.Path != "/" || c.Domain != "" || c.MaxAge != int(age/time.Second) {
			t.Errorf("got %s", c)
		}
	}
	leave := func() *http.Cookie {
		t.Helper()
		res := h.post("/login", nil)
		if len(res.Cookies()) != 1 {
			t.Fatalf("%s with %v", res.Status, res.Cookies())
		}
		return res.Cookies()[0]
	}
	check(signedIn(t, h, alice), "__Host-lp_owner", true, 12*time.Hour)
	check(leave(), "__Host-lp_login_", true, 10*time.Minute)
	h.BaseURL = func() string { return "http://127.0.0.1:7823" }
	check(signedIn(t, h, alice), "lp_owner_7823", false, 12*time.Hour)
	first, second := leave(), leave()
	check(first, "lp_login_", false, 10*time.Minute)
	if first.Name == second.Name {
		t.Error("two sign-ins share a cookie")
	}
}

// DS-004: knocking costs the store nothing.
func TestKnockingDoesNotTouchTheStore(t *testing.T) {
	h := open(t)
	h.Sessions = nil // any use of it would panic
	get := func(target string, cookies ...*http.Cookie) int {
		r := httptest.NewRequest("GET", target, nil)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.Handler().ServeHTTP(w, r)
		return w.Code
	}
	state := "ABCDEFGH.x"
	for target, want := range map[string]int{
		"/login": 200, "/login?next=/c/x": 200, "/login/ABC": 200, "/login/callback": 400, "/login/callback?state=" + state + "&code=x": 400,
	} {
		if got := get(target); got != want {
			t.Errorf("%s: %d", target, got)
		}
	}
	if got := get("/login/callback?state="+state+"&code=x", &http.Cookie{Name: "__Host-lp_login_ABCDEFGH", Value: "ABCDEFGHIJ.9999999999."}); got != 400 {
		t.Errorf("forged attempt: %d", got)
	}
	if got := get("/login", &http.Cookie{Name: "__Host-lp_owner", Value: "x"}); got != 200 {
		t.Errorf("made-up cookie: %d", got)
	}
	if res := h.post("/login", nil); res.StatusCode != 200 {
		t.Errorf("leaving: %s", res.Status)
	}
	for _, code := range []string{"x", strings.Repeat("!", 26), strings.Repeat("A", 7000)} {
		if res := h.post("/login", form("code", code)); res.StatusCode != http.StatusGone {
			t.Errorf("made-up code: %s", res.Status)
		}
	}
	if res := h.post("/login", form("code", strings.Repeat("A", 9<<10))); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a large form: %s", res.Status)
	}
}

// Nobody gets in when it cannot be put on record.
func TestNoSessionWithoutRecord(t *testing.T) {
	h := open(t)
	code := h.code(t, alice)
	h.Audit = full{h.Audit}
	if res := h.post("/login", form("code", code)); res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) > 0 {
		t.Errorf("a session: %s", res.Status)
	}
	if _, err := h.Link(t.Context(), alice); !errors.Is(err, auth.ErrAudit) {
		t.Errorf("a link: %v", err)
	}
}
