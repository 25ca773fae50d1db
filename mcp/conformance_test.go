//go:build conformance

package mcp

import (
	"context"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// The official suite, three runs each: requirements are frozen per revision of the protocol, and a
// server that passes two runs of three has a race. Tasks, which it also runs and does not score, are not ours.
func TestConformance(t *testing.T) {
	node := nodeBinary(t)
	for _, suite := range []struct{ name, script, args string }{
		{"2025-11-25", "conformance-0.2", "--requirements 2025-11-25"},
		{"2026-07-28", "conformance-0.2", "--requirements 2026-07-28"},
		{"0.1.16", "conformance-0.1", "--suite active"},
	} {
		t.Run(suite.name, func(t *testing.T) {
			for range 3 {
				s, handler := Conformance(&fake{})
				web := httptest.NewServer(handler)
				args := append([]string{clientModules + "/" + suite.script + "/dist/index.js", "server", "--url", web.URL + "/mcp"}, strings.Fields(suite.args)...)
				cmd := exec.CommandContext(t.Context(), node, append(args, "-o", t.TempDir())...)
				out, err := cmd.CombinedOutput()
				_ = s.Close(context.Background())
				web.CloseClientConnections()
				web.Close()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				t.Logf("%s", tail(string(out), 12))
			}
		})
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
