//go:build unix

package seal_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
)

// ST-017: with a umask that forbids nothing, key and directory are for the
// owner alone.
func TestKeyFileModes(t *testing.T) {
	url, path := tempKey(t)
	old := syscall.Umask(0)
	_, err := seal.CreateKEK(t.Context(), url)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

// ST-017: a key that others can read, or replace, is refused with the command
// that mends it.
func TestLooseKeyFile(t *testing.T) {
	url, path := tempKey(t)
	if _, err := seal.CreateKEK(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, loose := range []struct {
		name  string
		modes []os.FileMode
		good  os.FileMode
		mend  string
	}{
		{path, []os.FileMode{0o640, 0o604, 0o620, 0o602, 0o644, 0o666}, 0o600, "chmod 600 " + path},
		{dir, []os.FileMode{0o770, 0o707, 0o777, 0o777 | os.ModeSticky}, 0o700, "chmod 700 " + dir},
	} {
		for _, mode := range loose.modes {
			chmod(t, loose.name, mode)
			if _, err := seal.OpenKEK(t.Context(), url); err == nil || !strings.Contains(err.Error(), loose.mend) {
				t.Errorf("%s with mode %v: OpenKEK = %v; want %q", loose.name, mode, err, loose.mend)
			}
		}
		chmod(t, loose.name, loose.good)
	}
	chmod(t, path, 0o400)
	if _, err := seal.OpenKEK(t.Context(), url); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
	chmod(t, dir, 0o777)
	if _, err := seal.CreateKEK(t.Context(), url+"2"); err == nil {
		t.Error("CreateKEK in a directory open to all succeeded")
	}
}

// ST-017: a symbolic link stands for the key or its directory; so does
// something that is no file.
func TestLinkedKeyFile(t *testing.T) {
	url, path := tempKey(t)
	if _, err := seal.CreateKEK(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	link, linkedDir, dangling := filepath.Join(other, "key"), filepath.Join(other, "keys"), filepath.Join(other, "dangling")
	for from, to := range map[string]string{link: path, linkedDir: filepath.Dir(path), dangling: filepath.Join(other, "nothing")} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	fifo := filepath.Join(other, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{link, filepath.Join(linkedDir, filepath.Base(path)), fifo, other} {
		if _, err := seal.OpenKEK(t.Context(), "file:"+p); err == nil {
			t.Errorf("OpenKEK(%s) succeeded", p)
		}
	}
	for _, p := range []string{dangling, filepath.Join(linkedDir, "new")} {
		if _, err := seal.CreateKEK(t.Context(), "file:"+p); err == nil {
			t.Errorf("CreateKEK(%s) succeeded", p)
		}
	}
	if _, err := os.Lstat(filepath.Join(other, "nothing")); !os.IsNotExist(err) {
		t.Error("CreateKEK wrote through a link")
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
