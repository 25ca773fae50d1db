package auth_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// allowed is what a model says that one client may do.
type allowed struct {
	read, write, release bool
	once                 map[string]bool // bodies of calls that were approved once, "-" for none
}

// wished is a question to the owner, as a model has it.
type wished struct{ client, kind, body string }

// methods are those of the calls that are made, by their bodies; none is the question of a client that wants in.
var methods = map[string]string{"-": "GET", "a": "POST", "b": "POST"}

// decided is a record that a model expects: who, what, at which host, decided how and by which rule.
type decided struct{ kind, decision, client, method, host, path, rule string }

// history is what a model says of one owner: who may do what, and what stands on record of it.
type history struct {
	connected bool
	clients   map[string]*allowed
	asked     map[string]wished // waiting ones by id
	expected  []decided
}

func (h *history) expect(d decided) { h.expected = append(h.expected, d) }

// asks is what follows when a client was not let do something: the owner is asked, once.
func (h *history) asks(t *rapid.T, err error, a wished, rule string) {
	var question *auth.ApprovalRequired
	if !errors.As(err, &question) || question.Reason != rule {
		t.Fatalf("%+v: %v; want approval_required for %s", a, err, rule)
	}
	if _, again := h.asked[question.RequestID]; again {
		return
	}
	for _, waiting := range h.asked {
		if waiting == a {
			t.Fatalf("%+v is asked twice", a)
		}
	}
	h.asked[question.RequestID] = a
	h.expect(decided{"approval.ask", "deny", a.client, methods[a.body], "", "", rule})
}

// AU-008: in any history of clients that are let in, shut out and asked about, each allow and each deny is on record exactly once,
// when it happened, with who, what, where, decision and rule; and nothing else is.
func TestHistoriesAreOnRecord(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	desk := v.Desk(auth.Local)
	decisions := []string{"call", "credential.handle", "credential.release", "approval.ask", "approval.allow", "approval.refuse", "grant.end", "revoke"}
	seen := map[string]bool{}
	fresh := func(since time.Time) (news []auth.Event) {
		settle(t, v)
		all, err := desk.Events(t.Context(), auth.EventFilter{Since: since.Truncate(time.Millisecond), Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range slices.Backward(all) {
			if !seen[e.ID] && slices.Contains(decisions, e.Kind) {
				news = append(news, e)
			}
			seen[e.ID] = true
		}
		return news
	}
	checks := flag.Lookup("rapid.checks").Value
	defer checks.Set(checks.String())
	if err := checks.Set("25"); err != nil { // each is a sign-in and a dozen steps
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		clients := []string{agent.Client, "reader", "stranger"}
		h := &history{clients: map[string]*allowed{}, asked: map[string]wished{}}
		shutOut := func() {
			for _, c := range clients {
				h.clients[c] = &allowed{once: map[string]bool{}}
			}
			h.connected, h.asked = false, map[string]wished{}
		}
		shutOut()
		who := func() (auth.Caller, *allowed) {
			c := rapid.SampledFrom(clients).Draw(r, "client")
			return auth.Caller{Owner: auth.Local, Client: c}, h.clients[c]
		}
		must := func(err error) {
			if err != nil {
				r.Fatal(err)
			}
		}
		if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"}); err == nil { // what the history before left
			fresh(time.Now().Add(-time.Minute))
		}
		steps := map[string]func(){
			"connect": func() {
				if !h.connected {
					connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
					h.connected, h.clients[agent.Client] = true, &allowed{read: true, write: true, once: map[string]bool{}}
				}
			},
			"read": func() {
				c, may := who()
				_, err := v.Call(t.Context(), c, auth.Call{Provider: "practice", Path: "/me"})
				switch {
				case !h.connected:
					h.expect(decided{"call", "deny", c.Client, "", "", "", auth.NotConnected})
				case may.read:
					must(err)
					h.expect(decided{"call", "allow", c.Client, "GET", "127.0.0.1", "/api/me", auth.RuleGrant})
				case may.once["-"]:
					must(err)
					delete(may.once, "-")
					h.expect(decided{"call", "allow", c.Client, "GET", "127.0.0.1", "/api/me", auth.RuleApproval})
				default:
					h.expect(decided{"call", "deny", c.Client, "GET", "127.0.0.1", "/api/me", auth.RuleNoGrant})
					h.asks(r, err, wished{c.Client, auth.Use, "-"}, auth.RuleNoGrant)
				}
			},
			"write": func() {
				c, may := who()
				body := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "body")
				_, err := v.Call(t.Context(), c, post("/echo", body))
				rule := auth.RuleNoGrant
				if may.read {
					rule = auth.RuleReadOnly
				}
				switch {
				case !h.connected:
					h.expect(decided{"call", "deny", c.Client, "POST", "", "", auth.NotConnected})
				case may.write:
					must(err)
					h.expect(decided{"call", "allow", c.Client, "POST", "127.0.0.1", "/api/echo", auth.RuleGrant})
				case may.once[body]:
					must(err)
					delete(may.once, body)
					h.expect(decided{"call", "allow", c.Client, "POST", "127.0.0.1", "/api/echo", auth.RuleApproval})
				default:
					h.expect(decided{"call", "deny", c.Client, "POST", "127.0.0.1", "/api/echo", rule})
					h.asks(r, err, wished{c.Client, auth.Use, body}, rule)
				}
			},
			"elsewhere": func() {
				c, _ := who()
				_, err := v.Call(t.Context(), c, auth.Call{Provider: "practice", URL: "https://evil.example/x?secret"})
				if !errors.Is(err, auth.ErrDenied) {
					r.Fatal(err)
				}
				h.expect(decided{"call", "deny", c.Client, "GET", "evil.example", "/x", auth.RuleHost})
			},
			"handle": func() {
				c, may := who()
				_, err := v.Get(t.Context(), c, auth.Need{Provider: "practice"})
				switch {
				case !h.connected:
					h.expect(decided{"credential.handle", "deny", c.Client, "", "", "", auth.NotConnected})
				case may.release:
					must(err)
					h.expect(decided{"credential.release", "allow", c.Client, "", "", "", ""})
				case may.read:
					must(err)
					h.expect(decided{"credential.handle", "allow", c.Client, "", "", "", ""})
				default:
					h.expect(decided{"credential.handle", "deny", c.Client, "", "", "", auth.RuleNoGrant})
					h.asks(r, err, wished{c.Client, auth.Use, ""}, auth.RuleNoGrant)
				}
			},
			"raw": func() {
				c, may := who()
				_, err := v.Get(t.Context(), c, auth.Need{Provider: "practice", Raw: true})
				switch {
				case !h.connected:
					h.expect(decided{"credential.release", "deny", c.Client, "", "", "", auth.NotConnected})
				case may.release:
					must(err)
					h.expect(decided{"credential.release", "allow", c.Client, "", "", "", ""})
				default:
					h.expect(decided{"credential.release", "deny", c.Client, "", "", "", auth.RuleRelease})
					h.asks(r, err, wished{c.Client, auth.Release, ""}, auth.RuleRelease)
				}
			},
			"decide": func() {
				waiting, err := desk.Approvals(t.Context())
				must(err)
				if len(waiting) == 0 {
					return
				}
				a := rapid.SampledFrom(waiting).Draw(r, "question")
				q, known := h.asked[a.ID]
				if !known {
					r.Fatalf("nobody asked %+v", a)
				}
				d := auth.Decision{Allow: rapid.Bool().Draw(r, "allow")}
				if q.kind == auth.Release {
					d.For = time.Hour
				}
				must(desk.Decide(t.Context(), a.ID, d))
				delete(h.asked, a.ID)
				word := decided{"approval.refuse", "deny", q.client, a.Method, "", "", a.Why}
				if may := h.clients[q.client]; d.Allow {
					word.kind, word.decision = "approval.allow", "allow"
					switch {
					case q.kind == auth.Release:
						may.release = true
					case q.body == "":
						may.read = true
					default:
						may.once[q.body] = true
					}
				}
				h.expect(word)
			},
			"end grant": func() {
				grants, err := desk.Grants(t.Context())
				must(err)
				if len(grants) == 0 {
					return
				}
				g := rapid.SampledFrom(grants).Draw(r, "grant")
				must(desk.EndGrant(t.Context(), g.ID))
				if may := h.clients[g.Client]; g.Kind == auth.Release {
					may.release = false
				} else {
					may.read, may.write = false, false
				}
				h.expect(decided{"grant.end", "allow", auth.ClientOwner, "", "", "", ""})
			},
			"revoke": func() {
				c, _ := who()
				if !h.connected {
					return
				}
				_, err := v.Revoke(t.Context(), c, auth.Unwanted{Provider: "practice"})
				must(err)
				shutOut()
				h.expect(decided{"revoke", "allow", c.Client, "", "", "", ""})
			},
		}
		names := []string{"read", "write", "elsewhere", "handle", "raw", "decide", "read", "write", "handle", "raw", "decide", "end grant", "revoke", "connect"}
		for _, name := range append([]string{"connect"}, rapid.SliceOfN(rapid.SampledFrom(names), 1, 15).Draw(r, "steps")...) {
			begun := time.Now()
			h.expected = nil
			steps[name]()
			var got []decided
			for _, e := range fresh(begun) {
				got = append(got, decided{e.Kind, e.Decision, e.Client, e.Detail["method"], e.Detail["host"], e.Detail["path"], e.Detail["rule"]})
				if e.At.Before(begun.Truncate(time.Millisecond)) || e.At.After(time.Now()) || e.Owner != auth.Local || e.ID == "" || name != "end grant" && e.Provider != "practice" {
					r.Fatalf("%s is on record as %+v", name, e)
				}
				if id, ok := strings.CutPrefix(got[len(got)-1].rule, auth.RuleGrant+":"); ok && id != "" {
					got[len(got)-1].rule = auth.RuleGrant
				} else if id, ok := strings.CutPrefix(got[len(got)-1].rule, auth.RuleApproval+":"); ok && id != "" {
					got[len(got)-1].rule = auth.RuleApproval
				}
			}
			byText := func(a, b decided) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
			slices.SortFunc(got, byText)
			slices.SortFunc(h.expected, byText)
			if !slices.Equal(got, h.expected) {
				r.Fatalf("%s is on record as\n%+v, not as\n%+v", name, got, h.expected)
			}
		}
	})
}
