package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ID-017, HL-030: the desktop's browser is started without a shell, with our own link
// as its only argument, and with nothing but web addresses.
func TestOpenBrowser(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	script := "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" \"$LATCHPOST_STORE$PGPASSWORD\" > " + seen + ".new && mv " + seen + ".new " + seen + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":0")
	t.Setenv("LATCHPOST_STORE", "postgres://ada:CANARY@db/latchpost")
	t.Setenv("PGPASSWORD", "CANARY")

	for _, link := range []string{"javascript:alert(1)", "file:///etc/passwd", "-flag", "$(touch x)", "", "https://"} {
		if err := openBrowser(link); err == nil {
			t.Errorf("%q was opened", link)
		}
	}
	link := "http://127.0.0.1:7823/c/W4NUALTK3PMSNVDHKDSQIOXIXE"
	if err := openBrowser(link); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for deadline := time.Now().Add(10 * time.Second); got == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got, _ = os.ReadFile(seen)
	}
	if strings.TrimSpace(string(got)) != "1\n"+link {
		t.Errorf("the browser was given %q, want the link alone", got)
	}
}

// An interrupted sign-in is not a finished one: scripts that go on after it would fail.
func TestConnectInterruptedNeedsTheUser(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	var said strings.Builder
	s := &settings{in: strings.NewReader(""), out: io.Discard, err: writer(func(text []byte) {
		said.Write(text)
		if strings.Contains(said.String(), "/c/") {
			interrupt()
		}
	})}
	code := run(ctx, []string{"connect", "stripe", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0"}, s)
	if code != exitNeedsUser || !strings.Contains(said.String(), "run the command again") {
		t.Errorf("exit code %d, %s", code, said.String())
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
