package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// AU-001, AU-002: what the background work sends is on record before as well, a renewal, a try of a key and a revocation; without
// a record nothing is renewed and no key is tried, and what has to end is ended all the same.
func TestRecordComesFirstInTheBackground(t *testing.T) {
	const key = "canary-k9x/w2+q7z=r4t8m1"
	renewed := func(v *authtest.Vault) int { return len(v.Server.Requests("POST /token")) }
	revoked := func(v *authtest.Vault) int { return len(v.Server.Requests("POST /revoke")) }
	tried := func(v *authtest.Vault) int { return len(v.API.Requests("")) }
	for name, test := range map[string]struct {
		begin func(t *testing.T) *authtest.Vault // whose background work has one thing to do
		kind  string
		sent  func(v *authtest.Vault) int
		still bool // it is done without a record too
	}{
		"a renewal": {func(t *testing.T) *authtest.Vault {
			v, c := connected(t, authtest.Options{})
			use(t, v, c)
			c.forward(time.Hour + time.Minute)
			return v
		}, "refresh", renewed, false},
		"a key": {func(t *testing.T) *authtest.Vault {
			v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "", key)
			later := time.Now().Add(24 * time.Hour)
			v.Vault.Now = func() time.Time { return later }
			return v
		}, "probe", tried, false},
		"a sign-in that nobody wants": {func(t *testing.T) *authtest.Vault {
			v, _ := connected(t, authtest.Options{})
			link := reconnect(t, v)
			if err := finish(t, v, link, alices, "bob"); err != nil {
				t.Fatal(err)
			}
			if err := v.Visit(alices).Settle(t.Context(), link.RequestID, auth.SettleDiscard); err != nil {
				t.Fatal(err)
			}
			v.Server.Forget()
			return v
		}, "revoke", revoked, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := test.begin(t)
			inner := v.Vault.Audit
			recorded := 0
			v.Vault.Audit = watching{inner, func(e auth.Event) {
				if e.Kind == test.kind && e.Decision == "allow" {
					if recorded++; test.sent(v) != 0 {
						t.Error("it was sent when the record was written")
					}
				}
			}}
			keepOnce(t, v)
			if n := test.sent(v); recorded != 1 || n == 0 {
				t.Errorf("%d records, %d requests", recorded, n)
			}
		})
		t.Run(name+" without a record", func(t *testing.T) {
			v := test.begin(t)
			v.Vault.Audit = &deafLog{AuditLog: v.Vault.Audit, kind: test.kind}
			keepOnce(t, v)
			if n := test.sent(v); (n > 0) != test.still {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// AU-002: a key that is tried because the API refused a call is on record before, and so is the clear no that follows.
func TestTryAfterRefusalIsOnRecord(t *testing.T) {
	v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "", "canary-k9x/w2+q7z=r4t8m1")
	v.API.Keys = nil
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "keyed", Path: "/me"})
	wantLink(t, err, auth.ReasonReauth)
	var decisions []string
	for _, e := range events(t, v, "probe") {
		decisions = append(decisions, e.Decision)
	}
	if got := strings.Join(decisions, ", "); got != "allow, failed" {
		t.Errorf("on record: %s", got)
	}
}
