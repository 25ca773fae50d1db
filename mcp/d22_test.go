package mcp

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// DS-002: of what a client says of itself only what is read is kept, in a session and with a stream: it may be 4 MiB, ten times as
// much in maps, and a caller may have 64 of each.
func TestSessionsKeepLittleOfTheirClients(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	lists := `{"x":[` + strings.Repeat("[],", 50_000) + `0]}`
	capabilities := `{"experimental":` + lists + `,"extensions":` + lists + `}`
	open := strings.Replace(fmt.Sprintf(hello, capabilities), `"version":"1"`, `"version":"`+strings.Repeat("v", 200_000)+`"`, 1)
	discover := `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	before := heap()
	for range 20 {
		if res := w.do("POST", "/mcp", "T1", open); res.StatusCode != 200 {
			t.Fatalf("a session: %d", res.StatusCode)
		}
		one := w.stream("T1")
		w.do("POST", one.post, "T1", open)
		w.next(one)
		w.do("POST", one.post, "T1", discover, "Mcp-Method", "server/discover")
	}
	if kept := heap() - before; kept > 8<<20 {
		t.Errorf("%d KiB are kept for 20 sessions and 20 streams", kept>>10)
	}
}
