//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// ST-017: with a umask that forbids nothing, whatever the running house leaves anywhere is for its owner alone: store, key,
// record, locks, sockets and temporary files.
func TestNothingIsOpenToOthers(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	keepCanary(t, func(c *canary) {
		c.connect(map[string]any{"provider": "practice"}, &authtest.Browser{})
		c.do("call_api", map[string]any{"provider": "practice", "path": "/content/binary"})
		c.says(exitDone, "backup", filepath.Join(filepath.Dir(c.data), "saved.db"))
		home := filepath.Dir(c.data)
		seen := map[string]bool{}
		for _, dir := range []string{home, temporary} {
			err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err != nil || path == dir { // the test's own
					return err
				}
				info, err := os.Lstat(path)
				if err != nil {
					return err
				}
				if mode := info.Mode(); mode.Perm()&0o077 != 0 || mode.IsRegular() && mode.Perm() != 0o600 || mode.IsDir() && mode.Perm() != 0o700 {
					t.Errorf("%s is %s", path, mode)
				}
				seen[strings.TrimPrefix(path, home+"/")] = true
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{"data", "data/latchpost.db", "data/latchpost.db-wal", "data/latchpost.db-shm", "data-key/master.key", "saved.db"} {
			if !seen[want] {
				t.Errorf("%s was not looked at: %v", want, seen)
			}
		}
	})
}
