//go:build unix

package providers

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// PD-005: what is no file is not waited for.
func TestDefinitionThatIsAPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "acme.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "acme.json: is not a file") {
		t.Errorf("%v", err)
	}
}
