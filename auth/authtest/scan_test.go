package authtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// The scanner itself must see every form, or a sweep that finds nothing means nothing.
func TestScan(t *testing.T) {
	const secret = "access_k7/q+2mzx%fp&w=a9"
	core := secret[len("access_"):]
	quoted, _ := json.Marshal(map[string]string{"t": core})
	for name, text := range map[string]string{
		"raw": "Bearer " + secret + ".", "prefix": "token k7/q+2mz… refused", "12": core[:12], "query": "?t=" + url.QueryEscape(core),
		"percent": percent(core), "hex": hex.EncodeToString([]byte("ab" + core)), "json": string(quoted), "escapes": escaped(core), "UTF-16": utf16LE(core),
		"base64 0": base64.StdEncoding.EncodeToString([]byte(core)), "base64 1": base64.StdEncoding.EncodeToString([]byte("a" + core + "z")),
		"base64 2": base64.URLEncoding.EncodeToString([]byte("ab" + core + "zz")),
	} {
		if len(Scan([]byte("before "+text+" behind"), "pin_1234", secret)) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
	if found := Scan([]byte(`{"access_token_type":"Bearer","expires_in":3600}`), secret); found != nil {
		t.Errorf("nothing there: %v", found)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.db-wal"), []byte(core), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := ScanFiles(dir, secret); err != nil || len(found) == 0 {
		t.Errorf("in a file: %v, %v", found, err)
	}
}

// A child that was told a secret is found by what it was told, and by nothing else.
func TestScanProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the command lines and environments of processes")
	}
	argument, variable, untold := rand.Text(), rand.Text(), rand.Text()
	child := exec.Command("cat", "-", argument)
	child.Env = []string{"LP_TOKEN=" + variable}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = child.Wait() }() // it complains that there is no such file
	for name, secret := range map[string]string{"argument": argument, "variable": variable} {
		if len(ScanProcesses(secret)) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
	if found := ScanProcesses(untold); found != nil {
		t.Errorf("nothing there: %v", found)
	}
}
