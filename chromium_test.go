package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

// SC-009: with a browser whose holes are known nobody gets as far as typing a password: pressing Connect is refused, with
// the reason, and no browser is started.
func TestOutdatedBrowserIsRefused(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	script := "#!/bin/sh\necho \"$@\" >>" + ran + "\necho Chromium 98.0.4758.102\n"
	if err := os.WriteFile(filepath.Join(dir, "chromium"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	i := len(h.vault.Connectors) - 1
	if h.vault.Connectors[i].Method() != auth.MethodBrowser {
		t.Fatal("the browser is not the last way to sign in")
	}
	_, err := h.vault.Connectors[i].Begin(t.Context(), &auth.Flow{})
	if !errors.Is(err, auth.ErrConfig) || !strings.Contains(err.Error(), "98.0.4758.102") {
		t.Errorf("pressing Connect: %v", err)
	}
	if got, err := os.ReadFile(ran); err != nil || string(got) != "--version\n" {
		t.Errorf("it was run with %q, %v", got, err)
	}
}
