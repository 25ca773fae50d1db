package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// OP-001: what is typed wrongly ends with 2, one clear line and where to look, and nothing is made. What is typed
// well and not there, or does not work, ends with 1.
func TestWrongUse(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	must(t, newHouse(t, data, freePort(t)).Close())
	for line, want := range map[string]int{
		"list --key bogus":                                     exitUsage,
		"list --key file:":                                     exitUsage,
		"list --key keyring:latchpost":                         exitUsage,
		"list --key keyring:/me":                               exitUsage,
		"app set nosuch --client-id x":                         exitFailed,
		"app list github":                                      exitUsage,
		"token create --client a --life soon":                  exitUsage,
		"serve --notify-command /nowhere":                      exitFailed,
		"list --store sqlite:" + filepath.Dir(data):            exitFailed,
		"restore /nowhere":                                     exitFailed,
		"restore " + filepath.Dir(data):                        exitFailed,
		"restore usage_test.go":                                exitFailed,
		"doctor --key bogus":                                   exitUsage,
		"rotate-key --new-key bogus":                           exitUsage,
		"migrate":                                              exitUsage,
		"migrate --to bogus":                                   exitUsage,
		"migrate somewhere":                                    exitUsage,
		"list --store bogus":                                   exitUsage,
		"list --store sqlite:":                                 exitUsage,
		"doctor --store mysql://db":                            exitUsage,
		"stdio --browser firefox":                              exitUsage,
		"stdio --browser cdp:nowhere":                          exitUsage,
		"doctor --log-level loud":                              exitUsage,
		"stdio --listen here":                                  exitUsage,
		"serve --base-url http://a.example":                    exitUsage,
		"serve --oidc-issuer nonsense":                         exitUsage,
		"serve --oidc-issuer https://a.example --resource mcp": exitUsage,
		"serve --resource mcp":                                 exitUsage,
		"serve --resource https://a.example/{mcp":              exitUsage,
		"serve --resource https://a.example/%7Ba%7D":           exitUsage,
		"serve --resource https://ada@a.example/mcp":           exitUsage,
		"serve --behind-proxy x --base-url https://a.example":  exitUsage,
		"connect github --method bogus":                        exitUsage,
		"token create --client a --scopes bogus":               exitUsage,
		"revoke nosuch":                                        exitFailed,
		"connect nosuch --listen 127.0.0.1:0":                  exitFailed,
		"serve --release nosuch":                               exitFailed,
		"serve --metrics-listen 127.0.0.1:99999":               exitUsage,
		"version x":                                            exitUsage,
		"list --key env:LATCHPOST_NO_SUCH_KEY":                 exitFailed,
		"list --providers " + data + "/nowhere":                exitFailed,
		"explain agent nosuch GET /":                           exitFailed,
		"token revoke nosuch":                                  exitFailed,
		"serve --tls-cert /nowhere --tls-key /nowhere --base-url https://a.example": exitFailed,
	} {
		var out, errs bytes.Buffer
		args := append(strings.Fields(line), "--data", data)
		if got := run(t.Context(), args, &settings{in: strings.NewReader(""), out: &out, err: &errs}); got != want {
			t.Errorf("%s: ends with %d\n%s%s", line, got, &out, &errs)
		}
		for _, inside := range []string{"netip.", "parse error", "copy_file_range", "chmod 700", "store " + data} { // of the libraries, or of another fault
			if strings.Contains(errs.String(), inside) {
				t.Errorf("%s says: %s", line, &errs)
			}
		}
		if want == exitUsage && (!strings.Contains(errs.String(), "latchpost help "+args[0]) || out.Len() > 0) {
			t.Errorf("%s says: %s%s", line, &out, &errs)
		}
	}
}

// A command that was interrupted, or whose answer went nowhere, is not done: it ends with 1 and says so.
func TestNotDone(t *testing.T) {
	data := t.TempDir()
	must(t, newHouse(t, data, freePort(t)).Close())
	interrupted, stop := context.WithCancel(t.Context())
	stop()
	for _, line := range []string{
		"list", "providers", "version", "notify-key", "owner-link", "token create --client a", "token list", "app list", "audit verify", "audit export", "audit tail",
		"audit trim", "backup " + data + "/copy", "rotate-key --new-key file:" + data + "/new", "migrate --to sqlite:" + data + "/moved/latchpost.db", "install cursor --print", "doctor",
	} {
		args := append(strings.Fields(line), "--data", data)
		var out, errs bytes.Buffer
		if line != "version" && !strings.HasPrefix(line, "install") && line != "doctor" {
			if got := run(interrupted, args, &settings{in: strings.NewReader(""), out: &out, err: &errs}); got != exitFailed || !strings.Contains(errs.String(), "interrupted") {
				t.Errorf("%s, interrupted: ends with %d and says %s%s", line, got, &out, &errs)
			}
		}
		errs.Reset()
		if strings.HasPrefix(line, "rotate-key") {
			continue
		}
		if got := run(t.Context(), args, &settings{in: strings.NewReader(""), out: noRoom{}, err: &errs}); got != exitFailed || !strings.Contains(errs.String(), "no room") {
			t.Errorf("%s > /dev/full: ends with %d and says %s", line, got, &errs)
		}
	}
}

type noRoom struct{}

func (noRoom) Write([]byte) (int, error) { return 0, errors.New("no room") }
