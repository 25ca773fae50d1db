package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// provider to renew it: not ahead of time, not at its end, not after a 401.
func TestNothingToRenewWith(t *testing.T) {
	for name, test := range map[string]struct {
		fault authtest.Fault
		bend  func(*providers.Provider)
	}{
		"no refresh token":      {authtest.Without("refresh_token"), nil},
		"the provider does not": {authtest.Pass, func(p *providers.Provider) { p.OAuth2.Refresh.Grant = "none" }},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{Lifetime: 72 * time.Hour})
			if test.bend != nil {
				redefine(t, v, c, test.bend)
			}
			v.Server.FaultAlways("/token", test.fault)
			connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
			v.Server.Forget()
			token := get(t, v)
			wantState(t, v, auth.Active, "")
			c.forward(71*time.Hour + 59*time.Minute + 30*time.Second)
			wantState(t, v, auth.Expiring, "")
			if err := v.KeepOnce(t.Context()); err != nil {
				t.Error(err)
			}
			if got := get(t, v); got != token {
				t.Error("another token")
			}
			c.forward(time.Minute)
			wantState(t, v, auth.NeedsReauth, "ended")
			for _, need := range []auth.Need{practiceNeed, {Provider: "practice", Raw: true}} {
				_, err := v.Get(t.Context(), agent, need)
				wantLink(t, err, auth.ReasonReauth)
			}
			_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
			wantLink(t, err, auth.ReasonReauth)
			if link := ask(t, v, agent, auth.Wish{Provider: "practice"}); !strings.Contains(link.Message, "no way to renew") {
				t.Errorf("the agent reads %q", link.Message)
			}
			if n := asked(v); n != 0 {
				t.Errorf("%d token requests", n)
			}
		})
	}
}

// A token that ended early without anything to renew it by is the API's word, and only once.
func TestNothingToRenewWithAndRefused(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	v.Server.FaultAlways("/token", authtest.Without("refresh_token"))
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.Server.RevokeUser("alice")
	v.API.Forget()
	for range 3 {
		_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
		wantLink(t, err, auth.ReasonReauth)
	}
	wantState(t, v, auth.NeedsReauth, "refused_by_api")
	if n := len(v.API.Requests("")); n != 1 {
		t.Errorf("%d calls", n)
	}
}
