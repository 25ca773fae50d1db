package identity_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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

// DS-004: while nobody can be known, because the store or the issuer is down, strangers do not fill the log; nor do those who
// leave before they are.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	h := open(t)
	var log strings.Builder
	h.Log = slog.New(slog.NewTextHandler(&log, nil))
	r := bearer("lp_" + strings.Repeat("A", 43))
	r.AddCookie(&http.Cookie{Name: "__Host-lp_owner", Value: strings.Repeat("A", 43)})
	ask := func(r *http.Request) (lines int) {
		log.Reset()
		for range 100 {
			if _, err := h.Caller(r); err == nil {
				t.Fatal("a stranger gets in")
			}
			if _, ok := h.Owner(r); ok {
				t.Fatal("a stranger is an owner")
			}
		}
		return strings.Count(log.String(), "\n")
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if lines := ask(r.WithContext(left)); lines != 0 {
		t.Errorf("strangers who leave: %d lines, such as %.300s", lines, log.String())
	}
	_ = h.db.Close()
	for range 2 {
		if lines := ask(r); lines != 1 {
			t.Errorf("while the store is down: %d lines, want 1: %.300s", lines, log.String())
		}
		h.clock.pass(time.Minute)
	}
}
