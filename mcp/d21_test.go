package mcp

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// telling is a broker that tells n times how things are while somebody waits.
func telling(n int) *fake {
	return &fake{wait: func(_ context.Context, id string, _ time.Duration, progress func(auth.Status)) (*auth.Status, error) {
		for range n {
			progress(auth.Status{RequestID: id, Status: auth.StatusPending})
		}
		return &auth.Status{RequestID: id, Status: auth.StatusConnected}, nil
	}}
}

// waitCall is a call of wait_for_auth with a progress token, in the protocols before 2026-07-28.
func waitCall(id int, token string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"wait_for_auth","arguments":{"request_id":"R","wait_seconds":5},"_meta":{"progressToken":%q}}}`, id, token)
}

// MC-020: what a call tells comes on its own response and nowhere else, all of it, in order and before the answer, whatever
// else is under way in its session.
func TestNoticesComeOnTheirOwnResponse(t *testing.T) {
	const notices, calls = 100, 8
	f := telling(notices)
	release := make(chan struct{})
	f.call = func(context.Context, auth.Caller, auth.Call) (*auth.Response, error) {
		<-release
		return &auth.Response{Status: 200, Text: true, Body: []byte("hello"), ContentType: "text/plain"}, nil
	}
	w := serve(t, New(f, Options{}))
	id := w.session("T1", "{}")
	get := w.do("GET", "/mcp", "T1", "", "Mcp-Session-Id", id)
	strange := make(chan string, 1000)
	go func() {
		for lines := bufio.NewScanner(get.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "data:") {
				strange <- lines.Text()
			}
		}
	}()
	var quiet, all sync.WaitGroup
	quiet.Go(func() {
		res := w.do("POST", "/mcp", "T1", legacyCall("call_api", `{"provider":"p","path":"/x"}`), "Mcp-Session-Id", id)
		if text := w.text(res); res.Header.Get("Content-Type") != "application/json" || strings.Contains(text, "progress") || !strings.Contains(text, "hello") {
			t.Errorf("a call that tells nothing: %s %.300s", res.Header.Get("Content-Type"), text)
		}
	})
	for i := range calls {
		all.Go(func() {
			token := fmt.Sprintf("of-%d", i)
			res := w.do("POST", "/mcp", "T1", waitCall(10+i, token), "Mcp-Session-Id", id)
			events := strings.Split(strings.TrimSuffix(w.text(res), "\n\n"), "\n\n")
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" || len(events) != notices+2 {
				t.Errorf("%d %s, %d events", res.StatusCode, res.Header.Get("Content-Type"), len(events))
				return
			}
			for n, event := range events[:notices+1] {
				if !strings.HasPrefix(event, `event: message`+"\n"+`data: {"jsonrpc":"2.0","method":"notifications/progress","params":{`) ||
					!strings.Contains(event, fmt.Sprintf(`"progress":%d,"progressToken":%q}}`, n+1, token)) {
					t.Errorf("event %d of %s: %s", n, token, event)
				}
			}
			if last := events[notices+1]; !strings.HasPrefix(last, "event: message\ndata: {") || !strings.Contains(last, fmt.Sprintf(`"id":%d,`, 10+i)) || !strings.Contains(last, `"status":"connected"`) {
				t.Errorf("the last event of %s: %s", token, last)
			}
		})
	}
	all.Wait()
	close(release)
	quiet.Wait()
	if len(strange) > 0 {
		t.Errorf("%d on the stream of the session: %s", len(strange), <-strange)
	}
	plain := w.do("POST", "/mcp", "T1", legacyCall("list_connections", `{}`), "Mcp-Session-Id", id)
	if kind := plain.Header.Get("Content-Type"); kind != "application/json" {
		t.Errorf("a later call of the session is answered as %s", kind)
	}
}

// Who takes no event stream is told nothing before the answer.
func TestNoticesAreForThoseWhoTakeEvents(t *testing.T) {
	for accept, want := range map[string]bool{
		"application/json, text/event-stream": true, "text/event-stream;q=0.5": true, "*/*": true, "text/*": true,
		"application/json": false, "application/*, text/html": false, "x": false,
	} {
		w := serve(t, New(telling(3), Options{}))
		res := w.do("POST", "/mcp", "T1", waitCall(9, "p"), "Mcp-Session-Id", w.session("T1", "{}"), "Accept", accept)
		text := w.text(res)
		if told := strings.Contains(text, "notifications/progress"); told != want || (res.Header.Get("Content-Type") == "text/event-stream") != want || !strings.Contains(text, `"status":"connected"`) {
			t.Errorf("%s: %s", accept, text)
		}
	}
	if !takesEvents(http.Header{}) {
		t.Error("who does not say what they accept accepts everything")
	}
}

// What mcp-go writes on a response, a question to the user, and what the call writes are one stream.
func TestNoticesBesideAQuestion(t *testing.T) {
	w := serve(t, New(person(), Options{}))
	id := w.session("T1", opens)
	call := strings.Replace(waitCall(9, "p"), `"name":"wait_for_auth","arguments":{"request_id":"R","wait_seconds":5}`, `"name":"request_auth","arguments":{"provider":"practice"}`, 1)
	res := w.do("POST", "/mcp", "T1", call, "Mcp-Session-Id", id)
	var got []string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if got = append(got, data); strings.Contains(data, "elicitation/create") {
			_, after, _ := strings.Cut(data, `"id":`)
			number, _, _ := strings.Cut(after, ",")
			w.do("POST", "/mcp", "T1", `{"jsonrpc":"2.0","id":`+number+`,"result":{"action":"accept"}}`, "Mcp-Session-Id", id)
		}
	}
	for i, want := range []string{"elicitation/create", `"progress":1,`, `"progress":2,`, "notifications/elicitation/complete", `"type":"connected"`} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Fatalf("message %d is not %s: %q", i, want, got)
		}
	}
}
