package auth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// somebodysServer is how a person describes a server of their own: everything else is in its
// discovery document.
const somebodysServer = `{
  "schema": 1, "id": "house", "name": "House server", "category": "identity",
  "docs": "https://openid.net/specs/openid-connect-discovery-1_0.html",
  "checked": {"on": "2026-11-23", "source": "this test", "level": "own"},
  "oauth2": {
    "flows": ["code"], "issuer": %q, "discovery": "oidc", "pkce": "required",
    "client": {"secret": "optional", "loopback": "127.0.0.1"},
    "scopes": {"sep": " ", "default": ["openid", "email"], "offline": ["offline_access"]},
    "authorize": {"offline": {"prompt": "consent"}},
    "callback": {"iss": "required"},
    "refresh": {"grant": "refresh_token", "rotates": "always"}
  },
  "api": {"hosts": [%q], "base": %q, "send": [{"in": "header", "name": "Authorization", "format": "Bearer ${access_token}"}]}
}`

// D1, D9, D10, D16, E1: the whole story on a server that nobody here wrote: discovery, PKCE,
// iss, ID token, a call, rotation with reuse detection, a lost answer, revocation, signing in again.
func TestStoryOnOIDCProvider(t *testing.T) {
	server := authtest.StartOIDCProvider(t, authtest.OIDCOptions{RedirectURI: "http://127.0.0.1/callback/house", AccessToken: time.Hour})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, server.Issuer+"/me", nil)
		ask.Header.Set("Authorization", r.Header.Get("Authorization"))
		who, err := http.DefaultClient.Do(ask)
		if err != nil || who.StatusCode != http.StatusOK {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		defer who.Body.Close()
		fmt.Fprint(w, "hello")
	}))
	defer api.Close()
	definitions := t.TempDir()
	host := strings.TrimPrefix(api.URL, "http://")
	if err := os.WriteFile(filepath.Join(definitions, "house.json"), fmt.Appendf(nil, somebodysServer, server.Issuer, host, api.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	v, c := newClockedVault(t, authtest.Options{})
	s := siteOf(v)
	s.Providers = definitions
	reopen(t, v, s, c.Now)
	if err := v.Desk(auth.Local).SetApp(t.Context(), "house", "basic", auth.NewSecret("basic secret/+:%&="), nil); err != nil {
		t.Fatal(err)
	}

	wish, need, call := auth.Wish{Provider: "house"}, auth.Need{Provider: "house"}, auth.Call{Provider: "house", Path: "/"}
	begin := func() (*auth.AuthRequired, string) {
		t.Helper()
		link := ask(t, v, agent, wish)
		step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{})
		if err != nil {
			t.Fatal(err)
		}
		return link, step.Redirect
	}
	comeBack := func(back string, err error) error {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Visit(alices).Callback(t.Context(), "house", query(t, back))
		return err
	}
	signInAs := func(user string) {
		t.Helper()
		c.ahead.Store(0) // the ID token counts by the server's clock
		link, page := begin()
		if err := comeBack(server.Approve(t.Context(), page, user)); err != nil {
			t.Fatal(err)
		}
		if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
			t.Fatalf("status %+v", s)
		}
	}
	works := func() {
		t.Helper()
		resp, err := v.Call(t.Context(), agent, call)
		if err != nil || resp.Status != http.StatusOK || string(resp.Body) != "hello" {
			t.Fatalf("Call: %+v, %v", resp, err)
		}
	}
	token := func() string {
		t.Helper()
		h, err := v.Get(t.Context(), agent, need)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		return h.Released.Value.Reveal()
	}

	_, page := begin()
	wantErr(t, "denied", comeBack(server.Deny(t.Context(), page)), auth.ErrDeclined)
	signInAs("alice")
	works()
	seen := map[string]bool{token(): true}
	for range 3 { // rotation: each generation's refresh token works once
		c.forward(2 * time.Hour)
		tokens, errs := getMany(20, func() (*auth.Handle, error) { return v.Get(t.Context(), agent, need) })
		if now := token(); len(tokens) != 1 || len(errs) > 0 || seen[now] {
			t.Fatalf("after a refresh: tokens %v, errors %v", tokens, errs)
		} else {
			seen[now] = true
		}
		works()
	}

	last := token()
	ended, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "house"})
	if err != nil || ended.Connections[0].AtProvider != auth.AtProviderRevoked {
		t.Fatalf("Revoke: %+v, %v", ended, err)
	}
	if resp := me(t, server.Issuer, last); resp != http.StatusUnauthorized {
		t.Errorf("the revoked token: status %d", resp)
	}
	_, err = v.Call(t.Context(), agent, call)
	wantLink(t, err, auth.NotConnected)
	signInAs("alice")
	works()

	// An answer is lost: the second request is reuse, the family dies, and that is told for what it is.
	if err := server.Fault(t.Context(), authtest.OIDCFault{Path: "/token", Cut: "after"}); err != nil {
		t.Fatal(err)
	}
	c.forward(2 * time.Hour)
	_, err = v.Get(t.Context(), agent, need)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "interrupted_rotation")
	signInAs("alice")
	works()
	wantState(t, v, auth.Active, "")

	// A copy of the store is used first: this one is told that the sign-in was used elsewhere.
	copied := copyOf(t, v)
	copied.Providers = definitions
	c.forward(2 * time.Hour)
	other, db, err := copied.open(t.Context(), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := other.Get(t.Context(), agent, need); err != nil {
		t.Fatalf("the copy: %v", err)
	}
	_, err = v.Get(t.Context(), agent, need)
	var link *auth.AuthRequired
	if !errors.As(err, &link) || !strings.Contains(link.Message, "used elsewhere") {
		t.Errorf("the original: %v", err)
	}
	wantState(t, v, auth.NeedsReauth, "invalid_grant")
}

// me asks the server whose token this is.
func me(t *testing.T, issuer, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// copyOf is a second machine's copy of the store, with its key.
func copyOf(t *testing.T, v *authtest.Vault) site {
	t.Helper()
	s := siteOf(v)
	s.Dir = filepath.Join(t.TempDir(), "data")
	for _, dir := range []string{s.Dir, s.Dir + "-key"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.DB.Backup(t.Context(), filepath.Join(s.Dir, "latchpost.db")); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(v.Dir+"-key", "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir+"-key", "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}
