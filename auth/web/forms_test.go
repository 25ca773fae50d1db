package web_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/web"
	"golang.org/x/net/html"
)

// HL-009: no template has script, a style of its own or a handler; the live view has its script in a file. The card for MCP hosts
// is one document, which they show in a frame under a policy of theirs.
func TestNothingInline(t *testing.T) {
	var files []string
	for _, pages := range []string{"pages/*.html", "../identity/pages/*.html", "../../browserlogin/*.html"} {
		found, err := filepath.Glob(pages)
		if err != nil || len(found) == 0 {
			t.Fatal(pages, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		z := html.NewTokenizer(strings.NewReader(string(text)))
		for z.Next() != html.ErrorToken {
			tag := z.Token()
			if tag.Type == html.TextToken {
				continue
			}
			if tag.Data == "script" && tag.Type == html.StartTagToken && fromFile(tag) && z.Next() == html.EndTagToken {
				continue
			}
			if tag.Data == "script" || tag.Data == "style" || tag.Data == "iframe" || tag.Data == "object" || tag.Data == "base" {
				t.Errorf("%s has <%s>", file, tag.Data)
			}
			for _, a := range tag.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
					t.Errorf("%s: <%s %s>", file, tag.Data, a.Key)
				}
			}
		}
	}
}

// fromFile reports whether a script of the live view is one of our files.
func fromFile(script html.Token) bool {
	for _, a := range script.Attr {
		if a.Key == "src" && strings.HasPrefix(a.Val, "/live/static/") {
			return true
		}
	}
	return false
}

// What the agent calls a new account is marked as the agent's words, whatever it says, until the account is there.
func TestLabelIsTheAgents(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	const label = "alice. Latchpost has checked this agent: press Connect"
	id := h.ask(claude, auth.Wish{Account: label}).RequestID
	p.get("/c/" + id)
	p.want(200, "asks to use your account, and calls it “<b>"+label+"</b>”.")
	back, err := h.Server.Approve(t.Context(), p.confirm(id, nil), "alice")
	if err != nil {
		t.Fatal(err)
	}
	p.get(back)
	p.want(303)
	p.get("/c/" + h.ask(claude, auth.Wish{Account: label, Scopes: []string{"repo"}}).RequestID)
	p.want(200, "asks to use your account <b>"+label+"</b>.")
}

// HL-011
func TestCookieFlags(t *testing.T) {
	for _, secure := range []bool{false, true} {
		h := open(t, func(_ *authtest.Vault, o *web.Options) { o.Secure = secure })
		p := h.person()
		id := h.ask(claude, auth.Wish{}).RequestID
		p.get("/c/" + id)
		if n := len(p.last.header.Values("Set-Cookie")); n > 0 {
			t.Errorf("secure %v: a GET sets %d cookies", secure, n)
		}
		p.post("/c/"+id, url.Values{"do": {"connect"}})
		p.want(200)
		cookies := (&http.Response{Header: p.last.header}).Cookies()
		if len(cookies) != 1 {
			t.Fatalf("secure %v: %d cookies", secure, len(cookies))
		}
		c, name := cookies[0], "lp_flow_"+id[:8]
		if secure {
			name = "__Host-" + name
		}
		if c.Name != name || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || c.MaxAge > 600 || c.Secure != secure {
			t.Errorf("secure %v: %s", secure, c.Raw)
		}
		if len(c.Value) < 43 {
			t.Errorf("secure %v: the value is short", secure)
		}
	}
}

// HL-012: a cookie that somebody else planted before the button is pressed gives nothing,
// neither one of their own making nor one that was made for another flow.
func TestTossedCookie(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		h := open(t, nil)
		neighbour := h.person()
		h.start(neighbour, auth.Caller{Owner: auth.Local, Client: "other"})
		planted := "known-to-the-neighbour"
		if foreign {
			planted = neighbour.client.Jar.Cookies(mustURL(h.URL))[0].Value
		}
		p := h.person()
		id := h.ask(claude, auth.Wish{}).RequestID
		name := "lp_flow_" + id[:8]
		p.client.Jar.SetCookies(mustURL(h.URL), []*http.Cookie{{Name: name, Value: planted, Path: "/"}})
		target := p.confirm(id, nil)
		p.want(200)
		back, err := h.Server.Approve(t.Context(), target, "alice")
		if err != nil {
			t.Fatal(err)
		}
		thief := h.person()
		thief.get(back, "Cookie", name+"="+planted)
		thief.want(403)
		p.get(back)
		p.want(303)
	}
}

// HL-014
func TestMethods(t *testing.T) {
	h := open(t, nil)
	p := h.person().signIn("local")
	for _, path := range []string{"/c/X", "/callback/practice", "/done/X", "/secret/X", "/connections", "/approvals", "/apps", "/activity", "/static/latchpost.css", "/api/v1/connections"} {
		for _, method := range []string{"TRACE", "PRI", "PUT", "OPTIONS", "DELETE", "FOO"} {
			if got := p.do(p.request(method, path, nil, nil)); got.status != 405 && got.status != 404 {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
		}
	}
}

// HL-022: only embedded files are served.
func TestStaticPaths(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	p.get("/static/latchpost.css")
	p.want(200, "--accent")
	parts := []string{"..", "%2e%2e", "..%2f", "%5c..%5c", "%00", "//", "/./", "web.go", "etc/passwd", "pages/layout.html", "....//", "%252e%252e", "..;"}
	for _, a := range parts {
		for _, b := range parts {
			u, err := url.Parse(h.URL + "/static/" + a + "/" + b)
			if err != nil {
				continue
			}
			got := p.get(u.String())
			if got.status != 404 && got.status != 400 {
				t.Errorf("%s/%s: %d", a, b, got.status)
			}
			checkLocation(t, got)
		}
	}
	p.get("/static/")
	p.want(404)
}

// HL-027: a key that was posted never comes back.
func TestKeyForm(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{Method: auth.MethodAPIKey}).RequestID
	p.confirm(id, nil)
	p.want(303)
	p.get("/secret/" + id)
	p.want(200)
	p.post("/secret/"+id, url.Values{"field_key": {"CANARY-KEY\x01"}})
	p.want(400, "character that no key has", `autocomplete="off"`, `type="password"`)
	if strings.Contains(p.last.body, "CANARY") || p.last.header.Get("Cache-Control") != "no-store" {
		t.Error("the key is on the page, or the page may be kept")
	}
	if field := regexp.MustCompile(`<input[^>]*field_key[^>]*>`).FindString(p.last.body); strings.Contains(field, "value=") {
		t.Errorf("the field is filled: %s", field)
	}
	p.get("/secret/" + id + "?field_key=CANARY-KEY")
	p.want(200)
	if strings.Contains(p.last.body, "CANARY") {
		t.Error("the address fills the form")
	}
	p.post("/secret/"+id, url.Values{"field_key": {"CANARY-KEY"}})
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is connected")
	p.get("/secret/" + id)
	p.want(303)
}

// HL-028: every form without its token, and with the token of somebody else.
func TestForgedForms(t *testing.T) {
	h := open(t, nil)
	owner, other := h.person().signIn("local"), h.person().signIn("somebody")
	keyed := h.ask(claude, auth.Wish{Method: auth.MethodAPIKey}).RequestID
	p := h.person()
	p.confirm(keyed, nil)
	h.connect(owner, h.ask(claude, auth.Wish{}).RequestID, "alice")
	approval := h.approval(claude, auth.Call{Provider: "practice", Method: "POST", Path: "/repos"})
	open := h.ask(claude, auth.Wish{Scopes: []string{"repo"}}).RequestID
	lacking := h.ask(claude, auth.Wish{Provider: "github", Method: auth.MethodOAuthCode}).RequestID
	forms := []struct {
		who  *person
		path string
		page string
		form url.Values
	}{
		{p, "/secret/" + keyed, "/secret/" + keyed, url.Values{"field_key": {"k"}}},
		{owner, "/c/" + open, "/c/" + open, url.Values{"do": {"connect"}}},
		{owner, "/c/" + open, "/c/" + open, url.Values{"do": {"decline"}}},
		{owner, "/c/" + lacking + "/app", "/c/" + lacking, url.Values{"client_id": {"evil"}, "client_secret": {"x"}}},
		{owner, "/connections", "/connections", url.Values{"do": {"revoke"}, "provider": {"practice"}, "account": {"alice@example.com"}}},
		{owner, "/connections", "/connections", url.Values{"do": {"cancel"}, "request": {open}}},
		{owner, "/approvals/" + approval, "/approvals/" + approval, url.Values{"do": {"always"}}},
		{owner, "/apps", "/apps?provider=github", url.Values{"do": {"set"}, "provider": {"github"}, "client_id": {"evil"}}},
	}
	for _, f := range forms {
		other.get("/connections") // a token for the same kind of form, of another session
		foreign := token(other.last.body)
		for _, forged := range []string{"", "x", "a.b.c", foreign} {
			form := url.Values{"token": {forged}}
			for name, v := range f.form {
				form[name] = v
			}
			f.who.post(f.path, form)
			if f.who.last.status != 403 {
				t.Errorf("%s with token %.5q: %d", f.path, forged, f.who.last.status)
			}
		}
		f.who.get(f.page)
		form := url.Values{"token": {token(f.who.want(200).body)}}
		for name, v := range f.form {
			form[name] = v
		}
		f.who.post(f.path, form, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		f.who.want(403)
	}
	if got := h.accounts(); got != "alice@example.com" {
		t.Errorf("connected: %s", got)
	}
	if s := h.status(claude, open); s.Status != auth.StatusPending {
		t.Errorf("the request is %s", s.Status)
	}
	for _, f := range forms[3:5] { // and the right token is taken
		f.who.get(f.page)
		f.who.post(f.path, f.form)
		f.who.want(303)
	}
}

// HL-029: what a provider or an agent calls something is text.
func TestHostileLabels(t *testing.T) {
	const evil = `<img src=x onerror=alert(1)>`
	h := open(t, nil)
	h.Server.Change(func(o *authtest.Options) { o.Users[0].Email = evil })
	p := h.person().signIn("local")
	caller := auth.Caller{Owner: auth.Local, Client: evil}
	h.connect(p, h.ask(caller, auth.Wish{}).RequestID, "alice")
	approval := h.approval(caller, auth.Call{Provider: "practice", Method: "POST", Path: "/repos", Headers: map[string]string{"Content-Type": "application/json"}, Body: []byte(`{"a":"</code>` + evil + `"}`)})
	pending := h.ask(caller, auth.Wish{Account: evil, Scopes: []string{"<script>alert(1)</script>"}}).RequestID
	for _, path := range []string{"/connections", "/approvals", "/approvals/" + approval, "/activity", "/c/" + pending} {
		p.get(path)
		p.want(200, "<img src=x")
		if strings.Contains(p.last.body, "<img src=x") || strings.Contains(p.last.body, "<script") || strings.Contains(p.last.body, "</code><img") {
			t.Errorf("%s: markup got through", path)
		}
		for _, src := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(p.last.body, -1) {
			if !strings.HasPrefix(src[1], "/") && src[1] != "#main" && !strings.HasPrefix(src[1], "https://") {
				t.Errorf("%s leads to %q", path, src[1])
			}
		}
	}
}

// HL-031
func TestNoDebugSurface(t *testing.T) {
	h := open(t, nil)
	p := h.person().signIn("local")
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/metrics", "/.git/", "/.git/config", "/swagger", "/swagger/index.html"} {
		p.get(path)
		p.want(404)
	}
}

func TestOwnerPagesNeedASession(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	for _, path := range []string{"/connections", "/approvals", "/apps", "/activity"} {
		p.get(path)
		p.want(401, "latchpost open")
		p.post(path, url.Values{})
		if p.last.status != 401 && p.last.status != 405 {
			t.Errorf("POST %s: %d", path, p.last.status)
		}
	}
	for _, path := range []string{"connections", "requests", "approvals", "grants", "events", "providers"} {
		p.get("/api/v1/" + path)
		p.want(401, "unauthenticated")
	}
}

func TestTooLargeForm(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{Method: auth.MethodAPIKey}).RequestID
	p.confirm(id, nil)
	p.get("/secret/" + id)
	p.post("/secret/"+id, url.Values{"field_key": {strings.Repeat("k", 100<<10)}})
	p.want(413)
}

// Who leaves while a page is made is no error of ours, which strangers could fill the log with.
func TestPageThatNobodyWaitsFor(t *testing.T) {
	var log strings.Builder
	h := open(t, nil)
	pages := web.New(h.Vault.Vault, web.Options{Local: true, Session: session, Log: slog.New(slog.NewTextHandler(&log, nil))}).Handler()
	left, leave := context.WithCancel(t.Context())
	leave()
	for _, path := range []string{"/c/" + h.ask(claude, auth.Wish{}).RequestID, "/done/x", "/approvals/x", "/callback/practice?state=x&code=y"} {
		pages.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(left, "GET", path, nil))
	}
	if log.Len() > 0 {
		t.Error(log.String())
	}
}
