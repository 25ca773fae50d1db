package main

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"testing"
)

// HL-032: TLS 1.2 at least, HSTS, and nothing in the clear beside it.
func TestTLS(t *testing.T) {
	listen := freePort(t)
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), listen)
	h.door.fixed = "https://" + listen
	h.door.cert, h.door.key = certificate(t)
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
