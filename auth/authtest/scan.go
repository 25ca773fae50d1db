package authtest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Scan looks for secrets in what was printed, stored or sent, and says in which
// form it found which, never the secret itself. The forms are: as it is, its first
// 8 characters (12 and 20 begin with them), percent-encoded, in hex, as JSON
// escapes, and in base64 at every alignment in either alphabet. What a secret has
// before its last underscore names its kind and is no secret. Secrets of less than
// eight characters are not looked for: they turn up by chance.
func Scan(data []byte, secrets ...string) (found []string) {
	folded, narrowed := bytes.ToLower(data), bytes.ReplaceAll(data, []byte{0}, nil)
	for i, secret := range secrets {
		core := secret[strings.LastIndexByte(secret, '_')+1:]
		if len(core) < 8 {
			continue
		}
		see := func(form string, hay []byte, needle string) {
			if bytes.Contains(hay, []byte(needle)) {
				found = append(found, fmt.Sprintf("secret %d, %s", i, form))
			}
		}
		see("as it is", data, core)
		see("its beginning", data, core[:8])
		see("in UTF-16", narrowed, core)
		see("percent-encoded", data, url.QueryEscape(core))
		see("percent-encoded", folded, strings.ToLower(percent(core)))
		see("in hex", folded, hex.EncodeToString([]byte(core)))
		see("as JSON escapes", folded, escaped(core))
		for shift := range 3 {
			// Characters that also hold bits of the bytes beside the secret are left out.
			shifted := strings.Repeat("x", shift) + core
			first, last := (shift*8+5)/6, len(shifted)*8/6
			see("in base64", data, base64.RawStdEncoding.EncodeToString([]byte(shifted))[first:last])
			see("in base64", data, base64.RawURLEncoding.EncodeToString([]byte(shifted))[first:last])
		}
	}
	return found
}

// ScanFiles is Scan for every file under a directory: database, write-ahead log,
// anchor, whatever is there. Each finding begins with the file.
func ScanFiles(dir string, secrets ...string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for _, f := range Scan(data, secrets...) {
			found = append(found, path+": "+f)
		}
		return err
	})
	return found, err
}

// ScanProcesses is Scan for the command line and the environment of every process on this machine that may be looked at,
// this one and its children among them. Only Linux shows them; elsewhere nothing is found.
func ScanProcesses(secrets ...string) (found []string) {
	for _, file := range []string{"cmdline", "environ"} {
		paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
		for _, path := range paths {
			data, _ := os.ReadFile(path) // it may have ended meanwhile, or belong to somebody else
			for _, f := range Scan(data, secrets...) {
				found = append(found, path+": "+f)
			}
		}
	}
	return found
}
