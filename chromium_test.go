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

// Where this server cannot start a browser, nothing says that it is ready, and a sign-in that is begun all the same ends at once
// with a word for agents and a sentence for people.
func TestBrowserWithoutItsDriver(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chromium"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	agent := auth.Caller{Owner: auth.Local, Client: "agent"}
	found, err := h.vault.Providers(t.Context(), agent, "site", auth.MethodBrowser, 1)
	if err != nil || len(found) != 1 || found[0].Ready || found[0].Missing != "the browser driver: latchpost browser install" {
		t.Fatalf("%+v, %v", found, err)
	}
	id, err := requested(h.vault.Request(t.Context(), agent, auth.Wish{Provider: found[0].ID, Method: auth.MethodBrowser}))
	must(t, err)
	_, err = h.vault.Visit(auth.Visitor{Browser: browserHash}).Confirm(t.Context(), id, auth.Choice{Vars: map[string]string{"host": "shop.example.com", "done_path": "account"}})
	if !errors.Is(err, auth.ErrConfig) || !strings.Contains(err.Error(), "whoever runs it has to install the browser driver: latchpost browser install") {
		t.Errorf("pressing Connect: %v", err)
	}
	status, err := h.vault.Wait(t.Context(), agent, id, 0, nil)
	if err != nil || status.Status != auth.StatusFailed || status.Cause != "configuration" {
		t.Errorf("the agent hears %+v, %v", status, err)
	}
}
