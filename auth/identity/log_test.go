package identity_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// Everything goes wrong, the log says why, and it holds nothing that one could use.
func TestLogHoldsNoSecret(t *testing.T) {
	h := open(t)
	var log strings.Builder
	h.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	b := newBrowser(t, h.serve(t))
	secrets := map[string]string{"link": h.code(t, alice)}
	b.post("/login", form("code", secrets["link"]))
	b.post("/login", form("code", secrets["link"]))
	u, _ := url.Parse(b.base)
	for _, c := range b.client.Jar.Cookies(u) {
		secrets[c.Name] = c.Value
	}
	echo := func(status int) authtest.Fault {
		return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			body, _ := io.ReadAll(r.Body)
			values, _ := url.ParseQuery(string(body))
			secrets["verifier"] = values.Get("code_verifier")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"` + string(body) + `","id_token":"` + string(body) + `"}`))
		}
	}
	for _, fault := range []authtest.Fault{echo(400), echo(500), echo(200), authtest.CutBefore, authtest.CutWithin} {
		target := b.leave("")
		asked, _ := url.Parse(target)
		callback, _ := url.Parse(h.approve(t, target, "alice"))
		secrets["state"], secrets["nonce"], secrets["code"] = asked.Query().Get("state"), asked.Query().Get("nonce"), callback.Query().Get("code")
		h.as.Fault("/token", fault)
		b.get(callback.String())
		b.get(callback.String())
		for name, secret := range secrets {
			if secret == "" {
				t.Errorf("no %s", name)
			} else if strings.Contains(log.String(), secret) {
				t.Errorf("the log holds the %s:\n%s", name, log.String())
			}
		}
	}
	genuine := h.as.Sign("at+jwt", h.good())
	for _, token := range []string{genuine + "x", genuine[:len(genuine)-9] + "AAAAAAAAA", h.as.Sign("at+jwt", with(h.good(), map[string]any{"aud": "x"})), "lp_" + strings.Repeat("B", 43)} {
		refused(t, h, token)
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(log.String(), part) {
				t.Errorf("the log holds a part of a token:\n%s", log.String())
			}
		}
	}
	if n := strings.Count(log.String(), "\n"); n < 15 {
		t.Errorf("the log says little:\n%s", log.String())
	}
}
