package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// browserHash stands for the cookie of a person's browser.
var browserHash = func() []byte { h := sha256.Sum256([]byte("browser")); return h[:] }()

// caller is an agent that keeps its connections, and wants to see refusals.
type caller struct {
	t    *testing.T
	http *http.Client
	base string
	auth string
	meta string // more of _meta, with a comma behind
}

func (n *neighbourhood) caller(token string) *caller {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &caller{t: n.t, http: &http.Client{Transport: transport}, base: n.base, auth: "Bearer " + token}
}

// owner is a caller with a new token of a user.
func (n *neighbourhood) owner(user string) *caller {
	n.t.Helper()
	token, _, err := n.identity.Tokens.Create(n.t.Context(), auth.Owner{User: user}, "agent", nil, time.Time{})
	if err != nil {
		n.t.Fatal(err)
	}
	return n.caller(token.Reveal())
}

// call gives the answer whole, whatever its status; a Retry-After stands in the header.
func (c *caller) call(tool, args string) (resp *http.Response, body string) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.base+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+tool+`","arguments":`+args+`,"_meta":{`+c.meta+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`))
	if err != nil {
		c.t.Error(err)
		return &http.Response{}, ""
	}
	for name, value := range map[string]string{
		"Authorization": c.auth, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool,
	} {
		req.Header.Set(name, value)
	}
	if resp, err = c.http.Do(req); err != nil {
		c.t.Error(err)
		return &http.Response{}, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Error(err)
	}
	return resp, string(text)
}

// must gives the answer of a call that goes well.
func (c *caller) must(tool, args string) map[string]any {
	c.t.Helper()
	resp, body := c.call(tool, args)
	resp.Body = io.NopCloser(strings.NewReader(body))
	answer, failed, err := readAnswer(resp)
	if err != nil || failed {
		c.t.Fatalf("%s: %v %v", tool, answer, err)
	}
	return answer
}

// crowd runs do n times, some at once.
func crowd(atOnce, n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(int(i))
			}
		})
	}
	all.Wait()
}

// much is n, and less under -short.
func much(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// DS-001: however many sign-ins the agents of one owner ask for, twenty are open, the store does not grow with
// the rest, and another owner's go on.
func TestLoadPendingRequests(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--requests-per-second", "0")
	flood, quiet := n.owner("flood"), n.owner("quiet")
	var opened, refused, odd, answered atomic.Int64
	total := much(10_000, 500)
	crowd(32, total, func(i int) {
		_, body := flood.call("request_auth", fmt.Sprintf(`{"provider":"practice","account":"account-%d"}`, i))
		switch {
		case strings.Contains(body, `"auth_required"`):
			opened.Add(1)
		case strings.Contains(body, auth.ErrLimit.Code):
			refused.Add(1)
		default:
			odd.Add(1)
			t.Log(body)
		}
		if i%(total/10) == 0 {
			if _, body := quiet.call("request_auth", fmt.Sprintf(`{"provider":"practice","account":"account-%d"}`, i)); strings.Contains(body, `"auth_required"`) {
				answered.Add(1)
			}
		}
	})
	if opened.Load() != 20 || odd.Load() != 0 || answered.Load() != 10 {
		t.Errorf("%d sign-ins were opened, %d refused, %d something else; the other owner got %d of 10", opened.Load(), refused.Load(), odd.Load(), answered.Load())
	}
	census, err := n.db.Census(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, count := range census.Requests {
		rows += count
	}
	report, err := n.audit.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if rows != 30 || report.Events > 100 { // those who ask at once may pass the first look together
		t.Errorf("the store holds %d requests and %d events", rows, report.Events)
	}
}

// DS-002: connections of one address and streams of one caller are counted; those of others are served meanwhile.
func TestLoadConnections(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve")
	address := strings.TrimPrefix(n.base, "http://")
	const most = 1024 // guard.Options.MaxConnsPerIP
	idle := make([]net.Conn, most+200)
	for i := range idle {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle[i] = conn
	}
	var closed atomic.Int64
	crowd(len(idle), len(idle), func(i int) {
		conn := idle[i-1]
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err != nil && !os.IsTimeout(err) {
			closed.Add(1)
		}
	})
	if open := len(idle) - int(closed.Load()); open > most || open < most-16 {
		t.Errorf("of %d connections %d are open", len(idle), open)
	}
	elsewhere := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}}
	resp, err := elsewhere.Get(n.base + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a client elsewhere gets %v %v", resp, err)
	}
	_ = resp.Body.Close()
	for _, conn := range idle {
		_ = conn.Close()
	}

	loud, quiet := n.owner("loud"), n.owner("quiet")
	loud.http, quiet.http = elsewhere, elsewhere
	var streams []*http.Response
	full := 0
	for range 100 {
		resp := loud.stream()
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusTooManyRequests {
			full++
			continue
		}
		streams = append(streams, resp)
	}
	if len(streams) != 64 || full != 36 {
		t.Errorf("%d streams are open, %d refused", len(streams), full)
	}
	resp = quiet.stream()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the other caller's stream: %s", resp.Status)
	}
	quiet.must("list_connections", `{}`)
}

// stream opens /sse.
func (c *caller) stream() *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.base+"/sse", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", c.auth)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// DS-003: an owner whose agents send all they can is told to slow down, and the agents of another are served as
// ever. The bound on their time is wide, because driver and server share the machine.
func TestLoadOneOwnerAtFullRate(t *testing.T) {
	const perSecond = 50
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--requests-per-second", fmt.Sprint(perSecond))
	loud, quiet := n.owner("loud"), n.owner("quiet")
	measure := func() time.Duration {
		began := time.Now()
		if resp, body := quiet.call("list_connections", `{}`); resp.StatusCode != http.StatusOK {
			t.Errorf("the quiet owner gets %d %s", resp.StatusCode, body)
		}
		return time.Since(began)
	}
	var calm, pressed []time.Duration
	for range 20 {
		calm = append(calm, measure())
	}
	ctx, stop := context.WithCancel(t.Context())
	var served, refused, wrong atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				switch resp, _ := loud.call("list_connections", `{}`); {
				case resp.StatusCode == http.StatusOK:
					served.Add(1)
				case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					wrong.Add(1)
				}
			}
		})
	}
	for refused.Load() == 0 && wrong.Load() == 0 {
		runtime.Gosched()
	}
	for range 40 {
		pressed = append(pressed, measure())
	}
	stop()
	all.Wait()
	allowed := int64(2*perSecond + perSecond*time.Since(began).Seconds() + 1)
	if served.Load() > allowed || wrong.Load() > 0 {
		t.Errorf("the loud owner was served %d times of at most %d, refused %d times, %d times otherwise", served.Load(), allowed, refused.Load(), wrong.Load())
	}
	slices.Sort(calm)
	slices.Sort(pressed)
	t.Logf("the quiet owner's median: %s alone, %s beside %d refusals; the slowest: %s and %s", calm[10], pressed[20], refused.Load(), calm[19], pressed[39])
	if slowest := pressed[39]; slowest > time.Second {
		t.Errorf("the quiet owner waited %s", slowest)
	}
}

// DS-004: whoever hammers pages that need no sign-in is slowed down, nothing is written for it, and health still answers.
func TestLoadUnauthenticated(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve")
	before, err := n.audit.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	get := func(path string) int {
		resp, err := client.Get(n.base + path)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	paths := []string{"/login", "/login/AAAAAAAAAAAAAAAAAAAAAAAAAA", "/callback/practice?state=x&code=y", "/c/AAAAAAAAAAAAAAAAAAAAAAAAAA", "/connections"}
	var slowed, ill atomic.Int64
	total := much(2000, 400)
	crowd(16, total, func(i int) {
		if get(paths[i%len(paths)]) == http.StatusTooManyRequests {
			slowed.Add(1)
		}
		if i%20 == 0 && get("/healthz") != http.StatusOK {
			ill.Add(1)
		}
	})
	if slowed.Load() < int64(total)/2 || ill.Load() != 0 {
		t.Errorf("of %d requests %d were slowed down; health failed %d times", total, slowed.Load(), ill.Load())
	}
	after, err := n.audit.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	census, err := n.db.Census(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Events != before.Events || len(census.Requests) != 0 {
		t.Errorf("%d events and %d requests were written", after.Events-before.Events, len(census.Requests))
	}
}

// DS-008: after mixed load, with errors and clients that hang up, goroutines and descriptors are as many as before.
func TestLoadLeavesNothing(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--requests-per-second", "0", "--metrics-listen", "127.0.0.1:0", "--unsafe-metrics")
	owners := make([]*caller, 8)
	for i := range owners {
		owners[i] = n.owner(fmt.Sprint("owner-", i))
		id, _ := owners[i].must("request_auth", `{"provider":"practice"}`)["request_id"].(string)
		if err := finish(t.Context(), n.vault, n.provider, id, browserHash); err != nil {
			t.Fatal(err)
		}
	}
	stranger := n.caller("no token of ours")
	load := func() {
		crowd(16, much(1600, 300), func(i int) {
			c := owners[i%len(owners)]
			switch i % 8 {
			case 0:
				_ = c.stream().Body.Close()
			case 1:
				stranger.call("list_connections", `{}`)
			case 2:
				c.call("call_api", `{"provider":"practice","path":"/nowhere"}`)
			case 3:
				c.call("request_auth", `{"provider":"practice","account":"another"}`)
			case 4:
				c.hangUp()
			default:
				c.call("call_api", `{"provider":"practice","path":"/me"}`)
			}
		})
		for _, c := range append(owners, stranger) {
			c.http.CloseIdleConnections()
		}
		n.vault.Out.CloseIdle() // they end by themselves, but each owner has its own
	}
	load() // warm: pools, keys, caches
	goroutines, files := settled(t, 0, 0)
	for range 3 {
		load()
		g, f := settled(t, goroutines+8, files+8)
		t.Logf("%d goroutines and %d descriptors, %d and %d before", g, f, goroutines, files)
	}
}

// hangUp sends half a request and leaves.
func (c *caller) hangUp() {
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.base, "http://"))
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", strings.TrimPrefix(c.base, "http://"), c.auth)
}

// settled waits until goroutines and descriptors are not more than that; with 0, until they stop falling.
func settled(t *testing.T, goroutines, files int) (g, f int) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline, still := time.Now().Add(15*time.Second), 0
	for still < 10 {
		<-tick.C
		nowG, nowF := runtime.NumGoroutine(), descriptors(t)
		if goroutines > 0 && nowG <= goroutines && nowF <= files {
			return nowG, nowF
		}
		if nowG == g && nowF == f {
			still++
		} else {
			still = 0
		}
		g, f = nowG, nowF
		if time.Now().After(deadline) {
			break
		}
	}
	if goroutines > 0 {
		var stacks bytes.Buffer
		buf := make([]byte, 1<<20)
		stacks.Write(buf[:runtime.Stack(buf, true)])
		t.Errorf("%d goroutines of %d and %d descriptors of %d are left\n%s", g, goroutines, f, files, &stacks)
	}
	return g, f
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
