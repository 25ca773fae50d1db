package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// host is an MCP client on the other end of the pipes.
type host struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan []byte
	done  chan error
	seq   int
}

// plug starts s over stdio.
func plug(t *testing.T, s *Server) *host {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	h := &host{t: t, in: inW, lines: make(chan []byte, 10000), done: make(chan error, 1)}
	go func() {
		h.done <- s.Stdio(t.Context(), inR, outW)
		outW.Close()
	}()
	go func() {
		defer close(h.lines)
		scan := bufio.NewScanner(outR)
		scan.Buffer(nil, 64<<20)
		for scan.Scan() {
			h.lines <- bytes.Clone(scan.Bytes())
		}
	}()
	t.Cleanup(func() {
		inW.Close()
		for range h.lines { // nothing may be left waiting on the pipe
		}
	})
	return h
}

func (h *host) send(line string) {
	h.t.Helper()
	if _, err := io.WriteString(h.in, line+"\n"); err != nil {
		h.t.Fatal(err)
	}
}

// next gives the next message, which must be JSON-RPC.
func (h *host) next() map[string]any {
	h.t.Helper()
	line, ok := <-h.lines
	if !ok {
		h.t.Fatal("the server hung up")
	}
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil || m["jsonrpc"] != "2.0" {
		h.t.Fatalf("not JSON-RPC on stdout: %q", line)
	}
	return m
}

func (h *host) initialize(capabilities string) {
	h.send(`{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":` + capabilities + `,"clientInfo":{"name":"test host","version":"1"}}}`)
	if m := h.next(); m["result"] == nil {
		h.t.Fatalf("initialize: %v", m)
	}
	h.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// call calls a tool and gives structuredContent.
func (h *host) call(tool, args string) map[string]any {
	h.t.Helper()
	h.seq++
	h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, h.seq, tool, args))
	return h.answer()
}

func (h *host) answer() map[string]any {
	h.t.Helper()
	m := h.next()
	result, ok := m["result"].(map[string]any)
	if !ok {
		h.t.Fatalf("no result: %v", m)
	}
	structured, ok := result["structuredContent"].(map[string]any)
	if !ok {
		h.t.Fatalf("no structuredContent: %v", result)
	}
	text := result["content"].([]any)[0].(map[string]any)["text"].(string)
	var again map[string]any
	if err := json.Unmarshal([]byte(text), &again); err != nil || fmt.Sprint(again) != fmt.Sprint(structured) {
		h.t.Fatalf("content and structuredContent differ: %s", text)
	}
	if isError := result["isError"] == true; isError != (structured["type"] == "error") {
		h.t.Fatalf("isError %v for %v", isError, structured["type"])
	}
	return structured
}

func TestStdioAnswersEveryTool(t *testing.T) {
	broker := &fake{has: []auth.Info{{Provider: "practice", Account: "ada", State: auth.Active}}}
	h := plug(t, New(broker, Options{}))
	h.initialize("{}")
	for _, tt := range []struct{ tool, args, want string }{
		{"list_providers", `{"query":"git"}`, "providers"},
		{"request_auth", `{"provider":"practice","scopes":["read"]}`, "connected"},
		{"wait_for_auth", `{"request_id":"R","wait_seconds":0}`, "auth_status"},
		{"get_credential", `{"provider":"practice"}`, "credential"},
		{"call_api", `{"provider":"practice","path":"/me"}`, "response"},
		{"list_connections", `{}`, "connections"},
		{"revoke", `{"provider":"practice","account":"ada"}`, "revoked"},
	} {
		if got := h.call(tt.tool, tt.args); got["type"] != tt.want {
			t.Errorf("%s: %v", tt.tool, got)
		}
	}
	if c := broker.lastCaller(); c.Owner != auth.Local || c.Client != "test host" || c.Verified {
		t.Errorf("caller over stdio: %+v", c)
	}
}

// A client that does not wait for the answer to initialize has its name in its first call all the same, and one that says
// nothing more has its answer.
func TestStdioCallsBehindInitialize(t *testing.T) {
	opens := fmt.Sprintf(hello, "{}")
	for range 40 {
		broker := &fake{}
		h := plug(t, New(broker, Options{}))
		h.send(opens + "\n" + `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n" + legacyCall("list_connections", "{}"))
		if first, second := h.next(), h.next(); first["id"] != 1.0 || second["id"] != 2.0 {
			t.Fatalf("answered %v, %v", first["id"], second["id"])
		}
		if c := broker.lastCaller(); c.Client != "host" {
			t.Fatalf("the call is by %s", c.Client)
		}
		h.in.Close()
		<-h.done
	}
	h := plug(t, New(&fake{}, Options{}))
	h.send(opens)
	h.in.Close()
	if m := h.next(); m["result"] == nil {
		t.Errorf("initialize alone: %v", m)
	}
	if err := <-h.done; err != nil {
		t.Error(err)
	}
}

// A client of 2026-07-28 names itself in every request.
func TestStdioCallerOfTheModernProtocol(t *testing.T) {
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	h.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_connections","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"new` + "\u202e" + `[x](https://evil.example) host","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`)
	h.answer()
	if c := broker.lastCaller(); c.Client != "newxhttps:evil.example host" {
		t.Errorf("client is %q", c.Client)
	}
}

// MC-002: what mcp-go would read in another way than we do never reaches it.
func TestStdioRefusesAmbiguousKeys(t *testing.T) {
	broker := &fake{}
	h := plug(t, New(broker, Options{}))
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_providers","NAME":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call","params":{"name":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"METHOD":"tools/call","params":{"name":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_providers","\u006eame":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_providers","name":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"get_credential","arguments":{"provider":"p"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_credential","arguments":{"provider":"p","PROVIDER":"q"}}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_credential","arguments":{"provider":"p"}}}]`,
		`{"jsonrpc":"2.0","id":null,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1e400,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":{},"method":"ping"}`,
	} {
		h.send(line)
		m := h.next()
		if e, _ := m["error"].(map[string]any); e == nil || e["code"] != float64(-32600) {
			t.Errorf("%s\nanswered %v", line, m)
		}
	}
	if len(broker.callers) > 0 {
		t.Error("a refused message was executed")
	}
}

// MC-005: a line without an end is read to its end, which costs no more memory than a message may have, refused, and the
// next one understood.
func TestStdioBoundsALine(t *testing.T) {
	h := plug(t, New(&fake{}, Options{}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		part := bytes.Repeat([]byte("x"), 1<<20)
		for range 256 {
			if _, err := h.in.Write(part); err != nil {
				return
			}
		}
		_, _ = io.WriteString(h.in, "\n"+`{"jsonrpc":"2.0","id":7,"method":"ping"}`+"\n")
	}()
	if m := h.next(); m["error"] == nil {
		t.Errorf("a line of 256 MiB: %v", m)
	}
	runtime.ReadMemStats(&after)
	if grown := (after.TotalAlloc - before.TotalAlloc) >> 20; grown > 64 { // 4 MiB, in a buffer that grows
		t.Errorf("%d MiB were allocated for it", grown)
	}
	if m := h.next(); m["id"] != float64(7) || m["result"] == nil {
		t.Errorf("after it: %v", m)
	}
}

// MC-001: a call that is refused fails, and does not hang: the answer has its id, wherever that stands, and never another that
// stands in an argument.
func TestStdioRefusesUnderTheIDOfTheCall(t *testing.T) {
	h := plug(t, New(&fake{}, Options{}))
	deep, long := strings.Repeat("[", 70)+strings.Repeat("]", 70), `"`+strings.Repeat("x", 5<<20)+`"`
	const params = `"jsonrpc":"2.0","method":"tools/call","params":{"name":"call_api","arguments":{"provider":"p","path":"/","id":6,"body":%s}}`
	for line, want := range map[string]string{
		`{"id":5,` + fmt.Sprintf(params, `{"a":1,"A":2}`) + `}`:           `5`,
		`{` + fmt.Sprintf(params, deep) + `,"id":"five"}`:                 `"five"`,
		`{` + fmt.Sprintf(params, long) + `,"id":5}`:                      `5`,
		`{"id":"five",` + fmt.Sprintf(params, long) + `}`:                 `"five"`,
		`{` + fmt.Sprintf(params, long) + `}`:                             `null`,
		`{"id":5,"id":5,` + fmt.Sprintf(params, long) + `}`:               `null`,
		`{"id":5,"Id":7,` + fmt.Sprintf(params, "1") + `}`:                `null`,
		`{"x":"\",\"id\":6,\"","id":5,` + fmt.Sprintf(params, long) + `}`: `5`,
		`{"x":` + long + `,"id":5}`:                                       `5`,
		`{"id":` + long + `}`:                                             `null`,
		`{"id":5,` + fmt.Sprintf(params, long):                            `null`, // it has no end
		`[{"id":5,` + fmt.Sprintf(params, long) + `}]`:                    `null`,
		`{"id":9007199254740993,"jsonrpc":"2.0","method":"ping"}`:         `9007199254740993`,
		`{"id":1.5,"jsonrpc":"2.0","method":"ping"}`:                      `1.5`,
		`{"id":{"id":6},"jsonrpc":"2.0","method":"ping"}`:                 `null`,
		`{"id":null,"jsonrpc":"2.0","method":"ping"}`:                     `null`,
		`{"id":5,"jsonrpc":"2.0","method":"ping","METHOD":"ping"}`:        `5`,
		`{"id":5,"jsonrpc":"2.0","method":ping}`:                          `null`,
	} {
		h.send(line)
		var got struct{ ID, Error json.RawMessage }
		if err := json.Unmarshal(<-h.lines, &got); err != nil || string(got.ID) != want || got.Error == nil {
			t.Errorf("%.80s … was answered under %s (%v), want %s", line, got.ID, err, want)
		}
	}
}

// MC-007: a panic is an internal error with an id; its value goes nowhere.
func TestPanicStaysInside(t *testing.T) {
	var log bytes.Buffer
	broker := &fake{call: func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) { panic("CANARY") }}
	s := New(broker, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	h := plug(t, s)
	h.initialize("{}")
	got := h.call("call_api", `{"provider":"p","path":"/"}`)
	message := fmt.Sprint(got["message"])
	if got["code"] != "internal" || !strings.HasPrefix(message, "internal error ") || strings.Contains(fmt.Sprint(got), "CANARY") {
		t.Errorf("answered %v", got)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(message, "internal error "), ";")
	if text := log.String(); !strings.Contains(text, id) || strings.Contains(text, "CANARY") || !strings.Contains(text, "stack=") {
		t.Errorf("logged %s", text)
	}
	if got := h.call("list_connections", `{}`); got["type"] != "connections" {
		t.Errorf("after the panic: %v", got)
	}
}

// explosive is a broker in which everything panics.
type explosive struct{}

func (explosive) Providers(context.Context, auth.Caller, string, string, int) ([]auth.ProviderInfo, error) {
	panic("CANARY")
}

func (explosive) Request(context.Context, auth.Caller, auth.Wish) (*auth.Info, error) {
	panic("CANARY")
}

func (explosive) Wait(context.Context, auth.Caller, string, time.Duration, func(auth.Status)) (*auth.Status, error) {
	panic("CANARY")
}

func (explosive) Get(context.Context, auth.Caller, auth.Need) (*auth.Handle, error) { panic("CANARY") }

func (explosive) Call(context.Context, auth.Caller, auth.Call) (*auth.Response, error) {
	panic("CANARY")
}

func (explosive) List(context.Context, auth.Caller, string) ([]auth.Info, error) { panic("CANARY") }

func (explosive) Revoke(context.Context, auth.Caller, auth.Unwanted) (*auth.Ended, error) {
	panic("CANARY")
}

// MC-007: whichever handler panics, on every transport the client is told of an internal error, hears nothing of the
// value, and is served on.
func TestEveryPanicStaysInside(t *testing.T) {
	var log bytes.Buffer
	var broken atomic.Bool
	s := New(explosive{}, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time {
		if broken.Load() {
			panic("CANARY")
		}
		return time.Now()
	}})
	w := serve(t, s)
	session, events, h := w.session("T1", "{}"), w.stream("T1"), plug(t, s)
	h.initialize("{}")
	ask := func(method, name, params string) {
		t.Helper()
		request := fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":%q,"params":{%s}}`, method, params)
		modern := strings.Replace(request, `"params":{`, `"params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}},`, 1)
		h.send(request)
		answers := map[string]string{
			"stdio": fmt.Sprint(h.next()),
			"/mcp":  w.text(w.do("POST", "/mcp", "T1", modern, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method, "Mcp-Name", name)),
		}
		w.do("POST", events.post, "T1", request)
		answers["/sse"] = w.next(events)
		if !broken.Load() { // the clock is read in front of mcp-go as well, where auth/guard catches what panics
			answers["/mcp of 2025"] = w.text(w.do("POST", "/mcp", "T1", request, "Mcp-Session-Id", session))
		}
		for way, text := range answers {
			if !strings.Contains(text, "internal error ") || strings.Contains(text, "CANARY") {
				t.Errorf("%s over %s: %s", name, way, text)
			}
		}
	}
	for _, tool := range catalogue() {
		args := map[string]string{"call_api": `"provider":"p","path":"/"`, "wait_for_auth": `"request_id":"R"`, "auth_status": `"request_id":"R"`, "list_providers": ""}
		some, special := args[tool.name]
		if !special {
			some = `"provider":"p"`
		}
		ask("tools/call", tool.name, fmt.Sprintf(`"name":%q,"arguments":{%s}`, tool.name, some))
	}
	broken.Store(true)
	ask("resources/read", "latchpost://files/AAAA", `"uri":"latchpost://files/AAAA"`)
	if text := log.String(); strings.Contains(text, "CANARY") || !strings.Contains(text, "stack=") {
		t.Errorf("logged %s", text)
	}
}

// MC-009: whatever comes in, only JSON-RPC comes out (next checks each line).
func TestStdioSpeaksOnlyJSONRPC(t *testing.T) {
	h := plug(t, New(&fake{}, Options{}))
	for _, line := range []string{"hello", `{"jsonrpc":"2.0","id":1}`, `"x"`, `nul`, `{"jsonrpc":"1.0","id":1,"method":"ping"}`, "\xff\xfe",
		`{"jsonrpc":"2.0","id":1,"method":"no/such"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"no_such_tool"}}`,
		strings.Repeat("[", 20000), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":7}`} {
		h.send(line)
		if m := h.next(); m["error"] == nil {
			t.Errorf("%.40q: %v", line, m)
		}
	}
	h.send("")
	h.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	if m := h.next(); m["id"] != float64(2) {
		t.Errorf("after the noise: %v", m)
	}
}

// An answer that nobody waits for any more, as of a user who took too long, or that is not in order, is not answered: the client
// may have asked something under the same id. HTTP has a status for what is not in order.
func TestLateAnswersAreNotAnswered(t *testing.T) {
	s := New(&fake{}, Options{})
	h, w := plug(t, s), serve(t, s)
	h.initialize("{}")
	session := w.session("T1", "{}")
	for _, wrong := range []string{`"id":7,"result":null`, `"id":7,"error":null`, `"id":7,"error":7`, `"id":7,"result":{},"error":{}`, `"id":7,"result":null,"error":{}`,
		`"id":7,"result":{"a":1,"A":2}`, `"id":null,"error":{"code":-32700,"message":"Parse error"}`, `"id":7,"result":{"x":"` + strings.Repeat("x", maxMessage) + `"}`} {
		h.send(`{"jsonrpc":"2.0",` + wrong + `}`)
		h.send(`{"jsonrpc":"2.0","id":8,"method":"ping"}`)
		if m := h.next(); m["id"] != float64(8) {
			t.Errorf("%.60s was answered %v", wrong, m)
			h.next()
		}
		if res := w.do("POST", "/mcp", "T1", `{"jsonrpc":"2.0",`+wrong+`}`, "Mcp-Session-Id", session); res.StatusCode < 400 || strings.Contains(w.text(res), `"id":7`) {
			t.Errorf("%.60s over HTTP: %d", wrong, res.StatusCode)
		}
	}
	h.send(`{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}`) // nobody knows what it is
	if m := h.next(); m["id"] != nil || m["error"] == nil {
		t.Errorf("a question with an answer was answered %v", m)
	}
	events := w.stream("T1")
	for _, late := range []string{`"error":{"code":-32000,"message":"timed out"}`, `"result":{"action":"cancel"}`, `"result":{}`, `"result":{},"error":null`} {
		late = `{"jsonrpc":"2.0","id":7,` + late + `}`
		ping := `{"jsonrpc":"2.0","id":8,"method":"ping"}`
		h.send(late)
		h.send(ping)
		if m := h.next(); m["id"] != float64(8) {
			t.Errorf("over stdio %s was answered %v", late, m)
			h.next()
		}
		w.do("POST", events.post, "T1", late)
		w.do("POST", events.post, "T1", ping)
		if text := w.next(events); !strings.Contains(text, `"id":8`) {
			t.Errorf("over SSE %s was answered %s", late, text)
			w.next(events)
		}
	}
}

// Every call that was read before the end of input has its answer.
func TestStdioDrains(t *testing.T) {
	h := plug(t, New(&fake{}, Options{}))
	const n = 500
	for i := range n {
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"list_connections","arguments":{}}}`, i))
	}
	h.in.Close()
	got := 0
	for range h.lines {
		got++
	}
	if got != n {
		t.Errorf("%d of %d calls answered", got, n)
	}
	if err := <-h.done; err != nil {
		t.Errorf("Stdio: %v", err)
	}
}

// unread is a pipe that nobody reads: a write lasts until it is closed.
type unread struct {
	begun chan struct{}
	until chan struct{}
}

func (u *unread) Write(p []byte) (int, error) {
	u.begun <- struct{}{}
	<-u.until
	return 0, io.ErrClosedPipe
}

// A host that stops reading, and tells the process to end or closes its side, does not keep it.
func TestStdioEndsThoughNobodyReads(t *testing.T) {
	for name, end := range map[string]func(cancel func(), in *io.PipeWriter){
		"context": func(cancel func(), _ *io.PipeWriter) { cancel() },
		"input":   func(_ func(), in *io.PipeWriter) { in.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in, host := io.Pipe()
			defer host.Close()
			out := &unread{make(chan struct{}, 10), make(chan struct{})}
			defer close(out.until)
			done := make(chan error, 1)
			go func() { done <- New(&fake{}, Options{}).Stdio(ctx, in, out) }()
			if _, err := io.WriteString(host, legacyCall("list_connections", "{}")+"\n"); err != nil {
				t.Fatal(err)
			}
			<-out.begun
			end(cancel, host)
			select {
			case err := <-done:
				if !errors.Is(err, ctx.Err()) {
					t.Error(err)
				}
			case <-time.After(drainTime + endTime + 20*time.Second):
				t.Error("it goes on")
			}
		})
	}
}

// MC-028 over stdio: notifications/cancelled ends the call within a second, and a call that was cancelled leaves room
// for another.
func TestStdioCancels(t *testing.T) {
	started, stopped := make(chan struct{}), make(chan struct{}, 1)
	broker := &fake{call: func(ctx context.Context, _ auth.Caller, _ auth.Call) (*auth.Response, error) {
		started <- struct{}{}
		<-ctx.Done()
		stopped <- struct{}{}
		return nil, ctx.Err()
	}}
	h := plug(t, New(broker, Options{}))
	for i := range 2 * maxDue {
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"call_api","arguments":{"provider":"p","path":"/"}}}`, i))
		select {
		case <-started:
		case m := <-h.lines:
			t.Fatalf("call %d did not start: %s", i, m)
		}
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i))
		select {
		case <-stopped:
		case <-time.After(time.Second):
			t.Fatal("the call goes on")
		}
		if m := h.next(); m["id"] != float64(i) {
			t.Fatalf("answered %v", m)
		}
	}
}

// MC-028: notifications/cancelled counts right behind its call too, which may not have begun, and for that call alone: another
// under the same id afterwards runs.
func TestStdioCancelsWhatHasNotBegun(t *testing.T) {
	broker := &fake{wait: func(ctx context.Context, id string, d time.Duration, _ func(auth.Status)) (*auth.Status, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(d):
			return &auth.Status{RequestID: id, Status: auth.StatusPending}, nil
		}
	}}
	h := plug(t, New(broker, Options{}))
	h.initialize("{}")
	ask := func(id string, seconds int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"wait_for_auth","arguments":{"request_id":"R","wait_seconds":%d}}}`, id, seconds)
	}
	for i := range 100 {
		id := fmt.Sprint(i)
		if i%2 == 0 {
			id = `"\u0061` + id + `"`
		}
		h.send(ask(id, 25) + "\n" + `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
		if got := h.answer(); got["code"] != "cancelled" {
			t.Fatalf("call %s: %v", id, got)
		}
		h.send(ask(id, 0))
		if got := h.answer(); got["status"] != "pending" {
			t.Fatalf("the next call %s: %v", id, got)
		}
	}
	for _, id := range []string{"null", "{}", "[1]", "true", `"no such call"`} {
		h.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
	}
	h.send(ask("1000", 0))
	if got := h.answer(); got["status"] != "pending" {
		t.Errorf("after cancels of nothing: %v", got)
	}
}

// MC-029: more calls than fit are answered as busy, and the rest of the protocol goes on.
func TestStdioTooManyCalls(t *testing.T) {
	hold := make(chan struct{})
	broker := &fake{call: func(ctx context.Context, _ auth.Caller, _ auth.Call) (*auth.Response, error) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return &auth.Response{Status: 200, Text: true}, nil
	}}
	h := plug(t, New(broker, Options{}))
	const n = 5000
	go func() {
		for i := range n {
			_, _ = fmt.Fprintf(h.in, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"call_api","arguments":{"provider":"p","path":"/"}}}`+"\n", i)
		}
		_, _ = io.WriteString(h.in, `{"jsonrpc":"2.0","id":"ping","method":"ping"}`+"\n"+`{"jsonrpc":"2.0","id":"list","method":"tools/list"}`+"\n")
	}()
	busy, others := 0, 0
	for others < 2 {
		m := h.next()
		if e, ok := m["error"].(map[string]any); ok && e["code"] == float64(codeBusy) {
			busy++
		} else if m["id"] == "ping" || m["id"] == "list" {
			others++
		} else {
			t.Fatalf("unexpected %v", m)
		}
	}
	if busy != n-maxDue {
		t.Errorf("%d busy answers, want %d", busy, n-maxDue)
	}
	close(hold)
	for range maxDue {
		if m := h.next(); m["result"] == nil {
			t.Fatalf("a call that was taken: %v", m)
		}
	}
}
