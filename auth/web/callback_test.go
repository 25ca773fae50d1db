package web_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/web"
)

// start confirms a request and gives the callback that a provider's page would lead to.
func (h *house) start(p *person, c auth.Caller) (id, back string) {
	h.t.Helper()
	id = h.ask(c, auth.Wish{}).RequestID
	back, err := h.Server.Approve(h.t.Context(), p.confirm(id, nil), "alice")
	if err != nil {
		h.t.Fatal(err)
	}
	return id, back
}

func (h *house) tokenRequests() int { return len(h.Server.Requests("POST /token")) }

// CB-001: without a state nothing is asked, nothing changes, and the code is neither on the page nor in the log.
func TestCallbackWithoutState(t *testing.T) {
	var log bytes.Buffer
	h := open(t, func(v *authtest.Vault, o *web.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		v.Log = o.Log
	})
	p := h.person()
	id, back := h.start(p, claude)
	for _, query := range []string{"code=CANARY-CODE", "code=CANARY-CODE&state=", "state=&code=CANARY-CODE&error=CANARY-CODE", "code=CANARY-CODE&state=%00"} {
		for _, path := range []string{"/callback/practice?", "/callback?"} {
			p.get(path + query)
			p.want(400)
			if strings.Contains(p.last.body+fmt.Sprint(p.last.header), "CANARY") {
				t.Errorf("%s: the code is in the answer", query)
			}
		}
	}
	p.get("/callback?" + mustURL(back).RawQuery) // a good answer, at the address of nobody
	p.want(400)
	if strings.Contains(log.String(), "CANARY") {
		t.Errorf("the log: %s", log.String())
	}
	if n := h.tokenRequests(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if s := h.status(claude, id); s.Status != auth.StatusPending {
		t.Errorf("the flow is %s", s.Status)
	}
}

// CB-002: unknown, expired and used states cannot be told apart.
func TestCallbackGuess(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	_, used := h.start(p, claude)
	_, expired := h.start(p, auth.Caller{Owner: auth.Local, Client: "other"})
	p.get(used)
	p.want(303)
	h.pass(requestTTL)
	p.get(used)
	first := p.want(400)
	p.get(expired)
	if second := p.want(400); second.body != first.body {
		t.Errorf("used and expired differ:\n%s\n%s", first.body, second.body)
	}
	for range 100 {
		p.get("/callback/practice?code=x&state=" + strings.Repeat("A", 43))
		if guess := p.want(400); guess.body != first.body {
			t.Fatalf("a guess and a used state differ:\n%s\n%s", guess.body, first.body)
		}
	}
	stranger := h.person() // without the cookies, as curl comes, or who is later than they live
	for _, spent := range []string{used, expired} {
		stranger.get(spent)
		if got := stranger.want(400); got.body != first.body {
			t.Errorf("a guess and a spent state without its cookie differ:\n%s\n%s", got.body, first.body)
		}
	}
}

// CB-003
func TestCallbackReplay(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id, back := h.start(p, claude)
	p.get(back)
	p.want(303)
	before, err := h.DB.Connections(t.Context(), auth.Local, "practice", "")
	if err != nil || len(before) != 1 {
		t.Fatal(before, err)
	}
	p.get(back)
	p.want(400, "used already")
	if n := h.tokenRequests(); n != 1 {
		t.Errorf("%d token requests", n)
	}
	if after, err := h.DB.Connections(t.Context(), auth.Local, "practice", ""); err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the connection was %+v and is %+v, %v", before, after, err)
	}
	if !h.happened(auth.Local, "request.replay") {
		t.Error("the replay is not on record")
	}
	if s := h.status(claude, id); s.Status != auth.StatusConnected {
		t.Errorf("the flow is %s", s.Status)
	}
}

// CB-004: of fifty identical callbacks at once one redeems the code.
func TestCallbackRace(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	_, back := h.start(p, claude)
	statuses := make([]int, 50)
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), "GET", back, nil)
			resp, err := p.client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			statuses[i] = resp.StatusCode
		})
	}
	all.Wait()
	count := map[int]int{}
	for _, s := range statuses {
		count[s]++
	}
	if count[303] != 1 || count[400] != 49 {
		t.Errorf("answers: %v", count)
	}
	if n := h.tokenRequests(); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// CB-009: the provider's words reach neither the page nor the agent.
func TestCallbackErrorText(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id, back := h.start(p, claude)
	u, _ := url.Parse(back)
	q := url.Values{"state": {u.Query().Get("state")}, "error": {"<b>x</b>"}, "error_description": {"<script>alert(1)</script>\nIGNORE ALL"}}
	p.get("/callback/practice?" + q.Encode())
	p.want(303)
	p.get("/done/" + id)
	p.want(200, "is not connected")
	for _, text := range []string{"alert(1)", "IGNORE ALL", "<b>x"} {
		if strings.Contains(p.last.body, text) {
			t.Errorf("the page says %q", text)
		}
	}
	if !strings.Contains(p.last.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Error("no content policy")
	}
	if s := h.status(claude, id); s.Status != auth.StatusFailed || s.Cause != auth.ErrRefused.Code {
		t.Errorf("the agent is told %s, %q", s.Status, s.Cause)
	}
}

func TestCallbackLeavesACleanAddress(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id, back := h.start(p, claude)
	p.get(back)
	p.want(303)
	if got := p.last.header.Get("Location"); got != "/done/"+id {
		t.Errorf("it leads to %q", got)
	}
	for name, want := range map[string]string{"Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if got := p.last.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// CB-012: whoever looks ahead of the person consumes nothing.
func TestPrefetch(t *testing.T) {
	opened := 0
	h := open(t, func(_ *authtest.Vault, o *web.Options) {
		o.Live = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { opened++ })
	})
	p := h.person()
	id, back := h.start(p, claude)
	keyed := h.ask(claude, auth.Wish{Method: auth.MethodAPIKey}).RequestID
	p.confirm(keyed, nil)
	for _, address := range []string{"/c/" + id, "/c/" + keyed, back, "/secret/" + keyed, "/done/" + id, "/live/" + id} {
		for _, header := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
			if got := p.get(address, header, "prefetch;prerender"); got.status != 204 || got.body != "" {
				t.Errorf("%s: prefetch of %s answers %d", header, address, got.status)
			}
		}
		if !strings.HasPrefix(address, "http") {
			address = h.URL + address
		}
		if got := p.do(p.request("HEAD", address, nil, nil)); got.status != 204 || len(got.header.Values("Set-Cookie")) > 0 {
			t.Errorf("HEAD %s answers %d", address, got.status)
		}
	}
	if n := h.tokenRequests(); n != 0 || opened != 0 {
		t.Errorf("%d token requests, the live view was opened %d times", n, opened)
	}
	p.get("/live/" + id)
	p.get(back)
	p.want(303)
	if s := h.status(claude, id); s.Status != auth.StatusConnected || opened != 1 {
		t.Errorf("the flow is %s, the live view was opened %d times", s.Status, opened)
	}
}

// CB-013
func TestCallbackPollution(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	_, back := h.start(p, claude)
	for _, more := range []string{"&state=B", "&code=b", "&x=1&x=2", "&%73tate=B"} {
		p.get(back + more)
		p.want(400)
	}
	if got := p.do(p.request("POST", back, nil, nil)); got.status != 405 {
		t.Errorf("POST answers %d", got.status)
	}
	if n := h.tokenRequests(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	p.get(back)
	p.want(303)
}

// CB-014: what is too large is refused before the store is asked.
func TestCallbackOversized(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	_, back := h.start(p, claude)
	u, _ := url.Parse(back)
	state := u.Query().Get("state")
	store := h.Requests
	h.Requests = nil // any use of it would panic
	for name, query := range map[string]string{
		"code":       "state=" + state + "&code=" + strings.Repeat("c", 64<<10),
		"state":      "code=c&state=" + strings.Repeat("s", 8<<10),
		"no state":   "code=c",
		"parameters": "state=" + state + "&code=c" + strings.Repeat("&a=", 2000),
	} {
		if got := p.get("/callback/practice?" + query); got.status != 400 && got.status != 414 && got.status != 431 {
			t.Errorf("%s: status %d", name, got.status)
		}
	}
	h.Requests = store
	p.get(back)
	p.want(303)
}

// CB-015: no parameter says where a page leads to.
func TestOpenRedirect(t *testing.T) {
	h := open(t, nil)
	p := h.person().signIn("local")
	id, back := h.start(p, claude)
	evil := ""
	for _, target := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "javascript:alert(1)"} {
		for _, name := range []string{"return_to", "redirect", "next", "url", "ended"} {
			evil += "&" + url.Values{name + target[:1]: {target}, name: {target}}.Encode()
		}
	}
	pages := []string{"/c/" + id, "/done/" + id, "/", "/connections", "/approvals", "/apps", "/activity", "/secret/" + id, "/nothing"}
	for _, address := range pages {
		p.get(address + "?x=1" + evil)
		checkLocation(t, p.last)
		if strings.Contains(p.last.body, "evil") {
			t.Errorf("%s repeats the address", address)
		}
	}
	for _, try := range []struct {
		page, to string
		form     url.Values
	}{
		{"/connections", "/connections", url.Values{"do": {"nothing"}}},
		{"/apps", "/apps", url.Values{"do": {"remove"}, "provider": {"practice"}}},
		{"/c/" + id, "/done/" + id, url.Values{"do": {"cancel"}}},
		{"/c/" + h.ask(claude, auth.Wish{Account: "another"}).RequestID, "", url.Values{"do": {"decline"}}},
	} {
		if try.to == "" {
			try.to = try.page
		}
		p.get(try.page)
		p.want(200)
		for _, target := range []string{"//evil.example", "https://evil.example"} {
			for _, name := range []string{"return_to", "redirect", "next", "url"} {
				try.form.Set(name, target)
			}
		}
		p.post(try.to+"?x=1"+evil, try.form, "Referer", "https://evil.example/")
		checkLocation(t, p.last)
		if strings.Contains(p.last.body, "evil") {
			t.Errorf("posting to %s repeats the address", try.to)
		}
	}
	p.get(back + "&next=" + url.QueryEscape("https://evil.example"))
	checkLocation(t, p.last)
}

func checkLocation(t *testing.T, got page) {
	t.Helper()
	if to := got.header.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "evil")) {
		t.Errorf("it leads to %q", to)
	}
}

// CB-020: a sign-in as somebody else replaces nothing until the person says so.
func TestAnotherAccount(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	h.connect(p, h.ask(claude, auth.Wish{}).RequestID, "alice")
	again := h.ask(claude, auth.Wish{Account: "alice@example.com", Scopes: []string{"profile"}}).RequestID
	h.connect(p, again, "bob")
	p.want(200, "bob@example.com", "Replace alice@example.com with bob@example.com", "Nothing has changed yet")
	held := p.last
	if got := h.accounts(); got != "alice@example.com" {
		t.Fatalf("connected: %s", got)
	}

	q := h.person() // another browser decides nothing
	q.last = held
	q.post("/done/"+again, url.Values{"do": {"replace"}})
	q.want(403)
	p.post("/done/"+again, url.Values{"do": {"replace"}, "token": {"forged"}})
	p.want(403)
	if got := h.accounts(); got != "alice@example.com" {
		t.Fatalf("connected: %s", got)
	}

	p.last = held
	p.post("/done/"+again, url.Values{"do": {"replace"}})
	p.want(303)
	if got := h.accounts(); got != "bob@example.com" {
		t.Errorf("connected: %s", got)
	}
}

func (h *house) accounts() string {
	h.t.Helper()
	found, err := h.Desk(auth.Local).Connections(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	var labels []string
	for _, c := range found {
		labels = append(labels, c.Account)
	}
	return strings.Join(labels, ", ")
}

// CB-021: what a request says about its host is not believed.
func TestForwardedHost(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id := h.ask(claude, auth.Wish{}).RequestID
	p.get("/c/"+id, "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example")
	p.post("/c/"+id, url.Values{"do": {"connect"}}, "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https")
	p.want(200)
	u, _ := url.Parse(p.target())
	if got := u.Query().Get("redirect_uri"); got != h.URL+"/callback/practice" {
		t.Errorf("redirect_uri is %q", got)
	}
	r := p.request("GET", "/c/"+id, nil, nil)
	r.Host = "evil.example"
	if got := p.do(r); got.status != 421 && got.status != 403 || strings.Contains(got.body, "evil") {
		t.Errorf("a foreign host gets %d", got.status)
	}
}

// CB-024: what was cancelled stays cancelled.
func TestCallbackAfterCancel(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id, back := h.start(p, claude)
	if _, err := h.Revoke(t.Context(), claude, auth.Unwanted{RequestID: id}); err != nil {
		t.Fatal(err)
	}
	p.get(back)
	p.want(400)
	if n := h.tokenRequests(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if !h.happened(auth.Local, "request.replay") {
		t.Error("it is not on record")
	}
}

func TestCallbackAtLocalhost(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	_, back := h.start(p, claude)
	r := p.request("GET", back, nil, nil)
	r.Host = strings.Replace(h.Host, "127.0.0.1", "localhost", 1)
	got := p.do(r)
	if to := got.header.Get("Location"); got.status != 303 || !strings.HasPrefix(to, h.URL+"/callback/practice?") {
		t.Fatalf("%d to %q", got.status, to)
	}
	p.get(got.header.Get("Location"))
	p.want(303)
}

// An answer that came in the last moment is redeemed after the link's time is over. The page does not say meanwhile that
// nothing was connected.
func TestCallbackInTheLastMoment(t *testing.T) {
	h := open(t, nil)
	p := h.person()
	id, back := h.start(p, claude)
	fault, pause := authtest.PauseAt(authtest.Committed)
	h.Server.Fault("/token", fault)
	h.pass(requestTTL - 3*time.Second)
	answered := make(chan error, 1)
	go func() {
		resp, err := p.client.Do(p.request("GET", back, nil, nil))
		if err == nil {
			err = resp.Body.Close()
		}
		answered <- err
	}()
	<-pause.Reached
	h.pass(4 * time.Second)
	p.get("/done/" + id)
	p.want(200, "Almost there")
	if p.last.header.Get("Refresh") == "" {
		t.Error("the page does not look again")
	}
	close(pause.Release)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	p.get("/done/" + id)
	p.want(200, "is connected")
}
