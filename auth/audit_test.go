package auth_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

func jsonLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// record is the audit record as `latchpost audit export` prints it, with everything
// that was queued.
func record(t *testing.T, v *authtest.Vault) string {
	t.Helper()
	settle(t, v)
	var b bytes.Buffer
	if err := v.DB.AuditLog(v.Box.MAC("audit")).Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// settle waits until what was queued is written: events of one group stay in their order.
func settle(t *testing.T, v *authtest.Vault) {
	t.Helper()
	if err := v.Vault.Audit.Append(t.Context(), auth.Event{ID: rand.Text(), Owner: auth.Owner{User: "nobody"}, Kind: "test"}); err != nil {
		t.Fatal(err)
	}
}

// events of the agent's owner, oldest first.
func events(t *testing.T, v *authtest.Vault, kind string) []auth.Event {
	t.Helper()
	settle(t, v)
	all, err := v.Desk(auth.Local).Events(t.Context(), auth.EventFilter{Kind: kind, Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

// failing is an audit log on a disk that fails.
type failing struct {
	auth.AuditLog
	mu  sync.Mutex
	err error
}

func (f *failing) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failing) Append(ctx context.Context, events ...auth.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	return f.AuditLog.Append(ctx, events...)
}

// AU-001: without a record nothing is sent, released or granted. What stops things works all the same, and says on
// the operator's log that it could not be recorded.
func TestNothingWithoutRecord(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EBADF, errors.New("database is locked")} {
		v := authtest.NewVault(t, authtest.Options{})
		v.Vault.Release = map[string]bool{"practice": true}
		connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
		ask := askOwner(t, v, agent, post("/echo", "a"), auth.RuleReadOnly)
		v.API.Forget()
		var log bytes.Buffer
		disk := &failing{AuditLog: v.Vault.Audit}
		v.Vault.Audit, v.Log = disk, jsonLog(&log)
		disk.fail(cause)
		if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); !errors.Is(err, auth.ErrAudit) || resp != nil {
			t.Errorf("%v: Call gives %+v, %v", cause, resp, err)
		}
		if h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice"}); !errors.Is(err, auth.ErrAudit) || h != nil && h.Released != nil {
			t.Errorf("%v: Get gives %+v, %v", cause, h, err)
		}
		if err := v.Desk(auth.Local).Decide(t.Context(), ask.RequestID, auth.Decision{Allow: true, Always: true}); !errors.Is(err, auth.ErrAudit) {
			t.Errorf("%v: a grant was given: %v", cause, err)
		}
		if _, err := v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: "another"}); !errors.Is(err, auth.ErrAudit) {
			t.Errorf("%v: a sign-in was begun: %v", cause, err)
		}
		if n := len(v.API.Requests("")); n != 0 {
			t.Errorf("%v: %d requests reached the API", cause, n)
		}
		grants, err := v.Desk(auth.Local).Grants(t.Context())
		if err != nil || len(grants) != 1 {
			t.Fatalf("%v, %v", grants, err)
		}
		disk.fail(nil)
		_, err = v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: "another"})
		var link *auth.AuthRequired
		if !errors.As(err, &link) {
			t.Fatal(err)
		}
		disk.fail(cause)
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: link.RequestID}); err != nil {
			t.Errorf("%v: cancelling: %v", cause, err)
		}
		if err := v.Desk(auth.Local).EndGrant(t.Context(), grants[0].ID); err != nil {
			t.Errorf("%v: taking a grant back: %v", cause, err)
		}
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"}); err != nil {
			t.Errorf("%v: revoking: %v", cause, err)
		}
		if n := strings.Count(log.String(), "audit record not written"); n != 3 {
			t.Errorf("%v: the log names %d missing records: %s", cause, n, log.String())
		}
	}
}

// watching is an audit log that looks around at the moment a record is on disk.
type watching struct {
	auth.AuditLog
	after func(auth.Event)
}

func (w watching) Append(ctx context.Context, events ...auth.Event) error {
	err := w.AuditLog.Append(ctx, events...)
	for _, e := range events {
		w.after(e)
	}
	return err
}

// AU-002: the record of a call is on disk before the request is sent, the outcome follows and names it; and when the
// process ends in between, the outcome is missing, which reads as unknown.
func TestRecordComesFirst(t *testing.T) {
	v := ready(t, authtest.Options{})
	inner := v.Vault.Audit
	ctx, cancel := context.WithCancel(t.Context())
	recorded := 0
	v.Vault.Audit = watching{inner, func(e auth.Event) {
		if e.Kind == "call" && e.Decision == "allow" {
			recorded++
			if n := len(v.API.Requests("")); n != 0 {
				t.Errorf("%d requests had been sent when the record was written", n)
			}
			on, err := inner.Events(context.Background(), auth.Local, auth.EventFilter{Kind: "call"})
			if err != nil || !slices.ContainsFunc(on, func(o auth.Event) bool { return o.ID == e.ID }) {
				t.Errorf("the record is not there: %v", err)
			}
			if recorded == 2 {
				cancel() // the failpoint: nothing happens after the record
			}
		}
	}}
	call(t, v, auth.Call{Path: "/me"})
	v.API.Forget()
	if resp, err := v.Call(ctx, agent, auth.Call{Provider: "practice", Path: "/me"}); err == nil {
		t.Fatalf("after the failpoint: %+v", resp)
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d requests came after the failpoint", n)
	}
	v.Vault.Audit = inner
	calls, done := events(t, v, "call"), events(t, v, "call.done")
	if len(calls) != 2 || len(done) != 2 || done[0].Of != calls[0].ID || done[0].Decision != "ok" || done[0].Detail["status"] != "200" {
		t.Fatalf("%+v %+v", calls, done)
	}
	if done[1].Of != calls[1].ID || done[1].Decision == "ok" {
		t.Errorf("the call that was not made is on record as %+v", done[1])
	}
}

// AU-008: whatever agents do, each decision is on record exactly once, with who, what, host, decision and rule.
func TestEveryDecisionIsOnRecord(t *testing.T) {
	v := ready(t, authtest.Options{})
	reader, stranger := auth.Caller{Owner: auth.Local, Client: "reader", Verified: true}, auth.Caller{Owner: auth.Local, Client: "stranger"}
	infos, err := v.Desk(auth.Local).Connections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = v.DB.AddGrant(t.Context(), auth.Grant{ID: "G", Owner: auth.Local, Client: "reader", Connection: infos[0].ID, Kind: auth.Use, Access: auth.Read, CreatedAt: infos[0].CreatedAt, Origin: "cli"})
	if err != nil {
		t.Fatal(err)
	}
	get, write := auth.Call{Provider: "practice", Path: "/me"}, post("/echo", "x")
	evil, bad := auth.Call{Provider: "practice", URL: "https://evil.example/x"}, auth.Call{Provider: "practice", Path: "/me", Headers: map[string]string{"Host": "evil"}}
	type step struct {
		who            auth.Caller
		call           *auth.Call
		raw            bool // Get otherwise
		kind, decision string
		rule, host     string
	}
	steps := []step{
		{who: agent, call: &get, kind: "call", decision: "allow", rule: "grant:", host: "127.0.0.1"},
		{who: agent, call: &write, kind: "call", decision: "allow", rule: "grant:", host: "127.0.0.1"},
		{who: agent, call: &evil, kind: "call", decision: "deny", rule: "host", host: "evil.example"},
		{who: agent, call: &bad, kind: "call", decision: "deny", rule: "invalid", host: "127.0.0.1"},
		{who: agent, call: &auth.Call{Provider: "github", Path: "/user"}, kind: "call", decision: "deny", rule: "not_connected"},
		{who: agent, call: &auth.Call{Provider: "githuh", Path: "/user"}, kind: "call", decision: "deny", rule: "invalid_request"},
		{who: reader, call: &get, kind: "call", decision: "allow", rule: "grant:G", host: "127.0.0.1"},
		{who: reader, call: &write, kind: "call", decision: "deny", rule: "read_only", host: "127.0.0.1"},
		{who: stranger, call: &get, kind: "call", decision: "deny", rule: "no_grant", host: "127.0.0.1"},
		{who: agent, kind: "credential.handle", decision: "allow"},
		{who: reader, raw: true, kind: "credential.release", decision: "deny", rule: "release"},
		{who: stranger, kind: "credential.handle", decision: "deny", rule: "no_grant"},
	}
	decisions := func() []auth.Event {
		return slices.DeleteFunc(events(t, v, ""), func(e auth.Event) bool {
			return e.Kind != "call" && !strings.HasPrefix(e.Kind, "credential.")
		})
	}
	rapid.Check(t, func(r *rapid.T) {
		seen, done := len(decisions()), len(events(t, v, "call.done"))
		history := rapid.SliceOfN(rapid.SampledFrom(steps), 1, 6).Draw(r, "history")
		for _, s := range history {
			if s.call != nil {
				_, _ = v.Call(t.Context(), s.who, *s.call)
			} else {
				_, _ = v.Get(t.Context(), s.who, auth.Need{Provider: "practice", Raw: s.raw})
			}
		}
		all := decisions()
		if len(all)-seen != len(history) {
			r.Fatalf("%d decisions for %d steps", len(all)-seen, len(history))
		}
		for i, s := range history {
			e := all[seen+i]
			if e.Kind != s.kind || e.Decision != s.decision || e.Client != s.who.Client || e.Owner != s.who.Owner || e.Detail["host"] != s.host ||
				!strings.HasPrefix(e.Detail["rule"], s.rule) || e.At.IsZero() || e.ID == "" {
				r.Fatalf("%+v is on record as %+v", s, e)
			}
			if s.kind == "call" && s.decision == "allow" {
				done++
			}
		}
		if n := len(events(t, v, "call.done")); n != done {
			r.Fatalf("%d outcomes for %d calls", n, done)
		}
	})
}

// SH-002 for what Call makes: an outcome that failed says so by a word, and holds nothing of the request.
func TestOutcomeWords(t *testing.T) {
	v := ready(t, authtest.Options{})
	v.API.Fault("/api/echo", authtest.CutBefore, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = w.Write([]byte("x"))
	})
	for range 2 {
		if _, err := v.Call(t.Context(), agent, post("/echo", "x")); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "may have acted") {
			t.Errorf("%v", err)
		}
	}
	v.API.Close()
	if _, err := v.Call(t.Context(), agent, post("/echo", "x")); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("%v", err)
	}
	var words []string
	for _, e := range events(t, v, "call.done") {
		words = append(words, e.Decision+" "+e.Detail["cause"])
	}
	if got := strings.Join(words, ", "); got != "unknown network, unknown answer, failed network" {
		t.Errorf("on record: %s", got)
	}
}

// What happened in the millisecond in which a page ends is on that page or on the next one: an agent that does much at once
// hides nothing between two pages.
func TestNothingBetweenPages(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	want := map[string]bool{}
	at := time.Now().Truncate(time.Millisecond)
	for range 7 {
		var burst []auth.Event
		for range 5 {
			e := auth.Event{ID: rand.Text(), At: at, Owner: auth.Local, Client: "busy", Kind: "call.done", Decision: "ok"}
			burst, want[e.ID] = append(burst, e), true
		}
		if err := v.Audit.Append(t.Context(), burst...); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Millisecond)
	}
	for _, limit := range []int{1, 5, 6, 9, 35, 36} {
		seen := map[string]int{}
		f := auth.EventFilter{Client: "busy", Limit: limit}
		for pages := 0; pages < 40; pages++ {
			page, err := v.Desk(auth.Local).Events(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page {
				seen[e.ID]++
			}
			if len(page) < limit {
				break
			}
			f.Before = page[len(page)-1].At
		}
		if len(seen) != len(want) {
			t.Errorf("pages of %d show %d of %d events", limit, len(seen), len(want))
		}
		for _, n := range seen {
			if n != 1 {
				t.Errorf("pages of %d show an event %d times", limit, n)
			}
		}
	}
}
