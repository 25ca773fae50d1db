package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// users is a token verifier for tests: token T belongs to user T, with scopes after a colon.
type users struct {
	mu      sync.Mutex
	revoked map[string]bool
	alias   map[string]string // tokens that are not their user's name
}

func (u *users) verify(_ context.Context, token string) (auth.Caller, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !strings.HasPrefix(token, "T") || u.revoked[token] {
		return auth.Caller{}, auth.ErrDenied
	}
	if user := u.alias[token]; user != "" {
		token = user
	}
	user, scopes, limited := strings.Cut(token, ".")
	c := auth.Caller{Owner: auth.Owner{User: user}, Client: "agent", Verified: true, Scopes: Scopes}
	if limited {
		c.Scopes = []string{"latchpost:" + scopes}
	}
	return c, nil
}

// site serves s over every HTTP transport.
type site struct {
	t     *testing.T
	s     *Server
	users *users
	*httptest.Server
}

func serve(t *testing.T, s *Server) *site {
	t.Helper()
	u := &users{revoked: map[string]bool{}}
	opts := HTTPOptions{Identify: Bearer(u.verify), Metadata: "https://post.example/.well-known/oauth-protected-resource/mcp"}
	mux := http.NewServeMux()
	mux.Handle("/mcp", s.HTTP(opts))
	stream, post := s.SSE(opts)
	mux.Handle("/sse", stream)
	mux.Handle("/message", post)
	mux.Handle(MetadataPath("https://post.example/mcp"), Metadata("https://post.example/mcp", "https://issuer.example"))
	w := &site{t, s, u, httptest.NewServer(mux)}
	t.Cleanup(func() {
		_ = s.Close(context.Background())
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

func (w *site) do(method, path, token, body string, headers ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	if kept := res.Header.Get("Cache-Control"); kept != "no-store" {
		w.t.Errorf("%s %s: a cache may keep the answer: %q", method, path, kept)
	}
	return res
}

func (w *site) text(res *http.Response) string {
	w.t.Helper()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":%s,"clientInfo":{"name":"host","version":"1"}}}`

// session initializes and gives the session id.
func (w *site) session(token, capabilities string) string {
	w.t.Helper()
	res := w.do("POST", "/mcp", token, fmt.Sprintf(hello, capabilities))
	id := res.Header.Get("Mcp-Session-Id")
	if res.StatusCode != 200 || id == "" {
		w.t.Fatalf("initialize: %d %s", res.StatusCode, w.text(res))
	}
	return id
}

// modernCall is a tools/call of 2026-07-28; extra goes into params.
func modernCall(tool, args, capabilities, extra string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s%s,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"host","version":"1"},"io.modelcontextprotocol/clientCapabilities":%s}}}`, tool, args, extra, capabilities)
}

func (w *site) modern(token, tool, args, capabilities, extra string) *http.Response {
	return w.do("POST", "/mcp", token, modernCall(tool, args, capabilities, extra),
		"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", tool)
}

func legacyCall(tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, args)
}

// MC-011: without a token nothing runs, on no endpoint, not even initialize or discover.
func TestNobodyComesInUnknown(t *testing.T) {
	broker := &fake{}
	w := serve(t, New(broker, Options{}))
	for _, req := range []struct{ method, path, body string }{
		{"POST", "/mcp", fmt.Sprintf(hello, "{}")},
		{"POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
		{"POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`},
		{"POST", "/mcp", legacyCall("list_connections", "{}")},
		{"GET", "/mcp", ""}, {"DELETE", "/mcp", ""}, {"GET", "/sse", ""}, {"POST", "/message?sessionId=x", "{}"},
	} {
		for _, header := range []string{"", "Bearer bad", "Bearer", "Basic VDE6", "Bearer T1 T2", "Bearer T1, Bearer T2"} {
			res := w.do(req.method, req.path, "", req.body, "Authorization", header)
			challenge := res.Header.Get("WWW-Authenticate")
			if res.StatusCode != 401 || !strings.Contains(challenge, `resource_metadata="https://post.example/.well-known/oauth-protected-resource/mcp"`) ||
				!strings.Contains(challenge, `scope="latchpost:connect latchpost:use latchpost:revoke"`) || strings.Contains(challenge, "invalid_token") != (header != "") {
				t.Errorf("%s %s with %q: %d, %s", req.method, req.path, header, res.StatusCode, challenge)
			}
		}
	}
	res := w.do("POST", "/mcp?access_token=T1", "", fmt.Sprintf(hello, "{}"))
	if res.StatusCode != 401 {
		t.Errorf("a token in the query: %d", res.StatusCode)
	}
	if len(broker.callers) > 0 {
		t.Error("something ran")
	}
}

// A client keeps its token when it is we who cannot check it.
func TestIdentityThatFails(t *testing.T) {
	broker := &fake{}
	for status, failure := range map[int]error{503: auth.ErrUnavailable, 500: errors.New("CANARY"), 401: auth.ErrDenied} {
		s := New(broker, Options{})
		handler := s.HTTP(HTTPOptions{Identify: func(*http.Request) (auth.Caller, error) { return auth.Caller{}, failure }})
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest("POST", "http://127.0.0.1/mcp", strings.NewReader(fmt.Sprintf(hello, "{}"))))
		if rec.Code != status || strings.Contains(rec.Body.String(), "CANARY") || (rec.Header().Get("WWW-Authenticate") != "") != (status == 401) {
			t.Errorf("%v: %d %s", failure, rec.Code, rec.Body)
		}
		_ = s.Close(context.Background())
	}
	if len(broker.callers) > 0 {
		t.Error("something ran")
	}
}

// Who leaves before they are known is no error of ours, which strangers could fill the log with.
func TestIdentityThatNobodyWaitsFor(t *testing.T) {
	var log strings.Builder
	s := New(&fake{}, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer s.Close(context.Background())
	handler := s.HTTP(HTTPOptions{Identify: func(r *http.Request) (auth.Caller, error) { return auth.Caller{}, r.Context().Err() }})
	left, leave := context.WithCancel(t.Context())
	leave()
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, httptest.NewRequestWithContext(left, "POST", "http://127.0.0.1/mcp", strings.NewReader(fmt.Sprintf(hello, "{}"))))
	if rec.Code != http.StatusServiceUnavailable || log.Len() > 0 {
		t.Errorf("%d %s", rec.Code, log.String())
	}
}

// MC-025: the token is checked with every call, not once per session.
func TestRevokedTokenStopsItsSession(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	id := w.session("T1", "{}")
	if res := w.do("POST", "/mcp", "T1", legacyCall("list_connections", "{}"), "Mcp-Session-Id", id); res.StatusCode != 200 {
		t.Fatalf("first call: %d %s", res.StatusCode, w.text(res))
	}
	w.users.mu.Lock()
	w.users.revoked["T1"] = true
	w.users.mu.Unlock()
	if res := w.do("POST", "/mcp", "T1", legacyCall("list_connections", "{}"), "Mcp-Session-Id", id); res.StatusCode != 401 {
		t.Errorf("after the token is revoked: %d", res.StatusCode)
	}
}

// MC-025, DS-002: a token that is taken back takes its open streams along, and their places come back; one that only ran
// out, or cannot be looked at right now, does not.
func TestRevokedTokenEndsItsStreams(t *testing.T) {
	for path, why := range map[string]error{
		"/mcp revoked": auth.ErrDenied, "/sse revoked": auth.ErrDenied, "/mcp run out": auth.ErrDenied.Because(auth.ErrExpired),
		"/sse run out": auth.ErrDenied.Because(auth.ErrExpired), "/mcp unavailable": auth.ErrUnavailable, "/sse unavailable": auth.ErrUnavailable,
	} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(&fake{}, Options{})
				defer s.Close(context.Background())
				var refused atomic.Pointer[error]
				opts := HTTPOptions{Sessions: 1, Identify: func(*http.Request) (auth.Caller, error) {
					if err := refused.Load(); err != nil {
						return auth.Caller{}, *err
					}
					return auth.Caller{Owner: auth.Owner{User: "T1"}, Client: "agent", Verified: true}, nil
				}}
				mux := http.NewServeMux()
				mux.Handle("/mcp", s.HTTP(opts))
				stream, _ := s.SSE(opts)
				mux.Handle("/sse", stream)
				ask := func(ctx context.Context, method, path, session, body string) *httptest.ResponseRecorder {
					r := httptest.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, strings.NewReader(body))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("Mcp-Session-Id", session)
					w := httptest.NewRecorder()
					mux.ServeHTTP(w, r)
					return w
				}
				id := ask(t.Context(), "POST", "/mcp", "", fmt.Sprintf(hello, "{}")).Header().Get("Mcp-Session-Id")
				path, _, _ := strings.Cut(path, " ")
				open := func(ctx context.Context) (ended chan int) {
					ended = make(chan int, 1)
					go func() { ended <- ask(ctx, "GET", path, id, "").Code }()
					time.Sleep(time.Second)
					return ended
				}
				is := func(ended chan int) bool {
					select {
					case <-ended:
						return true
					default:
						return false
					}
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				first := open(ctx)
				time.Sleep(time.Hour)
				if is(first) {
					t.Fatal("a stream of a token that lives has ended")
				}
				refused.Store(&why)
				time.Sleep(tokenCheck)
				revoked := why == auth.ErrDenied
				if ended := is(first); ended != revoked {
					t.Errorf("half a minute later it has ended: %v", ended)
				}
				refused.Store(nil)
				if again := open(ctx); is(again) == revoked { // at once, where the place is taken
					t.Errorf("its place has come back: %v", !revoked)
				}
				leave()
				synctest.Wait()
			})
		})
	}
}

// MC-019 and MC-021: a session is its caller's alone, for calls, streams and the end of it; ids cannot be made up,
// and there is no session to fall back to.
func TestSessionsBelongToTheirCaller(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	id := w.session("T1", "{}")
	for _, tt := range []struct {
		name, method, token, session, body string
		want                               int
	}{
		{"another's session", "POST", "T2", id, legacyCall("list_connections", "{}"), 404},
		{"another's stream", "GET", "T2", id, "", 404},
		{"the end of another's session", "DELETE", "T2", id, "", 404},
		{"a made-up session", "POST", "T1", "mcp-session-0b0c0d0e-0000-4000-8000-000000000000", legacyCall("list_connections", "{}"), 404},
		{"a made-up stream", "GET", "T1", "mcp-session-0b0c0d0e-0000-4000-8000-000000000000", "", 404},
		{"no session", "POST", "T1", "", legacyCall("list_connections", "{}"), 400},
		{"no session for a stream", "GET", "T1", "", "", 400},
		{"no session to end", "DELETE", "T1", "", "", 400},
		{"the answer to another's question", "POST", "T2", id, `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}`, 404},
		{"own session", "POST", "T1", id, legacyCall("list_connections", "{}"), 200},
		{"the end of it", "DELETE", "T1", id, "", 200},
		{"after the end", "POST", "T1", id, legacyCall("list_connections", "{}"), 404},
	} {
		res := w.do(tt.method, "/mcp", tt.token, tt.body, "Mcp-Session-Id", tt.session)
		if res.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, res.StatusCode, tt.want)
		}
		if text := w.text(res); tt.want == 404 && !strings.Contains(text, `"code":-32001,`) {
			t.Errorf("%s: hosts start another session at the code -32001 only: %s", tt.name, text)
		}
	}
	if other := w.session("T1", "{}"); len(other) < 26 || other[:4] == id[:4] {
		t.Errorf("session ids %s and %s look alike", id, other)
	}
}

// MC-019 and MC-021: the protocol without sessions, for which nobody looks whose a session is, is no way around that.
func TestNoSessionByTheProtocolWithout(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	id := w.session("T1", "{}")
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	for name, tt := range map[string]struct {
		method, body string
		want         int
	}{
		"stream":                   {"GET", "", 405},
		"end":                      {"DELETE", "", 405},
		"answer":                   {"POST", `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}`, 400},
		"answer that calls itself": {"POST", `{"jsonrpc":"2.0","id":1,"result":{"action":"accept"},"params":{` + meta + `}}`, 400},
		"refusal":                  {"POST", `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}`, 400},
		"cancel":                   {"POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, 400},
		"cancel that calls itself": {"POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,` + meta + `}}`, 400},
		"call that does not":       {"POST", legacyCall("list_connections", "{}"), 400},
	} {
		for _, version := range []string{"2026-07-28", "2099-01-01"} {
			res := w.do(tt.method, "/mcp", "T2", tt.body, "Mcp-Session-Id", id, "MCP-Protocol-Version", version, "Mcp-Method", "tools/call", "Mcp-Name", "list_connections")
			if res.StatusCode != tt.want {
				t.Errorf("%s of another's session by %s: %d %s", name, version, res.StatusCode, w.text(res))
			}
		}
	}
	if res := w.do("POST", "/mcp", "T1", legacyCall("list_connections", "{}"), "Mcp-Session-Id", id); res.StatusCode != 200 {
		t.Errorf("afterwards its owner gets %d", res.StatusCode)
	}
}

// Sessions end when they idle, and the least recently used makes room for a new one.
func TestSessionsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	all := newSessions(func() time.Time { return now }, time.Minute, 2)
	a, b, c := principal{user: "a"}, principal{user: "b"}, principal{user: "c"}
	first, foreign := all.open(a), all.open(b)
	now = now.Add(time.Second)
	second := all.open(a)
	now = now.Add(time.Second)
	third := all.open(a)
	if all.use(first, a) || !all.use(second, a) || !all.use(third, a) || !all.use(foreign, b) {
		t.Error("the third session must push out the first, and no other caller's")
	}
	if all.use(third, b) {
		t.Error("b used a session of a")
	}
	now = now.Add(2 * time.Minute)
	if all.use(third, a) {
		t.Error("a session outlived its time")
	}
	all.open(c)
	if len(all.known) != 1 {
		t.Errorf("%d sessions kept, want the new one only", len(all.known))
	}
}

// An owner whose agents register as many clients as they like gets no more sessions and streams by that than 16 of them may have.
func TestManyClientsAreBounded(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	all := newSessions(func() time.Time { now = now.Add(time.Millisecond); return now }, time.Minute, 2)
	bystander, sibling := principal{user: "b", client: "0"}, principal{org: "acme", user: "a", client: "0"}
	others := []string{all.open(bystander), all.open(sibling)}
	e := New(&fake{}, Options{}).edge(HTTPOptions{Identify: Bearer((&users{}).verify), Sessions: 2})
	var first string
	streams := 0
	var leave func()
	for n := range 100 {
		one := principal{user: "a", client: fmt.Sprint(n)}
		if id := all.open(one); first == "" {
			first = id
		}
		if back, ok := e.stay(httptest.NewRecorder(), auth.Caller{Owner: one.owner(), Client: one.client}); ok {
			leave = back
			streams++
		}
	}
	if n := len(all.known); n != 2*manyClients+2 || all.known[first] != nil {
		t.Errorf("%d sessions, the first among them: %v", n, all.known[first] != nil)
	}
	if !all.use(others[0], bystander) || !all.use(others[1], sibling) {
		t.Error("another owner's session made room")
	}
	if streams != 2*manyClients {
		t.Errorf("%d streams", streams)
	}
	leave()
	for name, caller := range map[string]auth.Caller{"the place that came back": {Owner: auth.Owner{User: "a"}, Client: "new"}, "another owner": {Owner: auth.Owner{User: "b"}, Client: "0"}} {
		if _, ok := e.stay(httptest.NewRecorder(), caller); !ok {
			t.Errorf("%s: no stream", name)
		}
	}
}

// A host that listens is there: its session outlives any silence, and then has its time like others. Many hosts do not
// start another when theirs is gone.
func TestListeningKeepsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(&fake{}, Options{})
		defer s.Close(context.Background())
		web := s.HTTP(HTTPOptions{Identify: Bearer((&users{}).verify), IdleTTL: time.Minute, Sessions: 2})
		ask := func(ctx context.Context, method, session, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(ctx, method, "http://127.0.0.1/mcp", strings.NewReader(body))
			r.Header.Set("Authorization", "Bearer T1")
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Mcp-Session-Id", session)
			rec := httptest.NewRecorder()
			web.ServeHTTP(rec, r)
			return rec
		}
		start := func() string {
			return ask(t.Context(), "POST", "", fmt.Sprintf(hello, "{}")).Header().Get("Mcp-Session-Id")
		}
		lives := func(session string) bool {
			return ask(t.Context(), "POST", session, legacyCall("list_connections", "{}")).Code == 200
		}
		id, silent := start(), start()
		listening, leave := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			ask(listening, "GET", id, "")
		}()
		time.Sleep(time.Hour)
		if !lives(id) || lives(silent) {
			t.Fatal("after an hour the session with an open stream must live, and the other one be over")
		}
		time.Sleep(50 * time.Second)
		start()
		time.Sleep(5 * time.Second)
		start() // the third of two: that before has to go
		if !lives(id) {
			t.Error("a session that listens made room for a new one")
		}
		select {
		case <-ended:
			t.Error("the stream has ended")
		default:
		}
		time.Sleep(time.Hour)
		leave()
		<-ended
		time.Sleep(50 * time.Second)
		if !lives(id) {
			t.Error("without its stream the session has no time left")
		}
		time.Sleep(time.Hour)
		if lives(id) {
			t.Error("without its stream the session is never over")
		}
	})
}

// A session that is ended, or makes room for another, takes its streams along.
func TestStreamsEndWithTheirSession(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	w.Config.Handler = w.s.HTTP(HTTPOptions{Identify: Bearer(w.users.verify), Sessions: 1})
	for what, end := range map[string]func(id string){
		"ended":   func(id string) { w.do("DELETE", "/mcp", "T1", "", "Mcp-Session-Id", id) },
		"crowded": func(string) { w.session("T1", "{}") },
	} {
		id := w.session("T1", "{}")
		stream := w.do("GET", "/mcp", "T1", "", "Mcp-Session-Id", id)
		if stream.StatusCode != 200 {
			t.Fatalf("%s: the stream: %d", what, stream.StatusCode)
		}
		end(id)
		if text := w.text(stream); strings.Contains(text, "jsonrpc") {
			t.Errorf("%s: %s", what, text)
		}
	}
}

// DS-008: a session that made room for another takes along what mcp-go keeps of it.
func TestSessionsLeaveNothingBehind(t *testing.T) {
	var kept atomic.Int64
	hooks := &server.Hooks{}
	hooks.AddOnRegisterSession(func(context.Context, server.ClientSession) { kept.Add(1) })
	hooks.AddOnUnregisterSession(func(context.Context, server.ClientSession) { kept.Add(-1) })
	s := newServer(&fake{}, Options{}, server.WithHooks(hooks))
	w := serve(t, s)
	w.Config.Handler = s.HTTP(HTTPOptions{Identify: Bearer(w.users.verify), Sessions: 4})
	var wg sync.WaitGroup
	for range 20 { // at once, so that some are pushed out before mcp-go has taken note of them
		wg.Go(func() {
			for range 20 {
				w.session("T1", "{}")
			}
		})
	}
	wg.Wait()
	if n := kept.Load(); n > 4 {
		t.Errorf("mcp-go keeps %d sessions of a caller who may have 4", n)
	}
}

// MC-002 over HTTP; MC-001: garbage is a 4xx and runs nothing.
func TestHTTPRefusesWhatIsNotInOrder(t *testing.T) {
	broker := &fake{}
	w := serve(t, New(broker, Options{}))
	call := modernCall("list_connections", "{}", "{}", "")
	for name, body := range map[string]string{
		"case variant":   strings.Replace(call, `"params":{"name":"list_connections"`, `"params":{"name":"list_connections","NAME":"revoke"`, 1),
		"METHOD":         strings.Replace(call, `"method"`, `"METHOD"`, 1),
		"escaped twin":   strings.Replace(call, `"params":{"name":"list_connections"`, `"params":{"name":"list_connections","\u006eame":"revoke"`, 1),
		"twin":           strings.Replace(call, `"params":{"name":"list_connections"`, `"params":{"name":"list_connections","name":"revoke"`, 1),
		"batch":          "[" + call + "]",
		"null id":        strings.Replace(call, `"id":1`, `"id":null`, 1),
		"huge id":        strings.Replace(call, `"id":1`, `"id":1e400`, 1),
		"deep":           strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000),
		"not UTF-8":      strings.Replace(call, "host", "h\xffst", 1),
		"two values":     call + call,
		"nothing":        "",
		"5 MiB":          `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 5<<20) + `"}}`,
		"cancel, modern": `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
	} {
		res := w.do("POST", "/mcp", "T1", body, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "list_connections")
		text := w.text(res)
		if res.StatusCode < 400 || res.StatusCode >= 500 || !json.Valid([]byte(text)) {
			t.Errorf("%s: %d %.200s", name, res.StatusCode, text)
		}
		if name == "twin" && !strings.Contains(text, `"id":1,`) {
			t.Errorf("the call is refused without its id: %s", text)
		}
	}
	if len(broker.callers) > 0 {
		t.Error("something ran")
	}
}

// MC-003: what the headers say must be what the body says, and they say it once.
func TestHeadersMustMatchTheBody(t *testing.T) {
	broker := &fake{}
	w := serve(t, New(broker, Options{}))
	for _, h := range [][]string{
		{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list", "Mcp-Name", "list_connections"},
		{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "revoke"},
		{"MCP-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "list_connections"},
		{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call"},
	} {
		res := w.do("POST", "/mcp", "T1", modernCall("list_connections", "{}", "{}", ""), h...)
		if text := w.text(res); res.StatusCode != 400 || !strings.Contains(text, "-32020") {
			t.Errorf("%v: %d %s", h, res.StatusCode, text)
		}
	}
	good := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"list_connections"}}
	for name, other := range map[string]string{"Mcp-Protocol-Version": "2025-11-25", "Mcp-Method": "tools/list", "Mcp-Name": "revoke"} {
		for _, pair := range [][]string{{good.Get(name), other}, {other, good.Get(name)}, {good.Get(name), good.Get(name)}, {other}, {strings.ToUpper(good.Get(name)) + "X"}, {good.Get(name) + ", " + other}, {""}} {
			headers := good.Clone()
			headers[name] = pair
			req, err := http.NewRequestWithContext(t.Context(), "POST", w.URL+"/mcp", strings.NewReader(modernCall("list_connections", "{}", "{}", "")))
			if err != nil {
				t.Fatal(err)
			}
			headers.Set("Authorization", "Bearer T1")
			headers.Set("Content-Type", "application/json")
			req.Header = headers
			res, err := w.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if text := w.text(res); res.StatusCode != 400 || !strings.Contains(text, "-32020") {
				t.Errorf("%s %q: %d %s", name, pair, res.StatusCode, text)
			}
			res.Body.Close()
		}
	}
	if len(broker.callers) > 0 {
		t.Error("something ran")
	}
}

// A token without a tool's scope is told which to get, without losing what it has.
func TestStepUp(t *testing.T) {
	broker := &fake{}
	w := serve(t, New(broker, Options{}))
	res := w.modern("T1.use", "revoke", `{"provider":"p"}`, "{}", "")
	challenge := res.Header.Get("WWW-Authenticate")
	if res.StatusCode != 403 || !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="latchpost:use latchpost:revoke"`) ||
		!strings.Contains(challenge, "resource_metadata=") {
		t.Errorf("%d %s", res.StatusCode, challenge)
	}
	if len(broker.callers) > 0 {
		t.Error("revoke ran")
	}
	if res := w.modern("T1.use", "list_connections", `{}`, "{}", ""); res.StatusCode != 200 {
		t.Errorf("with the scope: %d %s", res.StatusCode, w.text(res))
	}
}

// ID-022: who asks is in the token and nowhere else.
func TestIdentityComesFromTheTokenOnly(t *testing.T) {
	broker := &fake{}
	w := serve(t, New(broker, Options{}))
	res := w.do("POST", "/mcp", "T1", modernCall("list_connections", "{}", "{}", ""), "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call",
		"Mcp-Name", "list_connections", "X-User", "bob", "X-Tenant", "t2", "X-Forwarded-User", "bob", "Forwarded", "for=bob")
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, w.text(res))
	}
	if c := broker.lastCaller(); c.User != "T1" || c.Org != "" || c.Client != "agent" || !c.Verified {
		t.Errorf("caller %+v", c)
	}
	for _, args := range []string{`{"user":"bob"}`, `{"tenant":"t2"}`, `{"owner":{"User":"bob"}}`} {
		if text := w.text(w.modern("T1", "list_connections", args, "{}", "")); !strings.Contains(text, "unknown argument") {
			t.Errorf("%s: %s", args, text)
		}
	}
}

// MC-028: when the client closes the stream, the work stops.
func TestClosingTheStreamStopsTheCall(t *testing.T) {
	started, stopped := make(chan struct{}), make(chan struct{})
	broker := &fake{call: func(ctx context.Context, _ auth.Caller, _ auth.Call) (*auth.Response, error) {
		close(started)
		<-ctx.Done()
		close(stopped)
		return nil, ctx.Err()
	}}
	w := serve(t, New(broker, Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", w.URL+"/mcp", strings.NewReader(modernCall("call_api", `{"provider":"p","path":"/"}`, "{}", "")))
	for name, value := range map[string]string{"Authorization": "Bearer T1", "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "call_api"} {
		req.Header.Set(name, value)
	}
	go func() {
		<-started
		cancel()
	}()
	if res, err := w.Client().Do(req); err == nil {
		res.Body.Close()
		t.Error("the call was answered")
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the call goes on without its client")
	}
}

// MC-028: notifications/cancelled ends a call of the same session, and of no other.
func TestCancelledReachesItsOwnSessionOnly(t *testing.T) {
	started, release := make(chan string, 2), make(chan struct{})
	broker := &fake{call: func(ctx context.Context, c auth.Caller, _ auth.Call) (*auth.Response, error) {
		started <- c.User
		select {
		case <-release:
			return &auth.Response{Status: 200, Text: true, Body: []byte(c.User)}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	w := serve(t, New(broker, Options{}))
	ids := map[string]string{"T1": w.session("T1", "{}"), "T2": w.session("T2", "{}")}
	answers := map[string]chan string{"T1": make(chan string, 1), "T2": make(chan string, 1)}
	for user := range ids {
		go func() {
			answers[user] <- w.text(w.do("POST", "/mcp", user, legacyCall("call_api", `{"provider":"p","path":"/"}`), "Mcp-Session-Id", ids[user]))
		}()
	}
	<-started
	<-started
	w.do("POST", "/mcp", "T2", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}`, "Mcp-Session-Id", ids["T2"])
	if text := <-answers["T2"]; !strings.Contains(text, "cancelled") {
		t.Errorf("T2 was answered %s", text)
	}
	close(release)
	if text := <-answers["T1"]; !strings.Contains(text, "T1") {
		t.Errorf("T1 was answered %s", text)
	}
}

// Streams that stay open are counted for their caller, and places come back.
func TestStreamsAreBounded(t *testing.T) {
	s := New(&fake{}, Options{})
	w := serve(t, s)
	w.Config.Handler = s.HTTP(HTTPOptions{Identify: Bearer(w.users.verify), Sessions: 1})
	ctx, leave := context.WithCancel(t.Context())
	ids := map[string]string{"T1": w.session("T1", "{}"), "T2": w.session("T2", "{}")}
	listen := func(ctx context.Context, token string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", w.URL+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Mcp-Session-Id", ids[token])
		res, err := w.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	if res := listen(ctx, "T1"); res.StatusCode != 200 || res.Header.Get("X-Accel-Buffering") != "no" || res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the first stream: %d %v", res.StatusCode, res.Header)
	}
	if res := listen(t.Context(), "T1"); res.StatusCode != 429 {
		t.Errorf("the second: %d", res.StatusCode)
	}
	if res := listen(t.Context(), "T2"); res.StatusCode != 200 {
		t.Errorf("another caller's: %d", res.StatusCode)
	}
	leave()
	for end := time.Now().Add(5 * time.Second); ; {
		if res := listen(t.Context(), "T1"); res.StatusCode == 200 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the place does not come back")
		}
	}
}

// subscriptions/listen has no bound and looks at no token again, because there is nothing here to listen to: it ends at once,
// behind the acknowledgement that says so.
func TestNothingToListenTo(t *testing.T) {
	s := New(&fake{}, Options{})
	w, h := serve(t, s), plug(t, s)
	const listen = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["ui://latchpost/connect","latchpost://files/x"]},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	for range 50 { // the acknowledgement was lost half of the time
		res := w.do("POST", "/mcp", "T1", listen, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
		text := w.text(res)
		acknowledged, answered := strings.Index(text, `"notifications":{}`), strings.Index(text, `"id":1,"result"`)
		if res.StatusCode != 200 || acknowledged < 0 || answered < acknowledged {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
	}
	h.send(listen)
	if m := h.next(); m["method"] != "notifications/subscriptions/acknowledged" {
		t.Errorf("over stdio comes first: %v", m)
	}
	if m := h.next(); m["id"] != 1. || m["result"] == nil {
		t.Errorf("and then: %v", m)
	}
}

func TestResourceMetadata(t *testing.T) {
	w := serve(t, New(&fake{}, Options{}))
	res := w.do("GET", "/.well-known/oauth-protected-resource/mcp", "", "")
	var doc map[string]any
	if err := json.Unmarshal([]byte(w.text(res)), &doc); err != nil || doc["resource"] != "https://post.example/mcp" ||
		fmt.Sprint(doc["authorization_servers"]) != "[https://issuer.example]" || fmt.Sprint(doc["bearer_methods_supported"]) != "[header]" {
		t.Errorf("%v", doc)
	}
}

// MC-020: clients with equal JSON-RPC ids, at once, some of which hang up: everybody gets their own answers.
func TestNoForeignAnswers(t *testing.T) {
	t.Parallel() // the longest, beside other programs that are waited for
	const clients = 100
	calls := 1000
	if testing.Short() {
		calls = 50
	}
	broker := &fake{call: func(ctx context.Context, c auth.Caller, call auth.Call) (*auth.Response, error) {
		return &auth.Response{Status: 200, Text: true, Body: []byte("(" + c.User + call.Path + ")")}, ctx.Err()
	}}
	s := New(discard{broker}, Options{})
	handler := s.HTTP(HTTPOptions{Identify: Bearer((&users{}).verify)})
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	ask := func(ctx context.Context, token, body string, headers ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequestWithContext(ctx, "POST", "http://127.0.0.1/mcp", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		return rec
	}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			token := fmt.Sprintf("T%d", n)
			session := ask(t.Context(), token, fmt.Sprintf(hello, "{}")).Header().Get("Mcp-Session-Id")
			for i := range calls {
				path := fmt.Sprintf("/%d", i)
				args := fmt.Sprintf(`{"provider":"p","path":%q}`, path)
				ctx, cancel := context.WithCancel(t.Context())
				if i%17 == 0 {
					cancel() // it hangs up
				}
				var rec *httptest.ResponseRecorder
				if n%2 == 0 {
					rec = ask(ctx, token, modernCall("call_api", args, "{}", ""), "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "call_api")
				} else {
					rec = ask(ctx, token, legacyCall("call_api", args), "Mcp-Session-Id", session)
				}
				cancel()
				want := []byte("(" + token + path + ")")
				if body := rec.Body.Bytes(); i%17 != 0 && bytes.Count(body, want) == 0 || bytes.Count(body, []byte("(T")) != bytes.Count(body, want) {
					t.Errorf("%s call %d was answered %d %.300s", token, i, rec.Code, body)
					return
				}
			}
		})
	}
	wg.Wait()
}

// discard is a fake that does not remember, for load.
type discard struct{ *fake }

func (d discard) Call(ctx context.Context, c auth.Caller, call auth.Call) (*auth.Response, error) {
	return d.fake.call(ctx, c, call)
}
