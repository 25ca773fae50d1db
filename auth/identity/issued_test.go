package identity_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

var alice = auth.Owner{Org: "acme", User: "alice"}

func TestIssuedToken(t *testing.T) {
	h := open(t)
	secret, id, err := h.Tokens.Create(t.Context(), alice, "ci", []string{"latchpost:use"}, h.clock.now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	token := secret.Reveal()
	if !strings.HasPrefix(token, "lp_") || len(token) != 3+43 {
		t.Errorf("the token has the form %d bytes of %q", len(token), token[:3])
	}
	caller, err := h.Caller(bearer(token))
	want := auth.Caller{Owner: alice, Client: "ci", Verified: true, Scopes: []string{"latchpost:use"}}
	if err != nil || !reflect.DeepEqual(caller, want) {
		t.Errorf("got %+v, %v", caller, err)
	}
	all, err := h.Tokens.List(t.Context(), alice)
	if err != nil || len(all) != 1 || all[0].ID() != id || all[0].Client != "ci" {
		t.Errorf("list: %+v, %v", all, err)
	}

	t.Run("expires", func(t *testing.T) {
		h.clock.pass(time.Hour)
		defer h.clock.pass(-time.Hour)
		refused(t, h, token)
	})
	// MC-025: the next request after a revocation is refused.
	t.Run("MC-025 revoked at once", func(t *testing.T) {
		if err := h.Tokens.Revoke(t.Context(), auth.Owner{User: "alice"}, id); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("another owner's token: %v", err)
		}
		if _, err := h.Caller(bearer(token)); err != nil {
			t.Fatal(err)
		}
		if err := h.Tokens.Revoke(t.Context(), alice, id); err != nil {
			t.Fatal(err)
		}
		refused(t, h, token)
		if err := h.Tokens.Revoke(t.Context(), alice, id); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("twice: %v", err)
		}
	})
	events, err := h.Audit.Events(t.Context(), alice, auth.EventFilter{Kind: "token.create"})
	if err != nil || len(events) != 1 || events[0].Client != "ci" || events[0].Detail["token"] != id {
		t.Errorf("on record: %+v, %v", events, err)
	}
}

func TestCreateRefusesWhatCannotBeMeant(t *testing.T) {
	h := open(t)
	later := h.clock.now().Add(time.Hour)
	for name, c := range map[string]struct {
		owner   auth.Owner
		client  string
		scopes  []string
		expires time.Time
	}{
		"no user":    {auth.Owner{}, "ci", nil, later},
		"no client":  {alice, "", nil, later},
		"our own":    {alice, "owner", nil, later},
		"like ours":  {alice, "Latchpost Command-Line", nil, later},
		"no scopes":  {alice, "ci", []string{}, later},
		"bad scope":  {alice, "ci", []string{"a b"}, later},
		"expired":    {alice, "ci", nil, h.clock.now()},
		"unreadable": {auth.Owner{User: "a\u202eb"}, "ci", nil, later},
		"endless":    {auth.Owner{User: strings.Repeat("a", 201)}, "ci", nil, later},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := h.Tokens.Create(t.Context(), c.owner, c.client, c.scopes, c.expires); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// SH-017, SH-016: what is in the files of the store finds a token only by its hash. That
// is also how a token is looked up, so no comparison of secrets takes place.
func TestSecretsAreStoredAsHashesOnly(t *testing.T) {
	h := open(t)
	secret, _, err := h.Tokens.Create(t.Context(), alice, "ci", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	link, err := h.Link(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	code := link.Reveal()[strings.LastIndex(link.Reveal(), "/")+1:]
	session := signedIn(t, h, alice).Value
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	read := 0
	err = filepath.WalkDir(filepath.Dir(h.file), func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		read += len(content)
		for _, secret := range []string{secret.Reveal(), strings.TrimPrefix(secret.Reveal(), "lp_"), code, session} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds a secret as it is", entry.Name())
			}
		}
		return err
	})
	if err != nil || read == 0 {
		t.Errorf("%d bytes read, %v", read, err)
	}
}

// MC-011, ID-023: a missing or malformed Authorization header identifies nobody, and a
// token anywhere else is not looked at.
func TestOnlyTheAuthorizationHeaderCounts(t *testing.T) {
	h := open(t)
	secret, _, err := h.Tokens.Create(t.Context(), alice, "ci", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	token := secret.Reveal()
	form := func() *http.Request {
		r := httptest.NewRequest("POST", "/mcp", strings.NewReader("access_token="+token))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	header := func(name string, values ...string) *http.Request {
		r := httptest.NewRequest("POST", "/mcp", nil)
		r.Header[name] = values
		return r
	}
	for name, r := range map[string]*http.Request{
		"nothing":     header("X"),
		"query":       httptest.NewRequest("GET", "/mcp?access_token="+token, nil),
		"body":        form(),
		"cookie":      header("Cookie", "access_token="+token, "__Host-lp_owner="+token),
		"other field": header("X-Api-Key", token),
		"two":         header("Authorization", "Bearer "+token, "Bearer "+token),
		"list":        header("Authorization", "Bearer "+token+", Bearer "+token),
		"basic":       header("Authorization", "Basic "+token),
		"bare":        header("Authorization", token),
		"empty":       header("Authorization", "Bearer "),
		"garbage":     header("Authorization", "Bearer garbage"),
		"prefix":      header("Authorization", "Bearer lp_"),
		"shortened":   header("Authorization", "Bearer "+token[:len(token)-1]),
		"another":     header("Authorization", "Bearer "+token[:len(token)-2]+"AA"),
		"space":       header("Authorization", "Bearer "+token+" "),
		"endless":     header("Authorization", "Bearer "+token+strings.Repeat("A", 17<<10)),
	} {
		t.Run(name, func(t *testing.T) {
			if caller, err := h.Caller(r); !errors.Is(err, auth.ErrDenied) || caller.User != "" {
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
	if _, err := h.Caller(bearer(token)); err != nil {
		t.Error(err)
	}
}

// ID-022: what a client says about itself changes nothing.
func TestSelfDeclaredIdentityIsIgnored(t *testing.T) {
	h := open(t)
	secret, _, err := h.Tokens.Create(t.Context(), alice, "ci", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	r := bearer(secret.Reveal())
	for _, name := range []string{"X-User", "X-Tenant", "X-Org", "X-Forwarded-User", "X-Remote-User", "X-Client-Id", "From"} {
		r.Header.Set(name, "bob")
	}
	r.URL.RawQuery = "user=bob&tenant=t2"
	if caller, err := h.Caller(r); err != nil || caller.Owner != alice || caller.Client != "ci" {
		t.Errorf("got %+v, %v", caller, err)
	}
	r.Header.Del("Authorization")
	if caller, err := h.Caller(r); err == nil {
		t.Errorf("without a token: %+v", caller)
	}
}

func refused(t *testing.T, h *house, token string) {
	t.Helper()
	if caller, err := h.Caller(bearer(token)); !errors.Is(err, auth.ErrDenied) || caller.Client != "" {
		t.Errorf("got %+v, %v", caller, err)
	}
}
