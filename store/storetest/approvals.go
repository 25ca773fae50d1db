package storetest

import (
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testApprovals(t *testing.T, db *store.DB) {
	ctx, o := t.Context(), NewOwner()
	c := NewConnection(o, "github", "me")
	Connect(t, db, c)
	ask := func(digest string) *auth.Approval {
		return &auth.Approval{
			ID: rand.Text(), Owner: o, Client: "agent", Verified: true, ClientName: "Agent", Connection: c.ID, Provider: "github", Account: "me", Kind: auth.Use, Digest: []byte(digest),
			Method: "POST", URL: "https://api.example.com/x", Preview: "{}", BodyDigest: "d", Why: "read_only", State: auth.Waiting, CreatedAt: Now, ExpiresAt: Now.Add(time.Hour),
		}
	}
	add := func(t *testing.T, a *auth.Approval) *auth.Approval {
		t.Helper()
		existing, err := db.AddApproval(ctx, a, 100)
		must(t, err)
		equal(t, existing, false)
		return a
	}

	t.Run("come back, and are decided once", func(t *testing.T) {
		a := add(t, ask("one"))
		got, err := db.Approval(ctx, o, a.ID)
		must(t, err)
		equal(t, got, a)
		again := ask("one")
		existing, err := db.AddApproval(ctx, again, 1)
		must(t, err)
		equal(t, existing, true)
		equal(t, again, a)
		now := ask("one")
		now.Why, a.Why = "no_grant", "no_grant" // what it is asked for is what refuses today
		existing, err = db.AddApproval(ctx, now, 1)
		must(t, err)
		equal(t, existing, true)
		got, err = db.Approval(ctx, o, a.ID)
		must(t, err)
		equal(t, got, a)
		equal(t, now, a)
		_, err = db.AddApproval(ctx, ask("two"), 1)
		want(t, err, auth.ErrLimit)

		g := &auth.Grant{ID: rand.Text(), Owner: o, Client: "agent", Connection: c.ID, Kind: auth.Use, CreatedAt: Now, Origin: "approval:" + a.ID}
		want(t, db.Decide(ctx, NewOwner(), a.ID, auth.Approved, false, nil, Now), auth.ErrNotFound)
		astray := *g
		astray.Connection = "nowhere"
		want(t, db.Decide(ctx, o, a.ID, auth.Approved, false, &astray, Now), auth.ErrNotFound)
		must(t, db.Decide(ctx, o, a.ID, auth.Approved, false, g, Now))
		want(t, db.Decide(ctx, o, a.ID, auth.Refused, false, nil, Now), auth.ErrUsed)
		approved, err := db.Approvals(ctx, o, auth.Approved, Now)
		must(t, err)
		equal(t, len(approved), 1)
		equal(t, approved[0].DecidedAt, Now)
		grants, err := db.Grants(ctx, o, "agent", c.ID, Now)
		must(t, err)
		equal(t, grants, []auth.Grant{*g})
		_, err = db.Spend(ctx, o, "agent", c.ID, []byte("one"), Now) // not for one call
		want(t, err, auth.ErrNotFound)
	})
	t.Run("end with their time", func(t *testing.T) {
		a := add(t, ask("late"))
		waiting, err := db.Approvals(ctx, o, auth.Waiting, Now)
		must(t, err)
		equal(t, waiting, []auth.Approval{*a})
		waiting, err = db.Approvals(ctx, o, auth.Waiting, a.ExpiresAt)
		must(t, err)
		equal(t, waiting, nil)
		want(t, db.Decide(ctx, o, a.ID, auth.Approved, true, nil, a.ExpiresAt), auth.ErrExpired)
	})
	t.Run("are for the account that was asked for", func(t *testing.T) { // BF-046
		d := NewConnection(o, "zoom", "me")
		Connect(t, db, d)
		ofD := func(digest string) *auth.Approval {
			a := ask(digest)
			a.Connection, a.Provider, a.CreatedAt = d.ID, "zoom", Now.Add(time.Minute)
			return add(t, a)
		}
		decide := func(a *auth.Approval, s auth.ApprovalState, once bool) error {
			g := &auth.Grant{ID: rand.Text(), Owner: o, Client: "agent", Connection: d.ID, Kind: auth.Release, CreatedAt: Now, Origin: "approval:" + a.ID}
			if once || s == auth.Refused {
				g = nil
			}
			return db.Decide(ctx, o, a.ID, s, once, g, Now.Add(2*time.Minute))
		}
		replace := func(account string, created time.Time) {
			d.Version++
			d.Account, d.CreatedAt = account, created
			Connect(t, db, d)
		}
		renewed := ofD("renewed")
		replace("me", Now)
		must(t, decide(renewed, auth.Approved, false))
		another, once, refused := ofD("another"), ofD("another, once"), ofD("another, refused")
		replace("somebody else", Now)
		want(t, decide(another, auth.Approved, false), auth.ErrConflict)
		want(t, decide(once, auth.Approved, true), auth.ErrConflict)
		must(t, decide(refused, auth.Refused, false))
		replace("me", Now.Add(90*time.Second)) // a namesake
		want(t, decide(another, auth.Approved, false), auth.ErrConflict)
		got, err := db.Approval(ctx, o, another.ID)
		must(t, err)
		equal(t, got.State, auth.Waiting) // nothing of the transaction is left
		grants, err := db.Grants(ctx, o, "agent", d.ID, Now)
		must(t, err)
		equal(t, grants, nil)
		must(t, decide(another, auth.Refused, false))
		must(t, decide(once, auth.Refused, false))
	})
	t.Run("are spent once", func(t *testing.T) {
		a := add(t, ask("once"))
		_, err := db.Spend(ctx, o, "agent", c.ID, a.Digest, Now)
		want(t, err, auth.ErrNotFound) // not decided yet
		must(t, db.Decide(ctx, o, a.ID, auth.Approved, true, nil, Now))
		for _, try := range []func() (string, error){
			func() (string, error) { return db.Spend(ctx, NewOwner(), "agent", c.ID, a.Digest, Now) },
			func() (string, error) { return db.Spend(ctx, o, "other", c.ID, a.Digest, Now) },
			func() (string, error) { return db.Spend(ctx, o, "agent", "other", a.Digest, Now) },
			func() (string, error) { return db.Spend(ctx, o, "agent", c.ID, []byte("other"), Now) },
			func() (string, error) { return db.Spend(ctx, o, "agent", c.ID, a.Digest, a.ExpiresAt) },
		} {
			_, err := try()
			want(t, err, auth.ErrNotFound)
		}
		var wg sync.WaitGroup
		var won atomic.Int64
		for range 8 {
			wg.Go(func() {
				switch id, err := db.Spend(ctx, o, "agent", c.ID, a.Digest, Now); {
				case err == nil && id == a.ID:
					won.Add(1)
				case !errors.Is(err, auth.ErrNotFound):
					t.Error(id, err)
				}
			})
		}
		wg.Wait()
		equal(t, won.Load(), int64(1))
	})
	t.Run("do not outlive the connection", func(t *testing.T) {
		a, b := add(t, ask("waits")), add(t, ask("approved"))
		must(t, db.Decide(ctx, o, b.ID, auth.Approved, true, nil, Now))
		must(t, db.RevokeConnection(ctx, o, c.ID, nil))
		_, err := db.Approval(ctx, o, a.ID)
		want(t, err, auth.ErrNotFound)
		_, err = db.Spend(ctx, o, "agent", c.ID, b.Digest, Now)
		want(t, err, auth.ErrNotFound)
	})
}
