package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

// HL-011: every cookie of the whole way, over https and over http on loopback.
func (c *chromium) httpsStory(t *testing.T) {
	cert, key := certificateFiles(t)
	listen := freePort(t)
	base := "https://" + listen
	issuer := authtest.NewServer(authtest.Options{Clients: []authtest.Client{{ID: "pages", RedirectURIs: []string{base + "/login/callback"}}}})
	t.Cleanup(issuer.Close)
	n := settleAt(t, authtest.Options{}, listen, base, strings.NewReader(""), io.Discard, "serve",
		"--base-url", base, "--tls-cert", cert, "--tls-key", key, "--oidc-issuer", issuer.URL, "--oidc-client-id", "pages", "--resource", resource)
	agent := n.bearer(issuer.Sign("at+jwt", map[string]any{
		"iss": issuer.URL, "sub": "alice", "aud": resource, "client_id": "agent", "scope": "latchpost:connect latchpost:use",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(), "jti": rand.Text(),
	}))
	q := agent.asks(nil)
	p := c.person(t, "alice")
	p.signsIn(q.link)
	p.press("Connect")
	p.arrives(n.provider.URL)
	p.approve("alice", n.base+"/done/")
	p.reads("Practice provider is connected")
	if who := agent.getsThrough(); who != "alice" {
		t.Errorf("the call speaks for %s", who)
	}
	p.hasCookies(n, true, "__Host-lp_owner", "__Host-lp_login_", "__Host-lp_flow_")
	for _, r := range p.answered() {
		if headers, err := r.AllHeaders(); err == nil && strings.HasPrefix(r.URL(), base) && !strings.HasPrefix(headers["strict-transport-security"], "max-age=") {
			t.Errorf("%s has no HSTS", r.URL())
		}
	}
}

// hasCookies looks at every Set-Cookie that this browser got of us. The names must be
// exactly these, or begin so where they end in "_".
func (p *person) hasCookies(n *neighbourhood, secure bool, names ...string) {
	p.t.Helper()
	seen := map[string]bool{}
	secrets := n.provider.Secrets()
	for _, r := range p.answered() {
		if !strings.HasPrefix(r.URL(), n.base) {
			continue
		}
		lines, err := r.HeaderValues("set-cookie")
		p.must(err)
		for _, line := range lines {
			cookie, err := http.ParseSetCookie(line)
			if err != nil {
				p.t.Fatalf("%s: %v", line, err)
			}
			for _, name := range names {
				if cookie.Name == name || strings.HasSuffix(name, "_") && strings.HasPrefix(cookie.Name, name) {
					seen[name] = true
				}
			}
			limit := 600
			if strings.Contains(cookie.Name, "lp_owner") {
				limit = 12 * 60 * 60
			}
			switch {
			case !cookie.HttpOnly, cookie.SameSite != http.SameSiteLaxMode && cookie.SameSite != http.SameSiteStrictMode,
				cookie.Path != "/", cookie.Domain != "", cookie.Secure != secure, strings.HasPrefix(cookie.Name, "__Host-") != secure,
				cookie.MaxAge == 0, cookie.MaxAge > limit:
				p.t.Errorf("%s", line)
			}
			for _, s := range secrets {
				if strings.Contains(line, s) {
					p.t.Errorf("a secret of the provider stands in a cookie: %s", line)
				}
			}
		}
	}
	for _, name := range names {
		if !seen[name] {
			p.t.Errorf("no cookie %s was set", name)
		}
	}
}

// certificateFiles makes a self-signed one for 127.0.0.1 and gives the files.
func certificateFiles(t *testing.T) (cert, key string) {
	t.Helper()
	return certificateUntil(t, time.Now().Add(60*24*time.Hour))
}

func certificateUntil(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: end, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", signed), write("key.pem", "PRIVATE KEY", secret)
}
