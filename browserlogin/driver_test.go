package browserlogin

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// node and npm, which are there for the driver, get none of our settings either: one may hold the password of the database.
func TestToolsGetNoneOfOurSettings(t *testing.T) {
	dir := t.TempDir()
	seen := filepath.Join(dir, "seen")
	for name, says := range map[string]string{"node": "echo v22.0.0", "npm": "exit 1"} {
		script := "#!/bin/sh\nenv >> " + seen + "\n" + says + "\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("LATCHPOST_STORE", "postgres://ada:CANARY@db/latchpost")
	t.Setenv("PGPASSWORD", "CANARY")
	t.Setenv("NPM_CONFIG_REGISTRY", "https://npm.example")
	if err := Install(t.Context(), Options{DriverDir: filepath.Join(dir, "driver")}, nil); err == nil {
		t.Error("an npm that fails has fetched the driver")
	}
	env, err := os.ReadFile(seen)
	if err != nil || bytes.Contains(env, []byte("CANARY")) || bytes.Count(env, []byte("NPM_CONFIG_REGISTRY=https://npm.example")) != 2 {
		t.Errorf("%v: %s", err, env)
	}
}
