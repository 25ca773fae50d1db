package identity_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// A flood of unknown key ids leads to one reading of the key set a minute (RFC 8725
// section 3.10), and does not slow down those whose key is known.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	h := open(t)
	good := h.as.Sign("at+jwt", h.good())
	flood := func() {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				header := encode(map[string]any{"alg": "RS256", "kid": "unknown-" + strconv.Itoa(i), "typ": "at+jwt"})
				refused(t, h, header+good[strings.Index(good, "."):])
			})
		}
		wg.Wait()
	}
	if _, err := h.Caller(bearer(good)); err != nil {
		t.Fatal(err)
	}
	flood()
	if n := len(h.as.Requests("/jwks")); n != 1 {
		t.Errorf("within the minute: %d readings", n)
	}
	h.clock.pass(time.Minute)
	flood()
	flood()
	if n := len(h.as.Requests("/jwks")); n != 2 {
		t.Errorf("after a minute: %d readings", n)
	}
}

func TestKeyRotation(t *testing.T) {
	h := open(t)
	old := h.as.Sign("at+jwt", with(h.good(), map[string]any{"exp": h.clock.now().Add(time.Hour).Unix()}))
	if _, err := h.Caller(bearer(old)); err != nil {
		t.Fatal(err)
	}
	h.clock.pass(time.Minute)
	h.as.RotateKey()
	if _, err := h.Caller(bearer(old)); err != nil {
		t.Errorf("a known key: %v", err)
	}
	if _, err := h.Caller(bearer(h.as.Sign("at+jwt", h.good()))); err != nil {
		t.Errorf("the new key: %v", err)
	}
	refused(t, h, old)
}

// A key that was withdrawn counts for a quarter of an hour at most.
func TestWithdrawnKey(t *testing.T) {
	h := open(t)
	token := h.as.Sign("at+jwt", with(h.good(), map[string]any{"exp": h.clock.now().Add(time.Hour).Unix()}))
	if _, err := h.Caller(bearer(token)); err != nil {
		t.Fatal(err)
	}
	h.as.RotateKey()
	h.clock.pass(15 * time.Minute)
	refused(t, h, token)
}

func TestSilentIssuer(t *testing.T) {
	h := open(t)
	token := h.as.Sign("at+jwt", with(h.good(), map[string]any{"exp": h.clock.now().Add(48 * time.Hour).Unix()}))
	unavailable := func() {
		t.Helper()
		if caller, err := h.Caller(bearer(token)); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("got %+v, %v", caller, err)
		}
	}
	h.as.FaultAlways("/jwks", authtest.CutBefore)
	unavailable()
	asked := len(h.as.Requests("/jwks"))
	unavailable()
	if n := len(h.as.Requests("/jwks")); n != asked {
		t.Errorf("asked again at once, %d instead of %d times", n, asked)
	}
	h.as.Heal()
	h.clock.pass(5 * time.Second)
	if _, err := h.Caller(bearer(token)); err != nil {
		t.Fatal(err)
	}
	h.as.FaultAlways("/jwks", authtest.CutBefore)
	h.clock.pass(23 * time.Hour)
	if _, err := h.Caller(bearer(token)); err != nil {
		t.Errorf("with the keys of yesterday: %v", err)
	}
	h.clock.pass(time.Hour)
	unavailable()
}

func TestWrongDirectory(t *testing.T) {
	for name, program := range map[string]func(*house){
		"another issuer":    func(h *house) { h.metadata("issuer", "https://evil.example") },
		"keys over http":    func(h *house) { h.metadata("jwks_uri", "http://keys.example/jwks") },
		"keys in a file":    func(h *house) { h.metadata("jwks_uri", "file:///etc/passwd") },
		"cloud metadata":    func(h *house) { h.metadata("jwks_uri", "https://169.254.169.254/jwks") },
		"script to sign in": func(h *house) { h.metadata("authorization_endpoint", "javascript:alert(1)") },
		"a redirect": func(h *house) {
			h.as.FaultAlways("/jwks", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
			})
		},
		"no keys": func(h *house) { h.as.FaultAlways("/jwks", publish()) },
		"a key set without end": func(h *house) {
			h.as.FaultAlways("/jwks", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				_, _ = w.Write([]byte(`{"keys":[`))
				for r.Context().Err() == nil {
					if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
						return
					}
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			program(h)
			if caller, err := h.Caller(bearer(h.as.Sign("at+jwt", h.good()))); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("got %+v, %v", caller, err)
			}
		})
	}
}

// metadata changes one member of the discovery document.
func (h *house) metadata(name string, value any) {
	document := h.as.Metadata()
	document[name] = value
	h.as.FaultAlways("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		_ = json.NewEncoder(w).Encode(document)
	})
}

func TestCheck(t *testing.T) {
	h := open(t)
	if err := h.Issuer.Check(); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ issuer, resource string }{
		{"", resource}, {"http://issuer.example", resource}, {"https://issuer.example?x", resource}, {"https://user@issuer.example", resource},
		{"https://issuer.example", ""}, {"https://issuer.example", "/mcp"}, {"https://issuer.example", resource + "#x"}, {"https://issuer.example", "urn:latchpost"},
	} {
		h.Issuer.URL, h.Issuer.Resource = c.issuer, c.resource
		if err := h.Issuer.Check(); err == nil {
			t.Errorf("%q with %q is taken", c.issuer, c.resource)
		}
	}
}
