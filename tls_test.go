package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// HL-032: TLS 1.2 at least, HSTS, and nothing in the clear beside it.
func TestTLS(t *testing.T) {
	listen := freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.door.fixed = "https://" + listen
	h.door.cert = &certificate{log: slog.New(slog.DiscardHandler)}
	h.door.cert.chain, h.door.cert.key = certificateFiles(t)
	h.door.moveTo(listen)
	share(t, h)

	ask := func(max uint16) (*http.Response, error) {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: max}}
		defer transport.CloseIdleConnections()
		return (&http.Client{Transport: transport}).Get("https://" + listen + "/healthz")
	}
	if resp, err := ask(tls.VersionTLS11); err == nil {
		_ = resp.Body.Close()
		t.Error("TLS 1.1 is spoken")
	}
	resp, err := ask(tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("over TLS: %s, HSTS %q", resp.Status, resp.Header.Get("Strict-Transport-Security"))
	}
	if resp, err := http.Get("http://" + listen + "/healthz"); err == nil {
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("plain http is answered, too")
		}
	}
}

// A process of the store that serves by TLS is one to its neighbours, whose flags do not say so, and to the doctor.
func TestNeighbourByTLS(t *testing.T) {
	listen, data := freePort(t), filepath.Join(t.TempDir(), "data")
	served := newHouse(t, data, listen)
	served.door.fixed = "https://latchpost.example.com"
	served.door.cert = &certificate{log: slog.New(slog.DiscardHandler)}
	served.door.cert.chain, served.door.cert.key = certificateFiles(t)
	served.door.moveTo(listen)
	share(t, served)
	beside := newHouse(t, data, listen)
	if f := beside.checkPort(t.Context()); !f.OK || !strings.Contains(f.Says, "served by another process of this store") {
		t.Errorf("%+v", f)
	}
	stranger := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	if f := stranger.checkPort(t.Context()); f.OK {
		t.Errorf("of another store: %+v", f)
	}
}

// A certificate that is renewed on disk is shown without a restart. Between its two files there is a moment in which they
// do not fit, and the one before is shown on.
func TestRenewedCertificate(t *testing.T) {
	var told bytes.Buffer
	c := &certificate{log: slog.New(slog.NewTextHandler(&told, nil))}
	c.chain, c.key = certificateFiles(t)
	shown := func() []byte {
		t.Helper()
		c.looked = c.looked.Add(-certificateLook)
		pair, err := c.forHandshake(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Certificate[0]
	}
	old := shown()
	chain, key := certificateFiles(t)
	pair, err := tls.LoadX509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what string
		do   func() error
		want []byte
		says int // how often an unfit pair was told of
	}{
		{"nothing", func() error { return nil }, old, 0},
		{"the chain is new", func() error { return os.Rename(chain, c.chain) }, old, 1},
		{"a second later", func() error { return nil }, old, 1},
		{"the key is new too", func() error { return os.Rename(key, c.key) }, pair.Certificate[0], 1},
		{"the key is nothing", func() error { return os.WriteFile(c.key, nil, 0o600) }, pair.Certificate[0], 2},
		{"the files are gone", func() error { return os.Remove(c.chain) }, pair.Certificate[0], 2},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(shown(), step.want) {
			t.Errorf("%s: another certificate is shown", step.what)
		}
		if n := strings.Count(told.String(), "does not load"); n != step.says {
			t.Errorf("%s: told %d times, not %d: %s", step.what, n, step.says, &told)
		}
	}
	first := &certificate{chain: c.chain, key: c.key, log: c.log}
	if _, err := first.forHandshake(nil); err == nil {
		t.Error("there is no certificate, and no error")
	}
}

// A certificate that clients refuse, or will soon, is told of at the start and by the doctor, and is in the metrics.
func TestCertificateThatEnds(t *testing.T) {
	for _, one := range []struct {
		end        time.Duration
		base, says string
	}{
		{60 * 24 * time.Hour, "https://127.0.0.1", ""},
		{60 * 24 * time.Hour, "", ""},
		{60 * 24 * time.Hour, "https://latchpost.example.com", "is not for latchpost.example.com, the host of --base-url"},
		{13 * 24 * time.Hour, "https://127.0.0.1", "expires on "},
		{-time.Hour, "https://127.0.0.1", "has expired on "},
	} {
		listen := freePort(t)
		h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
		h.settings.baseURL, h.settings.serve.metrics = one.base, "127.0.0.1:0"
		var told written
		h.door.cert = &certificate{log: slog.New(slog.NewTextHandler(&told, nil))}
		h.door.cert.chain, h.door.cert.key = certificateUntil(t, time.Now().Add(one.end))
		must(t, h.observe(t.Context()))
		share(t, h)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		h.door.cert.watch(ctx, hostOf(one.base))
		if got := told.text.String(); !strings.Contains(got, one.says) || (one.says == "") != (got == "") {
			t.Errorf("%v, %q: told %q", one.end, one.base, got)
		}
		found := h.checkCertificate(t.Context())
		if len(found) != 1 || found[0].OK != (one.says == "") || !strings.Contains(found[0].Says, one.says) {
			t.Errorf("%v, %q: %+v", one.end, one.base, found)
		}
		rec := httptest.NewRecorder()
		h.metrics.handler(log.New(io.Discard, "", 0)).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		if !strings.Contains(rec.Body.String(), "latchpost_tls_not_after_seconds ") {
			t.Error("it is not in the metrics")
		}
	}
}
