package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// asked makes a call that the owner has to allow.
func askOwner(t *testing.T, v *authtest.Vault, c auth.Caller, call auth.Call, reason string) *auth.ApprovalRequired {
	t.Helper()
	resp, err := v.Call(t.Context(), c, call)
	var ask *auth.ApprovalRequired
	if !errors.As(err, &ask) || ask.Reason != reason {
		t.Fatalf("%+v, %v; want approval_required for %s", resp, err, reason)
	}
	return ask
}

func decide(t *testing.T, v *authtest.Vault, id string, d auth.Decision) {
	t.Helper()
	if err := v.Desk(auth.Local).Decide(t.Context(), id, d); err != nil {
		t.Fatal(err)
	}
}

func post(path, body string) auth.Call {
	return auth.Call{Provider: "practice", Method: "POST", Path: path, Headers: map[string]string{"Content-Type": "text/plain"}, Body: []byte(body)}
}

// BF-046: an approval is for exactly the call that was shown: method, URL, headers and body, this client and this
// connection, once, and for a quarter of an hour.
func TestApprovalOnce(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.API.Forget()
	shown := post("/echo", "pay 1")
	shown.Query = map[string][]string{"to": {"bob"}}
	ask := askOwner(t, v, agent, shown, auth.RuleReadOnly)
	decide(t, v, ask.RequestID, auth.Decision{Allow: true})
	other := agent
	other.Client = "another-agent"
	for name, change := range map[string]func(*auth.Caller, *auth.Call){
		"body":   func(_ *auth.Caller, c *auth.Call) { c.Body = []byte("pay 1000") },
		"method": func(_ *auth.Caller, c *auth.Call) { c.Method = "PUT" },
		"path":   func(_ *auth.Caller, c *auth.Call) { c.Path = "/repos" },
		"query":  func(_ *auth.Caller, c *auth.Call) { c.Query = map[string][]string{"to": {"eve"}} },
		"header": func(_ *auth.Caller, c *auth.Call) { c.Headers = map[string]string{"Content-Type": "application/json"} },
		"client": func(who *auth.Caller, _ *auth.Call) { *who = other },
	} {
		who, again := agent, shown
		change(&who, &again)
		var ask *auth.ApprovalRequired
		if resp, err := v.Call(t.Context(), who, again); !errors.As(err, &ask) {
			t.Errorf("another %s: %+v, %v", name, resp, err)
		}
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Fatalf("%d requests were sent", n)
	}
	var all sync.WaitGroup
	var passed sync.Map
	for i := range 8 { // of any number at once, one passes
		all.Go(func() {
			if _, err := v.Call(t.Context(), agent, shown); err == nil {
				passed.Store(i, true)
			}
		})
	}
	all.Wait()
	if n := len(v.API.Requests("")); n != 1 || count(&passed) != 1 {
		t.Errorf("%d requests, %d passed", n, count(&passed))
	}
	ask = askOwner(t, v, agent, shown, auth.RuleReadOnly)
	decide(t, v, ask.RequestID, auth.Decision{Allow: true})
	c.forward(16 * time.Minute)
	askOwner(t, v, agent, shown, auth.RuleReadOnly)
	if err := v.Desk(auth.Local).Decide(t.Context(), ask.RequestID, auth.Decision{Allow: true}); !errors.Is(err, auth.ErrUsed) {
		t.Errorf("deciding twice: %v", err)
	}
	ask = askOwner(t, v, agent, post("/echo", "for an hour"), auth.RuleReadOnly)
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, For: time.Hour})
	if n := len(events(t, v, "approval.done")); n != 0 { // which says that it could not be carried out
		t.Errorf("%d decisions are on record as failed", n)
	}
	var said []string
	for _, e := range events(t, v, "approval.allow") {
		said = append(said, e.Detail["once"]+" "+e.Detail["until"])
	}
	slices.Sort(said)
	if want := []string{"false " + c.Now().Add(time.Hour).UTC().Format(time.RFC3339), "true ", "true "}; !slices.Equal(said, want) {
		t.Errorf("the record says %q, not %q", said, want)
	}
}

// BF-046: what nobody answered in a quarter of an hour nobody allows any more; the agent asks again. And there is an end to how
// much may wait, which says where to go.
func TestApprovalTooLate(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.API.Forget()
	ask := askOwner(t, v, agent, post("/echo", "x"), auth.RuleReadOnly)
	c.forward(16 * time.Minute)
	for _, d := range []auth.Decision{{Allow: true}, {Allow: true, Always: true}, {}} {
		wantErr(t, "late", v.Desk(auth.Local).Decide(t.Context(), ask.RequestID, d), auth.ErrExpired)
	}
	for i := range 20 {
		again := askOwner(t, v, agent, post("/echo", fmt.Sprint("x", i)), auth.RuleReadOnly)
		if again.RequestID == ask.RequestID {
			t.Error("the question that is too old was asked again")
		}
	}
	_, err := v.Call(t.Context(), agent, post("/echo", "one too many"))
	if !errors.Is(err, auth.ErrLimit) || !strings.Contains(err.Error(), "20 approvals are waiting already; the user has to decide them first: ") {
		t.Errorf("one too many: %v", err)
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// For an hour and always mean this client, this method, this host and this path.
func TestApprovalGrants(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	ask := askOwner(t, v, agent, post("/echo", "a"), auth.RuleReadOnly)
	if again := askOwner(t, v, agent, post("/echo", "a"), auth.RuleReadOnly); again.RequestID != ask.RequestID {
		t.Error("the same question is asked twice")
	}
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, For: time.Hour})
	if s, err := v.Wait(t.Context(), agent, ask.RequestID, 0, nil); err != nil || s.Status != auth.StatusConnected {
		t.Errorf("the agent is told %+v, %v", s, err)
	}
	call(t, v, post("/echo", "another body"))
	other := agent
	other.Client = "another-agent"
	askOwner(t, v, other, post("/echo", "a"), auth.RuleNoGrant)
	put := post("/echo", "a")
	put.Method = "PUT"
	askOwner(t, v, agent, put, auth.RuleScope)
	askOwner(t, v, agent, post("/echo/plain", "a"), auth.RuleScope)
	c.forward(61 * time.Minute)
	ask = askOwner(t, v, agent, post("/echo", "a"), auth.RuleReadOnly)
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, Always: true})
	c.forward(1000 * time.Hour)
	v.API.Forget()
	_, err := v.Call(t.Context(), agent, post("/echo", "b"))
	if err != nil {
		wantLink(t, err, auth.ReasonReauth) // the practice sign-in itself may be over by then
	}
	grants, err := v.Desk(auth.Local).Grants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(grants, func(g auth.Grant) bool { return g.Origin == "approval:"+ask.RequestID })
	if i < 0 || grants[i].Paths[0] != "/api/echo" || !grants[i].Until.IsZero() {
		t.Fatalf("%+v", grants)
	}
	ask = askOwner(t, v, agent, put, auth.RuleScope)
	decide(t, v, ask.RequestID, auth.Decision{})
	if s, err := v.Wait(t.Context(), agent, ask.RequestID, 0, nil); err != nil || s.Status != auth.StatusDeclined {
		t.Errorf("the agent is told %+v, %v", s, err)
	}
	askOwner(t, v, agent, put, auth.RuleScope)
}

// A question that waits is asked for what refuses the call now: what a client may do can change while it waits.
func TestApprovalForWhatRefusesNow(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	reader := auth.Caller{Owner: auth.Local, Client: "reader"}
	first := askOwner(t, v, reader, post("/echo", "a"), auth.RuleNoGrant)
	_, err := v.Get(t.Context(), reader, auth.Need{Provider: "practice"})
	var in *auth.ApprovalRequired
	if !errors.As(err, &in) {
		t.Fatal(err)
	}
	decide(t, v, in.RequestID, auth.Decision{Allow: true, Access: auth.Read})
	now := askOwner(t, v, reader, post("/echo", "a"), auth.RuleReadOnly)
	if now.RequestID != first.RequestID || !strings.HasPrefix(now.Message, "Rule read_only: ") {
		t.Errorf("%+v after %+v", now, first)
	}
	if a, err := v.Desk(auth.Local).Approval(t.Context(), first.RequestID); err != nil || a.Why != auth.RuleReadOnly || !a.ExpiresAt.Equal(first.ExpiresAt.Truncate(time.Millisecond)) {
		t.Errorf("the owner is asked %+v, %v", a, err)
	}
	if n := len(events(t, v, "approval.ask")); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// What a client with a token calls itself comes along to what the owner decides and to what is decided, and nothing goes by it.
func TestClientName(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	registered := auth.Caller{Owner: auth.Local, Client: "x7Jq", Verified: true, ClientName: "Claude Code"}
	connect(t, v, registered, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	ask := askOwner(t, v, registered, post("/echo", "a"), auth.RuleReadOnly)
	if a, err := v.Desk(auth.Local).Approval(t.Context(), ask.RequestID); err != nil || a.ClientName != "Claude Code" {
		t.Errorf("%+v, %v", a, err)
	}
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, Always: true})
	grants, err := v.Desk(auth.Local).Grants(t.Context())
	if err != nil || len(grants) != 2 || grants[0].ClientName != "Claude Code" || grants[1].ClientName != "Claude Code" {
		t.Errorf("%+v, %v", grants, err)
	}
	askOwner(t, v, auth.Caller{Owner: auth.Local, Client: "Claude Code", Verified: true, ClientName: "x7Jq"}, post("/echo", "a"), auth.RuleNoGrant)
}

// The owner reads what will be sent, in safe characters, and is told when there is more of it.
func TestApprovalShows(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	var told []auth.Approval
	v.Announce = func(a auth.Approval) { told = append(told, a) }
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	long := post("/echo", "pay \u202eboB\x1b[2J "+strings.Repeat("ä", 2000))
	long.Query = map[string][]string{"token": {strings.Repeat("s", 60)}}
	ask := askOwner(t, v, agent, long, auth.RuleReadOnly)
	a, err := v.Desk(auth.Local).Approval(t.Context(), ask.RequestID)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(a.Preview, "\u202e\x1b") || !strings.Contains(a.Preview, "bytes more") || strings.Contains(a.URL, strings.Repeat("s", 60)) || a.Client != agent.Client || a.Verified || len(a.BodyDigest) != 64 {
		t.Errorf("%+v", a)
	}
	if len(told) != 1 || told[0].ID != ask.RequestID {
		t.Errorf("announced: %d", len(told))
	}
	askOwner(t, v, agent, long, auth.RuleReadOnly)
	if len(told) != 1 {
		t.Error("the owner was told twice of one question")
	}
	// A query that cannot be parsed, and a body that is called an image, are shown as well.
	dressed := post("/echo?x=%zz;&to=eve", `{"amount": 1000}`)
	dressed.Headers["Content-Type"] = "image/png"
	ask = askOwner(t, v, agent, dressed, auth.RuleReadOnly)
	if a, err = v.Desk(auth.Local).Approval(t.Context(), ask.RequestID); err != nil || !strings.HasSuffix(a.URL, "/echo?x=%zz;&to=eve") || a.Preview != string(dressed.Body) {
		t.Errorf("%+v, %v", a, err)
	}
	// What a terminal or a reader would swallow is sent, so it is shown: this JSON has an amount.
	for body, shown := range map[string]string{
		"{\"note\":\"a\u009d\",\"amount\":1000,\"end\":\"\u009cb\"}": `{"note":"a‹U+009D›","amount":1000,"end":"‹U+009C›b"}`,
		"pay 1\x1b]0;and 1000\x07 now\r\n\tbye":                      "pay 1‹U+001B›]0;and 1000‹U+0007› now\n\tbye",
		"\u200b\u202e":                                               "‹U+200B›‹U+202E›",
	} {
		ask = askOwner(t, v, agent, post("/echo", body), auth.RuleReadOnly)
		if a, err = v.Desk(auth.Local).Approval(t.Context(), ask.RequestID); err != nil || a.Preview != shown {
			t.Errorf("%q is shown as %q, %v", body, a.Preview, err)
		}
	}
	binary := post("/echo", "\x00\xff")
	ask = askOwner(t, v, agent, binary, auth.RuleReadOnly)
	if a, err = v.Desk(auth.Local).Approval(t.Context(), ask.RequestID); err != nil || a.Preview != "2 bytes that are not text" {
		t.Errorf("%+v, %v", a, err)
	}
}

// BF-046: a header that the definition opens may say in which account a call acts, so the owner sees it.
func TestApprovalShowsOpenedHeaders(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	const key = "canary-key-q8w7e6r5"
	v.API.Keys = []string{key}
	s := keyedSite(t, v, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "")
	file := filepath.Join(s.Providers, "keyed.json")
	definition, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	definition = bytes.Replace(definition, []byte(`"base":`), []byte(`"headers_allowed":["Acme-Account","Acme-Note"],"base":`), 1)
	if err := os.WriteFile(file, definition, 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(t, v, s, nil)
	paste(t, v, key)
	other := agent
	other.Client = "another-agent"
	pay := post("/echo", "amount=1")
	pay.Provider = "keyed"
	pay.Headers = map[string]string{"acme-account": "eve", "Acme-Note": strings.Repeat("n", 300)}
	ask := askOwner(t, v, other, pay, auth.RuleNoGrant)
	a, err := v.Desk(auth.Local).Approval(t.Context(), ask.RequestID)
	if want := "Acme-Account: eve\nAcme-Note: " + strings.Repeat("n", 200) + "… and 100 bytes more\n\namount=1"; err != nil || a.Preview != want {
		t.Errorf("%+v, %v", a, err)
	}
}

// MC-030, MC-031: an agent can ask for the raw credential, and nothing more; the owner alone grants it, to one client, on one
// connection, for a time, and each release is on record before it happens.
func TestRelease(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	v.Release = nil
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice"})
	if err != nil || h.Released != nil || h.Handle != "latchpost:practice/alice@example.com" {
		t.Fatalf("%+v, %v", h, err)
	}
	raw := auth.Need{Provider: "practice", Raw: true}
	want := func(who auth.Caller) *auth.ApprovalRequired {
		t.Helper()
		h, err := v.Get(t.Context(), who, raw)
		var ask *auth.ApprovalRequired
		if !errors.As(err, &ask) || ask.Reason != auth.RuleRelease {
			t.Fatalf("%+v, %v", h, err)
		}
		return ask
	}
	ask := want(agent)
	if again := want(agent); again.RequestID != ask.RequestID {
		t.Error("asking twice makes two questions")
	}
	for _, d := range []auth.Decision{{Allow: true}, {Allow: true, Always: true}, {Allow: true, For: 25 * time.Hour}} {
		if err := v.Desk(auth.Local).Decide(t.Context(), ask.RequestID, d); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%+v: %v", d, err)
		}
	}
	decide(t, v, ask.RequestID, auth.Decision{Allow: true, For: time.Hour})
	limited := agent
	limited.Scopes = []string{"latchpost:use"}
	if h, err := v.Get(t.Context(), limited, raw); !errors.Is(err, auth.ErrDenied) || h != nil {
		t.Errorf("asked with a token that may not: %+v, %v", h, err)
	}
	if h, err := v.Get(t.Context(), limited, auth.Need{Provider: "practice"}); err != nil || h.Released != nil || h.Release {
		t.Errorf("with a token that may not: %+v, %v", h, err)
	}
	h, err = v.Get(t.Context(), agent, raw)
	if err != nil || h.Released == nil || h.Released.Type != "bearer" || h.Released.Warning == "" || len(authtest.Scan([]byte(h.Released.Value.Reveal()), tokens(v)...)) == 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	other := agent
	other.Client = "another-agent"
	want(other)
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "second"}, "bob", auth.Choice{Access: auth.Write})
	raw.Account = "second"
	want(agent)
	raw.Account = "alice@example.com"
	c.forward(61 * time.Minute)
	want(agent)
	released := slices.DeleteFunc(events(t, v, "credential.release"), func(e auth.Event) bool { return e.Decision != "allow" })
	if len(released) != 1 || released[0].Client != agent.Client || released[0].Connection == "" {
		t.Errorf("on record: %+v", released)
	}
}
