package auth_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// came is what is known of one request: who signed in, and the refresh tokens that the provider gave.
type came struct {
	user   string
	tokens []string
}

// CB-020, RV-001: in any history of links, sign-ins by two people with several sites each, changes of mind and of time, a connection is
// of the account and the site that were signed in to, at most one is of both, it works as long as nobody ended it, and what came of
// nothing is not good any more.
func TestHistoriesOfSignIns(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	within(t, v, c)
	given := tokensOf(v)
	desk, person := v.Desk(auth.Local), v.Visit(alices)
	well := func() { // nothing is wrong with the provider
		v.Server.Heal()
		v.Server.FaultAlways("/token", watchTokens(given))
		sites(v, "acme=Acme Inc.", "umbrella=Umbrella")
	}
	checks := flag.Lookup("rapid.checks").Value
	defer checks.Set(checks.String())
	if err := checks.Set("25"); err != nil { // each is a dozen steps at a real server
		t.Fatal(err)
	}
	ids := map[string]string{} // of accounts, by user
	rapid.Check(t, func(r *rapid.T) {
		signs := map[string]*came{}
		var links []string // ids of what was asked, in that order
		answers := map[string]url.Values{}
		asked := func(err error) {
			var link *auth.AuthRequired
			if errors.As(err, &link) && !slices.Contains(links, link.RequestID) {
				links = append(links, link.RequestID)
			}
		}
		known := func(err error) { // an error that says what to do
			if _, ok := errors.AsType[*auth.Error](err); err != nil && !ok {
				var link *auth.AuthRequired
				if !errors.As(err, &link) {
					r.Fatal(err)
				}
			}
		}
		one := func(of []string, what string) string {
			if len(of) == 0 {
				return ""
			}
			return rapid.SampledFrom(of).Draw(r, what)
		}
		in := func(states ...auth.RequestState) (list []string) {
			for _, id := range links {
				if now, err := person.Request(t.Context(), id); err == nil && slices.Contains(states, now.State) {
					list = append(list, id)
				}
			}
			return list
		}
		open := func() []string { return in(auth.Created, auth.Redirected) }
		accounts := func() (list []string) {
			all, err := desk.Connections(t.Context())
			if err != nil {
				r.Fatal(err)
			}
			for _, conn := range all {
				list = append(list, conn.Account)
			}
			slices.Sort(list)
			return list
		}
		fresh := func(before []string) (news []string) {
			for _, token := range keysOf(given) {
				if !slices.Contains(before, token) {
					news = append(news, token)
				}
			}
			return news
		}
		// stored looks whether a request that was just finished is of the account that was signed in to.
		stored := func(id string) {
			s, err := v.Wait(t.Context(), agent, id, 0, nil)
			if err != nil || s.Status != auth.StatusConnected || signs[id] == nil {
				return
			}
			row, err := v.Connections.Connection(t.Context(), auth.Local, s.Connection.ID)
			if err != nil {
				r.Fatal(err)
			}
			if row.AccountID == "" { // the provider did not say
				return
			}
			user := signs[id].user
			for other, its := range ids {
				if (other == user) != (its == row.AccountID) {
					r.Fatalf("%s signed in, and the connection is of %s, who is %s", user, row.AccountID, other)
				}
			}
			ids[user] = row.AccountID
		}
		comeBack := func(id string) {
			before := keysOf(given)
			_, err := person.Callback(t.Context(), "practice", answers[id])
			known(err)
			delete(answers, id)
			signs[id].tokens = append(signs[id].tokens, fresh(before)...)
			stored(id)
		}
		steps := map[string]func(){
			"ask": func() {
				w := auth.Wish{Provider: "practice", Method: auth.MethodOAuthCode, Account: one(append(accounts(), "", "work", "alice@example.com"), "account")}
				_, err := v.Request(t.Context(), agent, w)
				asked(err)
				known(err)
			},
			"again": func() { // as with a call that wants more
				account := one(accounts(), "account")
				if account == "" {
					return
				}
				_, err := v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: account, Scopes: []string{"write:repos"}})
				asked(err)
				known(err)
			},
			"sign in": func() {
				id := one(open(), "link")
				if id == "" {
					return
				}
				step, err := person.Confirm(t.Context(), id, auth.Choice{Access: auth.Write, Extra: []string{"write:repos"}})
				known(err)
				if err != nil {
					return
				}
				user := rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "user")
				back, err := v.Server.Approve(t.Context(), step.Redirect, user)
				if err != nil {
					r.Fatal(err)
				}
				answers[id] = query(t, back)
				if signs[id] == nil {
					signs[id] = &came{}
				}
				signs[id].user = user
				if rapid.Bool().Draw(r, "at once") {
					comeBack(id)
				}
			},
			"come back": func() {
				id := one(slices.DeleteFunc(slices.Clone(links), func(id string) bool { return answers[id] == nil }), "answer")
				if id == "" {
					return
				}
				comeBack(id)
			},
			"choose": func() {
				id := one(in(auth.Held), "held")
				if id == "" {
					return
				}
				known(person.Choose(t.Context(), id, rapid.SampledFrom([]string{"acme", "umbrella", "initech"}).Draw(r, "site")))
				stored(id)
			},
			"settle": func() {
				id := one(in(auth.Held), "held")
				if id == "" {
					return
				}
				how := rapid.SampledFrom([]string{auth.SettleAdd, auth.SettleReplace, auth.SettleDiscard}).Draw(r, "how")
				view, err := person.Open(t.Context(), id)
				if err != nil {
					r.Fatal(err)
				}
				if how == auth.SettleAdd && strings.Contains(view.Held.Account, " without ") {
					return // which would be the one account twice, as the person is told
				}
				known(person.Settle(t.Context(), id, how))
				stored(id)
			},
			"decline": func() {
				if id := one(open(), "link"); id != "" {
					known(person.Decline(t.Context(), id))
				}
			},
			"cancel": func() {
				if id := one(open(), "link"); id != "" {
					_, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: id})
					known(err)
				}
			},
			"revoke": func() {
				if account := one(accounts(), "account"); account != "" {
					_, err := desk.Revoke(t.Context(), auth.Unwanted{Provider: "practice", Account: account})
					known(err)
				}
			},
			"use": func() {
				if account := one(accounts(), "account"); account != "" {
					_, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: account})
					known(err)
				}
			},
			"leave": func() { // the person ends it at the provider
				v.Server.RevokeUser(rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "user"))
			},
			"move": func() {
				all := rapid.SampledFrom([]string{"", "acme=Acme Inc.", "umbrella=Umbrella", "acme=Acme Inc.,umbrella=Umbrella", "initech=Initech,umbrella=Umbrella"}).Draw(r, "sites")
				well()
				sites(v, slices.DeleteFunc(strings.Split(all, ","), func(s string) bool { return s == "" })...)
			},
			"trouble": func() { // at the provider, once
				at := rapid.SampledFrom([]string{"/revoke", "/userinfo", "GET /sites", "/token"}).Draw(r, "endpoint")
				v.Server.Fault(at, authtest.Busy(503, ""))
			},
			"wait": func() {
				c.forward(rapid.SampledFrom([]time.Duration{time.Minute, 6 * time.Minute, 2 * time.Hour}).Draw(r, "time"))
				keepOnce(t, v)
			},
		}
		well()
		for _, account := range accounts() { // what the history before left
			if _, err := desk.Revoke(t.Context(), auth.Unwanted{Provider: "practice", Account: account}); err != nil {
				r.Fatal(err)
			}
		}
		left, err := desk.Requests(t.Context())
		if err != nil {
			r.Fatal(err)
		}
		for _, request := range left {
			known(person.Decline(t.Context(), request.ID))
		}
		names := slices.Sorted(maps.Keys(steps))
		names = append(names, "ask", "sign in", "choose", "settle", "ask", "sign in", "choose", "settle", "ask", "sign in", "choose", "settle")
		for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 20, 60).Draw(r, "steps") {
			steps[name]()
			same := map[string]string{}
			rows, err := v.Connections.Connections(t.Context(), auth.Local, "practice", "")
			if err != nil {
				r.Fatal(err)
			}
			for _, row := range rows {
				at := row.AccountID + " at " + row.Vars["site"]
				if other := same[at]; other != "" && row.AccountID != "" {
					r.Fatalf("%s: %s and %s are both %s", name, other, row.Account, at)
				}
				same[at] = row.Account
			}
		}
		well()
		for range 4 {
			c.forward(40 * time.Minute)
			keepOnce(t, v)
		}
		for id, sign := range signs {
			s, err := v.Wait(t.Context(), agent, id, 0, nil)
			known(err)
			if err == nil && s.Status == auth.StatusConnected {
				continue
			}
			for _, token := range sign.tokens {
				if live(v.Server, auth.NewSecret(token)) {
					r.Errorf("%s's sign-in came to nothing (%+v, %v), and its token is good", sign.user, s, err)
				}
			}
		}
		rows, err := v.Connections.Connections(t.Context(), auth.Local, "practice", "")
		if err != nil {
			r.Fatal(err)
		}
		for _, row := range rows {
			resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Account: row.Account, Path: "/me"})
			var me struct {
				Login string `json:"login"`
			}
			var link *auth.AuthRequired
			switch {
			case errors.As(err, &link) && link.Reason == auth.ReasonReauth:
			case err != nil:
				r.Errorf("%s: %v", row.Account, err)
			case json.Unmarshal(resp.Body, &me) != nil || row.AccountID != "" && ids[me.Login] != row.AccountID:
				r.Errorf("%s of %s is %s", row.Account, row.AccountID, resp.Body)
			}
		}
	})
}

func keysOf(m *sync.Map) (keys []string) {
	m.Range(func(k, _ any) bool {
		keys = append(keys, fmt.Sprint(k))
		return true
	})
	return keys
}
