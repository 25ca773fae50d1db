package mcp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// target is a server under attack. Its tool "revoke" counts, its tool "call_api" panics with CANARY.
type target struct {
	*testing.T
	url   string
	stdio func(ctx context.Context, in io.Reader, out io.Writer) error
	ran   func() int
}

// rawTarget is mcp-go as it comes.
func rawTarget(t *testing.T) *target {
	var ran atomic.Int64
	core := server.NewMCPServer("raw", "1", server.WithToolCapabilities(false))
	tool := func(name string, do func()) {
		core.AddTool(protocol.NewTool(name), func(context.Context, protocol.CallToolRequest) (*protocol.CallToolResult, error) {
			do()
			return protocol.NewToolResultText("done"), nil
		})
	}
	tool("list_connections", func() {})
	tool("revoke", func() { ran.Add(1) })
	tool("call_api", func() { panic("CANARY") })
	mux := http.NewServeMux()
	mux.Handle("/mcp", server.NewStreamableHTTPServer(core))
	sse := server.NewSSEServer(core)
	mux.Handle("/sse", sse.SSEHandler())
	mux.Handle("/message", sse.MessageHandler())
	web := httptest.NewUnstartedServer(mux)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.Start()
	t.Cleanup(func() { web.CloseClientConnections(); web.Close() })
	return &target{t, web.URL, server.NewStdioServer(core).Listen, func() int { return int(ran.Load()) }}
}

// ourTarget is the same behind what this package puts in front of it.
func ourTarget(t *testing.T) *target {
	broker := &fake{call: func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) { panic("CANARY") }}
	s := New(broker, Options{})
	return &target{t, serve(t, s).URL, s.Stdio, func() int { return len(broker.revoked) }}
}

// ask gives the status and what can be read of the answer, "dropped" when there is none in a minute.
func (x *target) ask(method, path, body string, header ...string) (status int, text string, got http.Header) {
	x.Helper()
	ctx, stop := context.WithTimeout(x.Context(), time.Minute)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, x.url+path, strings.NewReader(body))
	if err != nil {
		x.Fatal(err)
	}
	for i, values := 0, append([]string{"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "Authorization", "Bearer T1"}, header...); i < len(values); i += 2 {
		req.Header.Set(values[i], values[i+1])
		if values[i] == "Host" {
			req.Host = values[i+1]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "dropped", nil
	}
	defer res.Body.Close()
	first := make([]byte, 64<<10)
	n := 0
	if method != http.MethodGet { // a stream has no end
		n, _ = io.ReadFull(res.Body, first)
	}
	return res.StatusCode, string(first[:n]), res.Header
}

// say sends lines over standard input and gives the answers until its end.
func (x *target) say(lines ...string) (answers []string) {
	x.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- x.stdio(x.Context(), in, out); _ = out.Close() }()
	go func() {
		for _, line := range lines {
			_, _ = io.WriteString(toServer, line+"\n")
		}
	}()
	read := bufio.NewScanner(fromServer)
	read.Buffer(nil, 1<<20)
	for range lines {
		if !read.Scan() {
			break
		}
		answers = append(answers, read.Text())
	}
	_ = toServer.Close()
	go func() { _, _ = io.Copy(io.Discard, fromServer) }()
	<-ended
	return answers
}

// attacks succeed where they are not warded off. raw is what is known of mcp-go in the version of go.mod.
var attacks = []struct {
	name string
	raw  bool
	ward string // what of ours stands in front
	try  func(x *target) (succeeds bool)
}{
	{"HL-002 rebound host", false, "", func(x *target) bool {
		status, _, _ := x.ask("POST", "/mcp", fmt.Sprintf(hello, "{}"), "Host", "evil.example")
		return status == http.StatusOK
	}},
	{"HL-003 SSE from any page", true, "d01_cors.go, bearer.go", func(x *target) bool {
		_, _, header := x.ask("GET", "/sse", "", "Origin", "https://evil.example")
		return header.Get("Access-Control-Allow-Origin") != ""
	}},
	{"HL-018 huge body", true, "http.go: maxMessage", func(x *target) bool {
		status, _, _ := x.ask("POST", "/mcp", fmt.Sprintf(hello, `{"experimental":{"x":"`+strings.Repeat("x", maxMessage)+`"}}`))
		return status == http.StatusOK
	}},
	{"MC-002 case variant", true, "message.go: parse", func(x *target) bool {
		x.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_connections","NAME":"revoke","arguments":{"provider":"p"}}}`)
		return x.ran() > 0
	}},
	{"MC-002 twin", true, "message.go: parse", func(x *target) bool {
		x.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_connections","name":"revoke","arguments":{"provider":"p"}}}`)
		return x.ran() > 0
	}},
	{"MC-005 endless line", true, "stdio.go: readLine", func(x *target) bool {
		answers := x.say(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", maxMessage) + `"}}`)
		return len(answers) == 1 && strings.Contains(answers[0], `"result"`)
	}},
	{"MC-007 panic over stdio", true, "tool.go", func(x *target) bool {
		answers := x.say(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_api","arguments":{"provider":"p","path":"/"}}}`)
		return strings.Contains(fmt.Sprint(answers), "CANARY")
	}},
	{"MC-007 panic over HTTP", true, "tool.go", func(x *target) bool {
		_, text, _ := x.ask("POST", "/mcp", modernCall("call_api", `{"provider":"p","path":"/"}`, "{}", ""), "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "call_api")
		return text == "dropped" || strings.Contains(text, "CANARY") || !json.Valid([]byte(text)) && !strings.Contains(text, "internal error")
	}},
	{"MC-019 session of one's own making", true, "d07_sessions.go", func(x *target) bool {
		status, _, _ := x.ask("POST", "/mcp", legacyCall("list_connections", "{}"), "Mcp-Session-Id", "mcp-session-0b0c0d0e-0000-4000-8000-000000000000")
		return status == http.StatusOK
	}},
}

// SC-013: the same attacks on mcp-go as it comes and on ours. One that mcp-go wards off by itself, or does no longer, is a
// change of the library that somebody has to look at: correct the list, and delete what is not needed any more.
func TestRawServer(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			if a.try(ourTarget(t)) {
				t.Error("it succeeds")
			}
			if got := a.try(rawTarget(t)); got != a.raw {
				t.Errorf("on mcp-go alone it succeeds: %v, known is %v; what stands in front of it: %s", got, a.raw, a.ward)
			}
		})
	}
}
