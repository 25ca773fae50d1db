package identity_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/identity"
	"github.com/latchpost/latchpost/store"
)

const resource = "https://latchpost.example/mcp"

// house is an Identity over a real SQLite file and a real authorization server.
type house struct {
	*identity.Identity
	as    *authtest.Server
	db    *store.DB
	file  string
	clock *clock
}

type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// tokenStore gives rows of the store the type that identity has for them.
type tokenStore struct{ *store.DB }

func (s tokenStore) Token(ctx context.Context, hash []byte) (*identity.Token, error) {
	t, err := s.DB.Token(ctx, hash)
	return (*identity.Token)(t), err
}

func (s tokenStore) ListTokens(ctx context.Context, o auth.Owner) ([]identity.Token, error) {
	rows, err := s.DB.ListTokens(ctx, o)
	var all []identity.Token
	for _, row := range rows {
		all = append(all, identity.Token(row))
	}
	return all, err
}

func open(t testing.TB) *house {
	t.Helper()
	h := &house{clock: &clock{at: time.Now().Truncate(time.Second)}, file: filepath.Join(t.TempDir(), "latchpost.db")}
	h.as = authtest.NewServer(authtest.Options{JWT: true, Now: h.clock.now})
	t.Cleanup(h.as.Close)
	db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + h.file, Ballast: -1, Now: h.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	h.db = db
	audit := db.AuditLog(mac)
	h.Identity = &identity.Identity{
		BaseURL:  func() string { return "https://latchpost.example" },
		Sessions: db, MAC: mac, Audit: audit, Now: h.clock.now,
		Tokens: &identity.Tokens{Store: tokenStore{db}, Audit: audit, Now: h.clock.now},
		Issuer: &identity.Issuer{
			URL: h.as.URL, Resource: resource, ClientID: "public", Out: egress.New(egress.Options{Loopback: true}), Loopback: true, Now: h.clock.now,
		},
	}
	return h
}

func mac(message []byte) []byte {
	m := hmac.New(sha256.New, []byte("a key for tests only"))
	m.Write(message)
	return m.Sum(nil)
}

// bearer is a request with a token.
func bearer(token string) *http.Request {
	r := httptest.NewRequest("POST", "/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// browser keeps cookies and follows no redirect.
type browser struct {
	t      *testing.T
	base   string
	client *http.Client
}

// serve puts the pages on a loopback port.
func (h *house) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(h.Handler())
	t.Cleanup(server.Close)
	h.BaseURL = func() string { return server.URL }
	return server.URL
}

func newBrowser(t *testing.T, base string) *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{t, base, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) get(path string) *http.Response {
	b.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = b.base + path
	}
	res, err := b.client.Get(path)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

func (b *browser) post(path string, form url.Values) *http.Response {
	b.t.Helper()
	res, err := b.client.PostForm(b.base+path, form)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res
}

// owner is who the server takes the browser for.
func (b *browser) owner(h *house) *auth.Owner {
	u, _ := url.Parse(b.base)
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range b.client.Jar.Cookies(u) {
		r.AddCookie(c)
	}
	owner, _ := h.Owner(r)
	return owner
}

// full is an audit log on a full disk.
type full struct{ auth.AuditLog }

func (full) Append(context.Context, ...auth.Event) error { return store.ErrFull }
