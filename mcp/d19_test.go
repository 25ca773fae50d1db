package mcp

import (
	"fmt"
	"strings"
	"testing"
)

// A revision is agreed to, and told of, only where all that it demands is done: 2025-03-26 demands batches.
func TestRevisions(t *testing.T) {
	s := New(&fake{}, Options{})
	w := serve(t, s)
	for asked, want := range map[string]string{
		"2024-11-05": "2024-11-05", "2025-03-26": "2024-11-05", "": "2024-11-05", "2025-06-18": "2025-06-18", "2025-11-25": "2025-11-25",
		"2026-07-28": "2025-11-25", "1.0": "2025-11-25",
	} {
		open := strings.Replace(fmt.Sprintf(hello, "{}"), "2025-11-25", asked, 1)
		h, events := plug(t, s), w.stream("T1")
		h.send(open)
		w.do("POST", events.post, "T1", open)
		for way, text := range map[string]string{"stdio": fmt.Sprint(h.next()), "/mcp": w.text(w.do("POST", "/mcp", "T1", open)), "/sse": w.next(events)} {
			if !strings.Contains(strings.ReplaceAll(text, `"`, ""), "protocolVersion:"+want) {
				t.Errorf("%q over %s: %.200s", asked, way, text)
			}
		}
		h.in.Close()
		<-h.done
	}
	discover := `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	h, events := plug(t, s), w.stream("T1")
	h.send(discover)
	w.do("POST", events.post, "T1", discover)
	for way, text := range map[string]string{
		"stdio": fmt.Sprint(h.next()), "/sse": w.next(events),
		"/mcp": w.text(w.do("POST", "/mcp", "T1", discover, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "server/discover")),
	} {
		if strings.Contains(text, "2025-03-26") || !strings.Contains(text, "2024-11-05") {
			t.Errorf("over %s: %.600s", way, text)
		}
	}
}
