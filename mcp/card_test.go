package mcp

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// The card lives inside the host, that is, inside the agent's client: it loads nothing, and asks for no secret.
func TestCardStandsAlone(t *testing.T) {
	if found := regexp.MustCompile(`https?://|\bsrc=|\bhref=|@import|url\(|<input|<form|fetch\(|XMLHttpRequest|innerHTML`).FindAllString(card, -1); found != nil {
		t.Errorf("the card has %v", found)
	}
	s := New(&fake{}, Options{})
	text, err := json.Marshal(s.core.HandleMessage(t.Context(), json.RawMessage(`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"ui://latchpost/connect"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Result struct {
			Contents []struct{ URI, MIMEType, Text string }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Result.Contents) != 1 || got.Result.Contents[0].MIMEType != "text/html;profile=mcp-app" || got.Result.Contents[0].Text != card {
		t.Errorf("%.300s", text)
	}
}

// Discovery tells a client of 2026-07-28 everything it needs before its first call, and what it may keep.
func TestDiscover(t *testing.T) {
	w := serve(t, New(&fake{}, Options{Version: "1.2.3"}))
	ask := func(method string) string {
		t.Helper()
		body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
		return w.text(w.do("POST", "/mcp", "T1", body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method))
	}
	for method, want := range map[string][]string{
		"server/discover": {`"supportedVersions":["2026-07-28"`, `"2024-11-05"`, `"io.modelcontextprotocol/ui":{}`, `"instructions":"Latchpost signs in`, `"version":"1.2.3"`, `"ttlMs":300000`, `"cacheScope":"public"`, `data:image/svg+xml;base64,`},
		"tools/list":      {`"ttlMs":300000`, `"cacheScope":"public"`, `"ui":{"resourceUri":"ui://latchpost/connect","visibility":["model","app"]}`, `"ui":{"visibility":["app"]}`},
		"resources/list":  {`"ui://latchpost/connect"`, `"text/html;profile=mcp-app"`},
	} {
		text := ask(method)
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %s: %.600s", method, part, text)
			}
		}
	}
}
