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

	"github.com/latchpost/latchpost/auth/authtest"
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

func nodeBinary(t *testing.T) string {
	t.Helper()
	node, _ := authtest.MCPClients(t)
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

// Agent frameworks show their models the link, that the user has signed in, and the answer.
func TestAgentFrameworks(t *testing.T) {
	nodeBinary(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type agent struct {
		Framework string            `json:"framework"`
		URL       string            `json:"url,omitempty"`
		Token     string            `json:"token,omitempty"`
		Command   string            `json:"command,omitempty"`
		Env       map[string]string `json:"env,omitempty"`
	}
	for framework, script := range map[string]string{"langchain": "frameworks.mjs", "openai": "frameworks.mjs", "ai": "frameworks.mjs", "mastra": "mastra.mjs"} {
		for _, transport := range []string{"stdio", "http"} {
			t.Run(framework+"/"+transport, func(t *testing.T) {
				t.Parallel()
				a := agent{Framework: framework, Command: self, Env: map[string]string{asServer: "1"}}
				if transport == "http" {
					a = agent{Framework: framework, URL: serve(t, New(slowPerson(), Options{})).URL, Token: "T1"}
				}
				ask, err := json.Marshal(a)
				if err != nil {
					t.Fatal(err)
				}
				out := runNode(t, script, string(ask))
				var got struct {
					Tools []string
					Seen  []struct{ Type, Status, Body any }
				}
				if err := json.Unmarshal(out, &got); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if len(got.Tools) != len(catalogue()) || len(got.Seen) != 3 || got.Seen[0].Type != "auth_required" || got.Seen[1].Status != "connected" || got.Seen[2].Body != "hello" {
					t.Errorf("%s", out)
				}
			})
		}
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
