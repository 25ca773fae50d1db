package mcp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// MC-022: a requestState that is not good, and a file that is not there, are the client's fault on every transport: the answer has the
// code and the status of other such faults, and says what to do.
func TestFaultsOfTheClientHaveTheirCode(t *testing.T) {
	s := New(&fake{}, Options{})
	w := serve(t, s)
	session, events, h := w.session("T1", "{}"), w.stream("T1"), plug(t, s)
	h.initialize("{}")
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},`
	code := func(text string) int {
		t.Helper()
		_, event, is := strings.Cut(text, "data: ")
		if is {
			text = event
		}
		var got struct {
			ID    any
			Error struct {
				Code    int
				Message string
			}
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.ID != `"code":-32603` || strings.Contains(got.Error.Message, string(faultWord)) {
			t.Errorf("answered %s", text)
		}
		return got.Error.Code
	}
	for _, one := range []struct {
		method, name, params, token string
		legacy, modern              int
		says                        string
	}{
		{"tools/call", "list_connections", `"name":"list_connections","arguments":{},"requestState":"e30"`, "T1", -32602, -32602, "call again without it"},
		{"resources/read", "latchpost://files/AAAA", `"uri":"latchpost://files/AAAA"`, "T1", -32002, -32602, "repeat the call that brought it"},
		{"resources/read", "latchpost://files/AAAA", `"uri":"latchpost://files/AAAA"`, "T1.connect", -32002, -32602, "lacks the scope latchpost:use; sign in"},
		{"resources/read", "latchpost://others", `"uri":"latchpost://others"`, "T1", -32002, -32602, "latchpost://others"},
	} {
		ask := func(meta string) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":"\"code\":-32603","method":%q,"params":{%s%s}}`, one.method, meta, one.params)
		}
		res := w.do("POST", "/mcp", one.token, ask(meta), "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", one.method, "Mcp-Name", one.name)
		text := w.text(res)
		if got := code(text); res.StatusCode != 400 || got != one.modern || !strings.Contains(text, one.says) {
			t.Errorf("%s over HTTP: %d %s", one.params, res.StatusCode, text)
		}
		if one.token != "T1" {
			continue
		}
		res = w.do("POST", "/mcp", one.token, ask(""), "Mcp-Session-Id", session)
		if got := code(w.text(res)); res.StatusCode != 200 || got != one.legacy {
			t.Errorf("%s over HTTP of 2025: %d %d", one.params, res.StatusCode, got)
		}
		w.do("POST", events.post, one.token, ask(""))
		if got := code(w.next(events)); got != one.legacy {
			t.Errorf("%s over SSE: %d", one.params, got)
		}
		for meta, want := range map[string]int{"": one.legacy, meta: one.modern} {
			h.send(ask(meta))
			if got := code(string(<-h.lines)); got != want {
				t.Errorf("%s over stdio: %d, want %d", one.params, got, want)
			}
		}
	}
}
