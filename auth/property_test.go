package auth_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"pgregory.net/rapid"
)

// RF-013: refreshes by two processes and a revocation, at whatever moments they meet: in the end
// the connection is revoked and without a secret, and each refresh token that the provider gave
// out was told to it. The provider may be slow, lose answers or fail to be told.
func TestRefreshAgainstRevoke(t *testing.T) {
	t.Parallel()
	v, c := newClockedVault(t, authtest.Options{Grace: time.Hour})
	other, db, err := siteOf(v).open(t.Context(), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	rapid.Check(t, func(r *rapid.T) {
		v.Server.Heal()
		v.Server.Forget()
		connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
		id := only(t, v).ID
		given := new(sync.Map)
		v.Server.FaultAlways("/token", watchTokens(given))
		// How far the refresh has come when the revocation starts.
		moment := rapid.SampledFrom([]string{"any", "received", "committed", "headers", "body", "done"}).Draw(r, "moment")
		if rapid.Bool().Draw(r, "the first answer is lost") {
			v.Server.Fault("/token", authtest.CutAfter)
		}
		reached, release := pauseToken(v, moment, given)
		if rapid.Bool().Draw(r, "the provider is busy") {
			v.Server.Fault("/revoke", authtest.Busy(503, ""))
		}

		c.forward(2 * time.Hour)
		var wg sync.WaitGroup
		for _, process := range []*auth.Vault{v.Vault, other} {
			wg.Go(func() { _, _ = process.Get(t.Context(), agent, practiceNeed) })
		}
		if moment == "done" {
			wg.Wait()
		}
		<-reached
		revoke(t, v)
		close(release)
		wg.Wait()

		for range 2 {
			c.forward(30 * time.Minute)
			keepOnce(t, v)
		}
		row, err := v.Connections.Connection(t.Context(), agent.Owner, id)
		if err != nil || row.State != auth.Revoked || row.Sealed != nil || row.Salt != nil || row.Refresh.Answer != nil {
			r.Fatalf("row %+v, %v", row, err)
		}
		revoked := revokedTokens(v)
		given.Range(func(refresh, _ any) bool {
			if !revoked[refresh.(string)] {
				r.Fatalf("a refresh token lives on")
			}
			return true
		})
	})
}

// pauseToken stops the next token request at a moment, and notes what it brings.
func pauseToken(v *authtest.Vault, moment string, given *sync.Map) (reached <-chan struct{}, release chan struct{}) {
	point, at := map[string]authtest.Point{
		"received": authtest.Received, "committed": authtest.Committed, "headers": authtest.Headers, "body": authtest.Body,
	}[moment]
	if !at {
		now := make(chan struct{})
		close(now)
		return now, make(chan struct{})
	}
	fault, pause := authtest.PauseAt(point)
	v.Server.Fault("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		fault(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { watchTokens(given)(w, r, next) }))
	})
	return pause.Reached, pause.Release
}
