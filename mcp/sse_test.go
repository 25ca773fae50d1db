package mcp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// stream is an open /sse.
type stream struct {
	post   string // where messages go
	events chan string
	close  func()
}

func (w *site) stream(token string) *stream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", w.URL+"/sse", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("/sse: %d %v", res.StatusCode, res.Header)
	}
	s := &stream{events: make(chan string, 100), close: func() { cancel(); res.Body.Close() }}
	w.t.Cleanup(s.close)
	go func() {
		defer close(s.events)
		lines := bufio.NewReader(res.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				s.events <- strings.TrimSpace(data)
			}
		}
	}()
	s.post = <-s.events
	return s
}

func (w *site) next(s *stream) string {
	w.t.Helper()
	select {
	case event := <-s.events:
		return event
	case <-time.After(10 * time.Second):
		w.t.Fatal("nothing comes over the stream")
		return ""
	}
}

func TestSSEAnswersOnItsOwnStreamOnly(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	mine := w.stream("T1")
	if res := w.do("POST", mine.post, "T1", fmt.Sprintf(hello, "{}")); res.StatusCode != 202 {
		t.Fatalf("initialize: %d %s", res.StatusCode, w.text(res))
	}
	if text := w.next(mine); !strings.Contains(text, `"protocolVersion":"2025-11-25"`) {
		t.Errorf("initialize answered %s", text)
	}
	// MC-019, MC-021: another caller does not post to it, and needs the right id.
	for _, tt := range []struct{ path, token string }{
		{mine.post, "T2"}, {"/message?sessionId=mcp-session-1", "T1"}, {"/message", "T1"}, {"/message?sessionId=", "T1"},
	} {
		if res := w.do("POST", tt.path, tt.token, legacyCall("list_connections", "{}")); res.StatusCode != 404 {
			t.Errorf("%s with %s: %d", tt.path, tt.token, res.StatusCode)
		}
	}
	w.do("POST", mine.post, "T1", legacyCall("list_connections", "{}"))
	if text := w.next(mine); !strings.Contains(text, `"connections"`) {
		t.Errorf("the call was answered %s", text)
	}
	// A client that could do both is told to stay with the old protocol.
	w.do("POST", mine.post, "T1", `{"jsonrpc":"2.0","id":3,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, "Mcp-Method", "server/discover")
	if text := w.next(mine); !strings.Contains(text, `"supportedVersions":["2025-11-25"`) || strings.Contains(text, `"2026-07-28"`) {
		t.Errorf("discover over SSE offers %s", text)
	}
}

// MC-007: a panic does not take the stream with it, and its value goes nowhere.
func TestSSEPanicStaysInside(t *testing.T) {
	broker := &fake{call: func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) { panic("CANARY") }}
	w := serve(t, New(broker, Options{}))
	s := w.stream("T1")
	for range 2 {
		w.do("POST", s.post, "T1", legacyCall("call_api", `{"provider":"p","path":"/"}`))
		if text := w.next(s); strings.Contains(text, "CANARY") || !strings.Contains(text, "internal error ") {
			t.Errorf("answered %s", text)
		}
	}
	if text := w.text(w.modern("T1", "call_api", `{"provider":"p","path":"/"}`, "{}", "")); strings.Contains(text, "CANARY") || !strings.Contains(text, "internal error ") {
		t.Errorf("over /mcp: %s", text)
	}
}

// MC-028: the calls of a stream end with it.
func TestSSECallEndsWithItsStream(t *testing.T) {
	started, stopped := make(chan struct{}), make(chan struct{})
	broker := &fake{call: func(ctx context.Context, _ auth.Caller, _ auth.Call) (*auth.Response, error) {
		close(started)
		<-ctx.Done()
		close(stopped)
		return nil, ctx.Err()
	}}
	w := serve(t, New(broker, Options{}))
	s := w.stream("T1")
	w.do("POST", s.post, "T1", legacyCall("call_api", `{"provider":"p","path":"/"}`))
	<-started
	s.close()
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the call goes on without its stream")
	}
}

// mcp-go keeps the answers of a client that does not read its stream, and takes any number of calls meanwhile.
// Somebody who reads again can go on.
func TestSSEAnswersAreBounded(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	s := w.stream("T1") // takes 100 events, and then the kernel some
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	busy, taken := false, 0
	for ; !busy && taken < 2000; taken++ {
		res := w.do("POST", s.post, "T1", list)
		_, _ = io.Copy(io.Discard, res.Body)
		busy = res.StatusCode == 429
	}
	if !busy {
		t.Errorf("%d answers wait for a client that reads none", taken)
	}
	for range taken - 1 {
		if text := w.next(s); !strings.Contains(text, `"tools"`) {
			t.Fatal(text)
		}
	}
	for range 2 * mostDue {
		if res := w.do("POST", s.post, "T1", list); res.StatusCode != 202 {
			t.Fatal(res.StatusCode)
		}
		w.next(s)
	}
}

func TestSSEStreamsAreBounded(t *testing.T) {
	s := New(&fake{}, Options{})
	u := &users{}
	stream, _ := s.SSE(HTTPOptions{Identify: Bearer(u.verify), Sessions: 1})
	w := serve(t, New(&fake{}, Options{}))
	w.Config.Handler = stream
	first := w.stream("T1")
	res := w.do("GET", "/sse", "T1", "")
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 429 {
		t.Errorf("a second stream: %d %s", res.StatusCode, body)
	}
	w.stream("T2")
	first.close()
}
