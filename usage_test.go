package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// OP-001: what is typed wrongly ends with 2, one clear line and where to look, and nothing is made. What is typed
// well and not there, or does not work, ends with 1.
func TestWrongUse(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for line, want := range map[string]int{
		"list --key bogus":                                     exitUsage,
		"list --key file:":                                     exitUsage,
		"doctor --key bogus":                                   exitUsage,
		"rotate-key --new-key bogus":                           exitUsage,
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
		"version x":                                            exitUsage,
		"list --key env:LATCHPOST_NO_SUCH_KEY":                 exitFailed,
		"list --providers " + data + "/nowhere":                exitFailed,
		"explain agent nosuch GET /":                           exitUsage,
		"token revoke nosuch":                                  exitFailed,
		"serve --tls-cert /nowhere --tls-key /nowhere --base-url https://a.example": exitFailed,
	} {
		var out, errs bytes.Buffer
		args := append(strings.Fields(line), "--data", data)
		if got := run(t.Context(), args, &settings{in: strings.NewReader(""), out: &out, err: &errs}); got != want {
			t.Errorf("%s: ends with %d\n%s%s", line, got, &out, &errs)
		}
		if want == exitUsage && (!strings.Contains(errs.String(), "latchpost help "+args[0]) || out.Len() > 0) {
			t.Errorf("%s says: %s%s", line, &out, &errs)
		}
	}
}
