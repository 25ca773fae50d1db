package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// garbage is what MC-001 names, and its neighbours.
func garbage() (all []string) {
	call := legacyCall("call_api", `{"provider":"p","path":"/"}`)
	for _, id := range []string{"null", "1e400", "{}", "[]", "true", "-0", "1.5", "9007199254740993", `""`, `"\ud800"`, `"` + strings.Repeat("x", 1<<20) + `"`} {
		all = append(all, strings.Replace(call, `"id":2`, `"id":`+id, 1))
	}
	for _, params := range []string{`null`, `[]`, `7`, `{"name":null}`, `{"name":["call_api"]}`, `{"name":"call_api","arguments":[]}`, `{"name":"call_api","arguments":"{}"}`,
		`{"name":"call_api","_meta":null}`, `{"name":"call_api","_meta":{"progressToken":{}}}`, `{"name":"call_api","_meta":{"io.modelcontextprotocol/protocolVersion":7}}`,
		`{"name":"call_api","arguments":{"provider":"\ud800","path":"/\udfff"}}`, `{"name":"call_api","requestState":7}`, `{"name":"call_api","inputResponses":[null]}`, `{"uri":"\u0000"}`} {
		for _, method := range []string{"tools/call", "resources/read", "initialize", "server/discover", "logging/setLevel", "completion/complete", "subscriptions/listen", "resources/subscribe",
			"prompts/get", "tasks/get", "notifications/cancelled", "rpc.discover"} {
			all = append(all, fmt.Sprintf(`{"jsonrpc":"2.0","id":3,"method":%q,"params":%s}`, method, params))
		}
	}
	return append(all, "["+call+","+call+"]", "[]", call+call, `{"jsonrpc":"2.0"}`, `{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, "\xff\xfe", "\x00", "\ufeff"+call,
		strings.Repeat(`{"a":`, 20000)+"1"+strings.Repeat("}", 20000), strings.Repeat("[", 20000), strings.Replace(call, "/", "/\xff", 1), strings.Replace(call, `"path":"/"`, `"path":"\ud83d"`, 1),
		strings.Replace(call, `"/"`, `"`+strings.Repeat("/x", 5<<20)+`"`, 1), strings.Replace(call, `"2.0"`, `2.0`, 1), strings.Replace(call, "tools/call", `tools\/call`, 1))
}

// promptly is how soon whatever comes in has its answer, on a machine with other things to do.
const promptly = 5 * time.Second

// MC-001: whatever comes in, over stdio and HTTP, through all that stands behind the checks as well, is answered with
// JSON-RPC or a 4xx, in time, and the next client finds the server as it was.
func FuzzMessages(f *testing.F) {
	for _, text := range garbage() {
		f.Add([]byte(text))
	}
	s := New(&fake{}, Options{})
	web := s.HTTP(HTTPOptions{Identify: Bearer((&users{}).verify)})
	f.Cleanup(func() { _ = s.Close(context.Background()) })
	post := func(t *testing.T, body string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), promptly)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, "POST", "http://127.0.0.1/mcp", strings.NewReader(body))
		for i, all := 0, append([]string{"Authorization", "Bearer T1", "Content-Type", "application/json"}, header...); i < len(all); i += 2 {
			r.Header.Set(all[i], all[i+1])
		}
		rec := httptest.NewRecorder()
		web.ServeHTTP(rec, r)
		if ctx.Err() != nil {
			t.Errorf("%.300q took longer than %s", body, promptly)
		}
		return rec
	}
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	go func() { _ = s.Stdio(context.Background(), in, out) }()
	f.Cleanup(func() { _ = toServer.Close(); _ = fromServer.Close() })
	lines := make(chan []byte, 10000)
	go func() {
		scan := bufio.NewScanner(fromServer)
		scan.Buffer(nil, 64<<20)
		for scan.Scan() {
			lines <- bytes.Clone(scan.Bytes())
		}
	}()
	pings := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		pings++
		go func() {
			_, _ = fmt.Fprintf(toServer, "%s\n{\"jsonrpc\":\"2.0\",\"id\":\"ping %d\",\"method\":\"ping\"}\n", data, pings)
		}()
		for id := any(nil); id != fmt.Sprint("ping ", pings); {
			var m map[string]any
			select {
			case line := <-lines:
				if json.Unmarshal(line, &m) != nil || m["jsonrpc"] != "2.0" {
					t.Fatalf("on stdout: %.300q", line)
				}
			case <-time.After(promptly):
				t.Fatalf("no answer to ping after %.300q", data)
			}
			id = m["id"]
		}
		session := post(t, fmt.Sprintf(hello, "{}")).Header().Get("Mcp-Session-Id")
		for _, header := range [][]string{nil, {"Mcp-Session-Id", session}, {"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "call_api"}} {
			rec := post(t, string(data), header...)
			text := rec.Body.String()
			if stream := strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream"); stream {
				_, text, _ = strings.Cut(text, "data: ")
				text, _, _ = strings.Cut(text, "\n")
			}
			good := rec.Code == http.StatusOK && json.Valid([]byte(text)) || rec.Code == http.StatusAccepted && text == "" || rec.Code >= 400 && rec.Code < 500
			if !good {
				t.Errorf("%.300q with %v: %d %.300q", data, header, rec.Code, text)
			}
		}
		if rec := post(t, modernCall("list_connections", "{}", "{}", ""), "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "list_connections"); rec.Code != http.StatusOK {
			t.Errorf("after %.300q: %d %s", data, rec.Code, rec.Body)
		}
	})
}

// MC-001: what is left of a message that is JSON names the same asker as the whole, wherever it is read in two pieces.
func FuzzOutline(f *testing.F) {
	for _, text := range garbage() {
		if len(text) < 1<<16 {
			f.Add([]byte(text), 7)
		}
	}
	for _, text := range []string{`{"a":"\"id\":6}","id":5}`, `{"a":{"id":6},"id":"\u005c\""}`, `{"\u0069d":5,"result":[{"method":"x"}]}`, `{"id":5}{`, `}{"id":5}`, `{"id":5,"a":[}`} {
		f.Add([]byte(text), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		var o outline
		at := min(max(cut, 0), len(data))
		o.add(data[:at])
		o.add(data[at:])
		if !json.Valid(data) || !json.Valid(o.kept) { // a key that is too long leaves no JSON, and nobody is told anything
			return
		}
		id, answers := asker(o.kept)
		wantID, wantAnswers := asker(data)
		if string(id) != string(wantID) || answers != wantAnswers {
			t.Errorf("%q: %s %v, want %s %v", data, id, answers, wantID, wantAnswers)
		}
	})
}
