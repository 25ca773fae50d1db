package web_test

import (
	"crypto/rand"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/guard"
	"github.com/latchpost/latchpost/auth/web"
	"github.com/latchpost/latchpost/providers"
)

// house is a whole server: the real vault, the pages, and the guard in front.
type house struct {
	*authtest.Vault
	t     *testing.T
	URL   string
	Host  string
	later atomic.Int64 // how far the clocks of vault and pages are ahead
}

// requestTTL is a moment more than a link and a form live.
const requestTTL = 10*time.Minute + time.Second

// pass lets time go by.
func (h *house) pass(d time.Duration) { h.later.Add(int64(d)) }

func (h *house) now() time.Time { return time.Now().Add(time.Duration(h.later.Load())) }

// open starts a house. change may alter the vault and the options before that.
func open(t *testing.T, change func(*authtest.Vault, *web.Options)) *house {
	t.Helper()
	h := &house{Vault: authtest.NewVault(t, authtest.Options{}), t: t}
	server := httptest.NewUnstartedServer(nil)
	h.Host = server.Listener.Addr().String()
	h.URL = "http://" + h.Host
	h.Vault.Vault.BaseURL = func() string { return h.URL }
	h.Vault.Vault.Now = h.now
	options := web.Options{Local: true, Session: session, Now: h.now}
	if change != nil {
		change(h.Vault, &options)
	}
	port := h.Host[strings.LastIndex(h.Host, ":"):]
	server.Config.Handler = guard.New(guard.Options{Hosts: []string{h.Host, "localhost" + port}, Origins: []string{h.URL}})(web.New(h.Vault.Vault, options).Handler())
	server.Start()
	t.Cleanup(server.Close)
	return h
}

// session signs in whoever the test's cookie names. Who may have that cookie is package identity's.
func session(r *http.Request) (*auth.Owner, bool) {
	c, err := r.Cookie("who")
	if err != nil {
		return nil, false
	}
	org, user, ok := strings.Cut(c.Value, "/")
	if !ok {
		org, user = "", org
	}
	return &auth.Owner{Org: org, User: user}, true
}

var claude = auth.Caller{Owner: auth.Local, Client: "claude"}

// ask lets an agent ask for a sign-in and gives the request's id.
func (h *house) ask(c auth.Caller, w auth.Wish) *auth.AuthRequired {
	h.t.Helper()
	if w.Provider == "" {
		w.Provider = "practice"
	}
	_, err := h.Request(h.t.Context(), c, w)
	var required *auth.AuthRequired
	if !errors.As(err, &required) {
		h.t.Fatalf("request_auth: %v", err)
	}
	return required
}

// askRelease puts the question whether claude may have the raw credential.
func (h *house) askRelease() string {
	h.t.Helper()
	found, err := h.Desk(auth.Local).Connections(h.t.Context())
	if err != nil || len(found) == 0 {
		h.t.Fatal(found, err)
	}
	a := auth.Approval{
		ID: rand.Text(), Owner: auth.Local, Client: claude.Client, Connection: found[0].ID, Provider: found[0].Provider, Account: found[0].Account,
		Kind: auth.Release, Why: auth.RuleRelease, Digest: []byte("release"), State: auth.Waiting, CreatedAt: h.now(), ExpiresAt: h.now().Add(time.Minute),
	}
	if _, err := h.DB.AddApproval(h.t.Context(), &a, 20); err != nil {
		h.t.Fatal(err)
	}
	return a.ID
}

func catalog(t *testing.T, dir string) *providers.Catalog {
	t.Helper()
	c, err := providers.Load(dir, providers.Options{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// approvalID is the question that an agent was answered with.
func (h *house) approvalID(err error) string {
	h.t.Helper()
	var required *auth.ApprovalRequired
	if !errors.As(err, &required) {
		h.t.Fatalf("no approval was asked: %v", err)
	}
	return required.RequestID
}

// person is a browser: cookies, forms, and no redirect followed by itself.
type person struct {
	t      *testing.T
	client *http.Client
	base   string
	last   page
}

type page struct {
	status int
	header http.Header
	body   string
}

func (h *house) person() *person {
	jar, _ := cookiejar.New(nil)
	return &person{t: h.t, base: h.URL, client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn gives the person a session.
func (p *person) signIn(who string) *person {
	u, _ := url.Parse(p.base)
	p.client.Jar.SetCookies(u, []*http.Cookie{{Name: "who", Value: who, Path: "/"}})
	return p
}

func (p *person) do(r *http.Request) page {
	p.t.Helper()
	resp, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.last = page{resp.StatusCode, resp.Header, string(body)}
	return p.last
}

// get opens a path or a whole address; pairs are header names and values.
func (p *person) get(path string, pairs ...string) page {
	p.t.Helper()
	return p.do(p.request("GET", path, nil, pairs))
}

// post sends a form with the token of the last page.
func (p *person) post(path string, form url.Values, pairs ...string) page {
	p.t.Helper()
	if !form.Has("token") {
		form.Set("token", token(p.last.body))
	}
	return p.do(p.request("POST", path, strings.NewReader(form.Encode()), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, pairs...)))
}

func (p *person) request(method, path string, body io.Reader, pairs []string) *http.Request {
	if strings.HasPrefix(path, "/") {
		path = p.base + path
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	return r
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func token(body string) string {
	if m := tokenField.FindStringSubmatch(body); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// want checks the status and that every text is on the page.
func (p *person) want(status int, texts ...string) page {
	p.t.Helper()
	if p.last.status != status {
		p.t.Fatalf("status %d, want %d\n%s", p.last.status, status, p.last.body)
	}
	seen := html.UnescapeString(p.last.body)
	for _, text := range texts {
		if !strings.Contains(seen, text) {
			p.t.Fatalf("the page lacks %q:\n%s", text, p.last.body)
		}
	}
	return p.last
}

// confirm opens the link and presses Connect; it gives the provider's address.
func (p *person) confirm(id string, form url.Values) string {
	p.t.Helper()
	p.get("/c/" + id)
	p.want(200)
	if form == nil {
		form = url.Values{}
	}
	form.Set("do", "connect")
	p.post("/c/"+id, form)
	return p.target()
}

// target is where the last page leads by itself.
func (p *person) target() string {
	_, target, _ := strings.Cut(p.last.header.Get("Refresh"), "; url=")
	return target
}

// connect goes the whole way as a user of the practice provider.
func (h *house) connect(p *person, id, user string) {
	h.t.Helper()
	back, err := h.Server.Approve(h.t.Context(), p.confirm(id, nil), user)
	if err != nil {
		h.t.Fatal(err)
	}
	p.get(back)
	p.want(303)
	if p.last.header.Get("Location") != "/done/"+id {
		h.t.Fatalf("callback leads to %q", p.last.header.Get("Location"))
	}
	p.get("/done/" + id)
	p.want(200)
}

func (h *house) status(c auth.Caller, id string) *auth.Status {
	h.t.Helper()
	s, err := h.Wait(h.t.Context(), c, id, 0, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// happened tells whether the audit log has an event of a kind.
func (h *house) happened(o auth.Owner, kind string) bool {
	h.t.Helper()
	// What was queued before is on disk when an event that came later is.
	if err := h.Audit.Append(h.t.Context(), auth.Event{ID: rand.Text(), At: time.Now(), Owner: o, Kind: "test.flush", Decision: "ok"}); err != nil {
		h.t.Fatal(err)
	}
	events, err := h.Audit.Events(h.t.Context(), o, auth.EventFilter{Kind: kind})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(events) > 0
}

func TestConnect(t *testing.T) {
	h := open(t, nil)
	asked := h.ask(claude, auth.Wish{})
	p := h.person()
	p.get("/c/" + asked.RequestID)
	p.want(200, "Practice provider", "claude", "unverified name", asked.MatchCode, "Decline", "openid")
	h.connect(p, asked.RequestID, "alice")
	p.want(200, "alice@example.com", "Go back to your agent")
	if s := h.status(claude, asked.RequestID); s.Status != auth.StatusConnected || s.Connection.Access != auth.Read {
		t.Fatalf("status %+v", s)
	}
}
