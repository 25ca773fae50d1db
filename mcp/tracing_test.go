package mcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	protocol "github.com/mark3labs/mcp-go/mcp"

	"github.com/latchpost/latchpost/auth"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent  = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// The trace context of a call is there for logs and watchers; anything that is none is dropped.
func TestTraceContext(t *testing.T) {
	for meta, want := range map[string]string{
		parent:                    traceID,
		strings.ToUpper(parent):   "",
		"00-" + traceID + "-0-01": "",
		"01-" + parent[3:]:        "",
		parent + "\nlevel=ERROR":  "",
		parent + "-more":          "",
		strings.Replace(parent, traceID, strings.Repeat("0", 32), 1): "",
	} {
		ctx := withTrace(t.Context(), &protocol.Meta{AdditionalFields: map[string]any{"traceparent": meta, "tracestate": "a=b"}})
		got, ok := TraceFrom(ctx)
		if ok != (want != "") || ok && (got.ID() != want || got.State != "a=b") {
			t.Errorf("%q: %v %v", meta, got, ok)
		}
	}
	for _, state := range []any{strings.Repeat("x", maxState+1), "a=\n", 7, nil} {
		ctx := withTrace(t.Context(), &protocol.Meta{AdditionalFields: map[string]any{"traceparent": parent, "tracestate": state}})
		if got, ok := TraceFrom(ctx); !ok || got.State != "" {
			t.Errorf("tracestate %v became %q", state, got.State)
		}
	}
}

// Each call is watched once from beginning to end, whatever becomes of it.
func TestWatch(t *testing.T) {
	ends := map[string]error{
		"ok": nil, "auth_required": &auth.AuthRequired{}, "approval_required": &auth.ApprovalRequired{},
		"rate_limited": auth.ErrLimit, "internal": errors.New("broken"), "panic": nil,
	}
	for want, end := range ends {
		broker := &fake{get: func(auth.Need) (*auth.Handle, error) {
			if want == "panic" {
				panic("x")
			}
			return &auth.Handle{}, end
		}}
		var log bytes.Buffer
		var mu sync.Mutex
		var begun, ended []string
		var trace Trace
		s := New(broker, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Watch: func(ctx context.Context, tool string) (context.Context, func(string)) {
			mu.Lock()
			defer mu.Unlock()
			begun = append(begun, tool)
			trace, _ = TraceFrom(ctx)
			return ctx, func(how string) {
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, how)
			}
		}})
		w := serve(t, s)
		body := strings.Replace(modernCall("get_credential", `{"provider":"practice"}`, "{}", ""), `"_meta":{`, `"_meta":{"traceparent":"`+parent+`",`, 1)
		w.text(w.do("POST", "/mcp", "T1", body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "get_credential"))
		if want == "panic" {
			want = "internal"
		}
		if want == "rate_limited" {
			want = auth.ErrLimit.Code
		}
		if fmt.Sprint(begun, ended) != "[get_credential] ["+want+"]" || trace.Parent != parent {
			t.Errorf("%s: begun %q, ended %q, trace %q", want, begun, ended, trace.Parent)
		}
	}
}

// A person who is asked by elicitation is no error and no success.
func TestWatchElicitation(t *testing.T) {
	var got string
	s := New(&fake{get: func(auth.Need) (*auth.Handle, error) {
		return nil, &auth.AuthRequired{RequestID: "R", URL: "http://127.0.0.1/c/R"}
	}}, Options{Watch: func(ctx context.Context, _ string) (context.Context, func(string)) {
		return ctx, func(how string) { got = how }
	}})
	w := serve(t, s)
	w.text(w.modern("T1", "get_credential", `{"provider":"practice"}`, `{"elicitation":{"url":{}}}`, ""))
	if got != "input_required" {
		t.Errorf("ended %q", got)
	}
}

// DS-003: agents of one owner, as many as they are, share one pace; those of another have their own.
func TestPace(t *testing.T) {
	w := serve(t, New(&fake{}, Options{PerSecond: 2}))
	for i := range 5 {
		res := w.modern("Tloud", "list_connections", "{}", "{}", "")
		refused := res.StatusCode == 429 && res.Header.Get("Retry-After") == "1" && strings.Contains(w.text(res), "wait a second")
		if refused != (i >= 4) {
			t.Errorf("request %d: %d", i+1, res.StatusCode)
		}
	}
	if res := w.modern("Tquiet", "list_connections", "{}", "{}", ""); res.StatusCode != 200 {
		t.Errorf("the other owner is told %d", res.StatusCode)
	}
}

// DS-003: long messages, which take a thousand times as long to read, count as more requests, but none as more than there may be.
func TestPaceCountsWhatIsLong(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w := serve(t, New(&fake{}, Options{PerSecond: 10, Now: func() time.Time { return now }}))
	send := func(bytes int) int {
		call := legacyCall("list_connections", "{}")
		return w.do("POST", "/mcp", "T1", call+strings.Repeat(" ", bytes-len(call)), "Mcp-Session-Id", "none").StatusCode
	}
	for _, step := range []struct{ bytes, times int }{{1000, 20}, {lengthOfOne + 1, 10}, {4 * lengthOfOne, 4}, {maxMessage, 1}} {
		for i := range step.times + 1 {
			if got := send(step.bytes); (got == 429) != (i == step.times) {
				t.Errorf("message %d of %d bytes: %d", i+1, step.bytes, got)
			}
		}
		now = now.Add(2 * time.Second)
	}
}

// What pace keeps is bounded by who came lately.
func TestPaceForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{perSecond: 1}
		for range 3 {
			for i := range manyOwners {
				if !p.allow(auth.Owner{User: fmt.Sprint(time.Now(), i)}, 1, time.Now) {
					t.Fatal("a newcomer is refused")
				}
			}
			time.Sleep(10 * time.Second)
		}
		if len(p.by) > manyOwners {
			t.Errorf("%d owners are kept", len(p.by))
		}
	})
}
