package main

import (
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
	script := "#!/bin/sh\nprintf '%s\\n' \"$#\" \"$@\" > " + seen + ".new && mv " + seen + ".new " + seen + "\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":0")

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
		t.Errorf("the browser's arguments were %q, want the link alone", got)
	}
}
