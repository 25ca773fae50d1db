package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

const opens = `{"elicitation":{"url":{}}}`

// person is a broker whose user signs in when somebody waits for it.
func person() *fake {
	f := &fake{}
	signedIn := false
	f.request = func(_ auth.Caller, w auth.Wish) (*auth.Info, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !signedIn {
			return nil, link(w.Provider)
		}
		return &auth.Info{Provider: w.Provider, Account: "ada", State: auth.Active}, nil
	}
	f.wait = func(_ context.Context, id string, d time.Duration, progress func(auth.Status)) (*auth.Status, error) {
		if d > 0 {
			progress(auth.Status{RequestID: id, Status: auth.StatusPending})
			<-time.After(f.thinks)
			f.mu.Lock()
			signedIn = true
			f.mu.Unlock()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if !signedIn {
			return &auth.Status{RequestID: id, Status: auth.StatusPending}, nil
		}
		return &auth.Status{RequestID: id, Status: auth.StatusConnected}, nil
	}
	return f
}

// Without URL elicitation the link comes in an ordinary answer, in every generation; an empty
// elicitation capability means forms only.
func TestWithoutElicitationTheLinkIsAnOrdinaryAnswer(t *testing.T) {
	for _, capabilities := range []string{"{}", `{"elicitation":{}}`, `{"elicitation":{"form":{}}}`} {
		h := plug(t, New(person(), Options{}))
		h.initialize(capabilities)
		if got := h.call("request_auth", `{"provider":"practice"}`); got["type"] != "auth_required" || got["url"] != "http://127.0.0.1:7823/c/REQpractice" {
			t.Errorf("%s: %v", capabilities, got)
		}
		h.in.Close()
		<-h.done
		w := serve(t, New(person(), Options{}))
		if text := w.text(w.modern("T1", "request_auth", `{"provider":"practice"}`, capabilities, "")); !strings.Contains(text, `"type":"auth_required"`) {
			t.Errorf("%s: %s", capabilities, text)
		}
	}
}

// A 2025-11-25 client is asked by elicitation/create, waited for, and told that it is done.
func TestElicitationOf2025(t *testing.T) {
	for answer, want := range map[string]string{"accept": "connected", "decline": "error", "decline at once": "auth_required", "cancel": "auth_required"} {
		action, atOnce := strings.CutSuffix(answer, " at once")
		broker := person()
		var clock atomic.Int64
		h := plug(t, New(broker, Options{Now: func() time.Time { return time.Unix(1_800_000_000, clock.Load()) }}))
		h.initialize(opens)
		h.send(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"request_auth","arguments":{"provider":"practice"}}}`)
		ask := h.next()
		params, _ := ask["params"].(map[string]any)
		if ask["method"] != "elicitation/create" || params["mode"] != "url" || params["elicitationId"] != "REQpractice" ||
			params["url"] != "http://127.0.0.1:7823/c/REQpractice" || !strings.Contains(params["message"].(string), "BLUE-42") {
			t.Fatalf("%s: asked %v", answer, ask)
		}
		if !atOnce {
			clock.Add(int64(byItself))
		}
		h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"action":%q}}`, ask["id"], action))
		m := h.next()
		if action == "accept" {
			if params, _ := m["params"].(map[string]any); m["method"] == "notifications/elicitation/complete" && params["elicitationId"] == "REQpractice" {
				m = h.next()
			} else {
				t.Errorf("no completion before %v", m)
			}
		}
		got := m["result"].(map[string]any)["structuredContent"].(map[string]any)
		if got["type"] != want {
			t.Errorf("%s: %v", answer, got)
		}
		if cancelled := len(broker.revoked) == 1 && broker.revoked[0].RequestID == "REQpractice"; cancelled != (answer == "decline") {
			t.Errorf("%s: revoked %v", answer, broker.revoked)
		}
		h.in.Close()
		<-h.done
	}
}

// However long the user takes to say so and then to sign in, one call ends within the time that hosts give a tool, with the
// link for the next one; wait_seconds is no second wait for the same.
func TestElicitationEndsInTime(t *testing.T) {
	for thinks, want := range map[time.Duration]time.Duration{0: signTime, 29 * time.Second: 21 * time.Second, 50 * time.Second: 0, time.Minute: 0} {
		for _, args := range []string{`{"provider":"p"}`, `{"provider":"p","wait_seconds":25}`} {
			var clock atomic.Int64
			start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			var waits []time.Duration
			h := plug(t, New(&fake{
				request: func(_ auth.Caller, w auth.Wish) (*auth.Info, error) { return nil, link(w.Provider) },
				wait: func(_ context.Context, id string, d time.Duration, _ func(auth.Status)) (*auth.Status, error) {
					waits = append(waits, d)
					clock.Add(int64(d))
					return &auth.Status{RequestID: id, Status: auth.StatusPending}, nil
				},
			}, Options{Now: func() time.Time { return start.Add(time.Duration(clock.Load())) }}))
			h.initialize(opens)
			h.send(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"request_auth","arguments":` + args + `}}`)
			ask := h.next()
			clock.Add(int64(thinks))
			h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{"action":"accept"}}`, ask["id"]))
			if got := h.answer(); got["type"] != "auth_required" || len(waits) != 1 || waits[0] != want {
				t.Errorf("%s after %v: waits %v, want %v; %v", args, thinks, waits, want, got)
			}
		}
	}
}

// A client that answers with an error gets the link as an ordinary answer.
func TestElicitationThatFails(t *testing.T) {
	h := plug(t, New(person(), Options{}))
	h.initialize(opens)
	h.send(`{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"request_auth","arguments":{"provider":"practice"}}}`)
	ask := h.next()
	h.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"error":{"code":-32602,"message":"no url mode"}}`, ask["id"]))
	if got := h.answer(); got["type"] != "auth_required" {
		t.Errorf("%v", got)
	}
}

// inputRequired is the first half of an elicitation of 2026-07-28.
type inputRequired struct {
	Result struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct {
			Method string
			Params map[string]any
		}
	}
	Error *struct {
		Code    int
		Message string
	}
}

func (w *site) ask(token, tool, args string) inputRequired {
	w.t.Helper()
	var got inputRequired
	text := w.text(w.modern(token, tool, args, opens, ""))
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Result.ResultType != "input_required" || got.Result.RequestState == "" {
		w.t.Fatalf("asked %s", text)
	}
	return got
}

func said(state, action string) string {
	return fmt.Sprintf(`,"requestState":%q,"inputResponses":{"open_link":{"action":%q}}`, state, action)
}

func TestElicitationOf2026(t *testing.T) {
	for answer, want := range map[string]string{"accept": `"type":"connected"`, "decline": `"code":"declined"`, "decline at once": `"type":"auth_required"`, "cancel": `"type":"auth_required"`} {
		action, atOnce := strings.CutSuffix(answer, " at once")
		var clock atomic.Int64
		w := serve(t, New(person(), Options{Now: func() time.Time { return time.Unix(1_800_000_000, clock.Load()) }}))
		got := w.ask("T1", "request_auth", `{"provider":"practice","scopes":["read"]}`)
		ask := got.Result.InputRequests["open_link"]
		if ask.Method != "elicitation/create" || ask.Params["mode"] != "url" || ask.Params["url"] != "http://127.0.0.1:7823/c/REQpractice" || ask.Params["elicitationId"] != nil {
			t.Errorf("asked %v", ask)
		}
		if !atOnce {
			clock.Add(int64(byItself))
		}
		// The client may write the same arguments in another order.
		text := w.text(w.modern("T1", "request_auth", `{"scopes":["read"], "provider":"practice"}`, opens, said(got.Result.RequestState, action)))
		if !strings.Contains(text, want) {
			t.Errorf("%s: %s", answer, text)
		}
	}
}

// A client that brings the state back without an answer is asked again.
func TestMissingAnswerIsAskedAgain(t *testing.T) {
	w := serve(t, New(person(), Options{}))
	state := w.ask("T1", "request_auth", `{"provider":"practice"}`).Result.RequestState
	text := w.text(w.modern("T1", "request_auth", `{"provider":"practice"}`, opens, fmt.Sprintf(`,"requestState":%q,"inputResponses":{}`, state)))
	if !strings.Contains(text, "input_required") {
		t.Errorf("%s", text)
	}
}

// MC-022: a state that was changed, is late, is used twice, or comes from another caller, tool or arguments
// is a protocol error, and nothing runs.
func TestRequestStateIsForOneCallOnly(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	broker := person()
	w := serve(t, New(broker, Options{Now: func() time.Time { return now }}))
	const args = `{"provider":"practice"}`
	fresh := func() string { return w.ask("T1", "request_auth", args).Result.RequestState }
	refused := func(name, token, tool, args, state string) {
		t.Helper()
		broker.mu.Lock()
		before := len(broker.callers)
		broker.mu.Unlock()
		var got inputRequired
		text := w.text(w.modern(token, tool, args, opens, said(state, "accept")))
		if err := json.Unmarshal([]byte(text), &got); err != nil || got.Error == nil {
			t.Errorf("%s: %s", name, text)
		}
		broker.mu.Lock()
		defer broker.mu.Unlock()
		if len(broker.callers) != before {
			t.Errorf("%s: something ran", name)
		}
	}
	state := fresh()
	for i := range state {
		changed := []byte(state)
		if changed[i]++; changed[i] == '{' || changed[i] == '[' || changed[i] == ':' || changed[i] == '.' || changed[i] == '`' {
			changed[i] = 'A'
		}
		if string(changed) != state {
			refused(fmt.Sprintf("character %d changed", i), "T1", "request_auth", args, string(changed))
		}
	}
	refused("cut", "T1", "request_auth", args, state[:len(state)-4])
	refused("empty object", "T1", "request_auth", args, "e30")
	refused("another caller", "T2", "request_auth", args, state)
	refused("other arguments", "T1", "request_auth", `{"provider":"practice","scopes":["all"]}`, state)
	refused("another tool", "T1", "get_credential", args, state)

	now = now.Add(ticketTime)
	refused("late", "T1", "request_auth", args, state)
	now = now.Add(-ticketTime)
	state = fresh()
	if text := w.text(w.modern("T1", "request_auth", args, opens, said(state, "accept"))); !strings.Contains(text, `"type":"connected"`) {
		t.Errorf("the good state: %s", text)
	}
	refused("used", "T1", "request_auth", args, state)
}

// Over SSE mcp-go cannot ask, so the old error carries the link.
func TestElicitationOverSSE(t *testing.T) {
	w := serve(t, New(person(), Options{}))
	s := w.stream("T1")
	w.do("POST", s.post, "T1", fmt.Sprintf(hello, opens))
	w.next(s)
	w.do("POST", s.post, "T1", legacyCall("request_auth", `{"provider":"practice"}`))
	text := w.next(s)
	if !strings.Contains(text, `"code":-32042`) || !strings.Contains(text, `"elicitationId":"REQpractice"`) || !strings.Contains(text, "/c/REQpractice") {
		t.Errorf("%s", text)
	}
	w.do("POST", s.post, "T1", legacyCall("wait_for_auth", `{"request_id":"REQpractice","wait_seconds":1}`))
	if text := w.next(s); !strings.Contains(text, "notifications/elicitation/complete") {
		t.Errorf("no completion but %s", text)
	}
}

// Progress reaches a client that asked for it, before the answer, every time (D3).
func TestProgressComesBeforeTheAnswer(t *testing.T) {
	w := serve(t, New(person(), Options{}))
	call := strings.Replace(modernCall("wait_for_auth", `{"request_id":"R","wait_seconds":1}`, "{}", ""), `"_meta":{`, `"_meta":{"progressToken":"p",`, 1)
	for range 50 {
		text := w.text(w.do("POST", "/mcp", "T1", call, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "wait_for_auth"))
		first, last := strings.Index(text, `"progress":1`), strings.Index(text, `"progress":2`)
		if answer := strings.Index(text, `"status":"connected"`); first < 0 || last < first || answer < last {
			t.Fatalf("%s", text)
		}
	}
}

// An approval is asked in the same way, and the call goes through once the owner has allowed it.
func TestElicitationOfAnApproval(t *testing.T) {
	allowed := false
	broker := &fake{
		get: func(n auth.Need) (*auth.Handle, error) {
			if !allowed {
				return nil, &auth.ApprovalRequired{RequestID: "APPROVAL", ProviderName: "Practice", Account: "ada", URL: "http://127.0.0.1:7823/approvals", Message: "Practice: the owner has to allow this."}
			}
			return &auth.Handle{Info: auth.Info{Provider: n.Provider, Account: "ada"}, Handle: "latchpost:practice/ada"}, nil
		},
		wait: func(_ context.Context, id string, _ time.Duration, _ func(auth.Status)) (*auth.Status, error) {
			allowed = true
			return &auth.Status{RequestID: id, Status: auth.StatusConnected}, nil
		},
	}
	w := serve(t, New(broker, Options{}))
	got := w.ask("T1", "get_credential", `{"provider":"practice"}`)
	if ask := got.Result.InputRequests["open_link"]; ask.Params["url"] != "http://127.0.0.1:7823/approvals" || ask.Params["message"] != "Practice: the owner has to allow this." {
		t.Errorf("asked %v", ask)
	}
	if text := w.text(w.modern("T1", "get_credential", `{"provider":"practice"}`, opens, said(got.Result.RequestState, "accept"))); !strings.Contains(text, `"handle":"latchpost:practice/ada"`) {
		t.Errorf("%s", text)
	}
}

// A progress token comes back as it was, or not at all: neither one that is none by the specification, nor a number that
// would come back as another, which may be another call's. The call itself goes on.
func TestOddProgressTokens(t *testing.T) {
	w := serve(t, New(person(), Options{}))
	for token, told := range map[string]bool{
		`"p"`: true, `""`: true, `7`: true, `-1`: true, `9007199254740991`: true, `9007199254740993`: false, `1e30`: false, `1.5`: false,
		`null`: false, `true`: false, `{"a":1}`: false, `[1,2]`: false, `"` + strings.Repeat("x", 257) + `"`: false,
	} {
		call := strings.Replace(modernCall("wait_for_auth", `{"request_id":"REQpractice","wait_seconds":1}`, "{}", ""), `"_meta":{`, `"_meta":{"progressToken":`+token+`,`, 1)
		text := w.text(w.do("POST", "/mcp", "T1", call, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "wait_for_auth"))
		if strings.Contains(text, `"progressToken":`+token+`}`) != told || strings.Contains(text, "progressToken") != told || !strings.Contains(text, `"type":"auth_status"`) {
			t.Errorf("token %.40s: %.400s", token, text)
		}
	}
}

// A requestState that one replica took is not taken by another.
func TestReplicasTakeAStateOnce(t *testing.T) {
	memory := &spent{now: time.Now, until: map[string]time.Time{}}
	common := Options{Seal: newSeal(), Spend: memory.spend}
	broker := person()
	first, second := serve(t, New(broker, common)), serve(t, New(broker, common))
	state := first.ask("T1", "request_auth", `{"provider":"practice"}`).Result.RequestState
	if text := second.text(second.modern("T1", "request_auth", `{"provider":"practice"}`, opens, said(state, "accept"))); !strings.Contains(text, `"type":"connected"`) {
		t.Fatalf("the other replica answered %s", text)
	}
	if text := first.text(first.modern("T1", "request_auth", `{"provider":"practice"}`, opens, said(state, "accept"))); !strings.Contains(text, "requestState is not valid") {
		t.Errorf("the second time: %s", text)
	}
}
