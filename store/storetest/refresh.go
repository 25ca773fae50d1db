package storetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testRefresh(t *testing.T, open func(*testing.T) *store.DB) {
	ctx, o := t.Context(), NewOwner()
	db, other := open(t), open(t)
	acquire := func(t *testing.T, db *store.DB, id string, version int64, ttl time.Duration) (*auth.Connection, bool) {
		t.Helper()
		c, taken, err := db.AcquireRefresh(ctx, o, id, version, ttl)
		must(t, err)
		return c, taken
	}
	add := func(t *testing.T) *auth.Connection {
		c := NewConnection(o, t.Name(), "me")
		Connect(t, db, c)
		return c
	}

	t.Run("one holder", func(t *testing.T) {
		c := add(t)
		mine, taken := acquire(t, db, c.ID, 1, time.Minute)
		equal(t, taken, true)
		equal(t, mine.Sealed, c.Sealed)
		equal(t, []any{mine.Refresh.Holder, mine.Refresh.Fence, mine.Refresh.Attempts}, []any{db.Holder(), int64(1), 1})
		if mine.Refresh.AttemptedAt.IsZero() {
			t.Fatal("no durable intent")
		}
		row, err := other.Connection(ctx, o, c.ID)
		must(t, err)
		equal(t, row, mine)
		_, taken = acquire(t, other, c.ID, 1, time.Minute)
		equal(t, taken, false)
		must(t, db.RenewRefresh(ctx, o, c.ID, 1, time.Minute))
		want(t, other.RenewRefresh(ctx, o, c.ID, 1, time.Minute), auth.ErrConflict)

		next := *mine
		next.Version, next.Sealed, next.State, next.ExpiresAt = 2, []byte("fresh"), auth.Active, Now.Add(2*time.Hour)
		must(t, db.CommitRefresh(ctx, &next))
		row, err = other.Connection(ctx, o, c.ID)
		must(t, err)
		next.Refresh = auth.RefreshState{Fence: 1}
		equal(t, *row, next)
		want(t, db.CommitRefresh(ctx, &next), auth.ErrConflict)
		_, taken = acquire(t, other, c.ID, 1, time.Minute) // the version has moved
		equal(t, taken, false)
	})
	t.Run("a lapsed lease is taken over, and the late one is fenced", func(t *testing.T) {
		c := add(t)
		late, _ := acquire(t, db, c.ID, 1, -time.Second)
		must(t, db.KeepAnswer(ctx, o, c.ID, 1, []byte("answer")))
		mine, taken := acquire(t, other, c.ID, 1, time.Minute)
		equal(t, taken, true)
		equal(t, []any{mine.Refresh.Fence, mine.Refresh.Attempts, string(mine.Refresh.Answer)}, []any{int64(2), 2, "answer"})
		want(t, db.RenewRefresh(ctx, o, c.ID, late.Refresh.Fence, time.Minute), auth.ErrConflict)
		want(t, db.FailRefresh(ctx, o, c.ID, 1, late.Refresh.Fence, auth.RefreshFailure{State: auth.NeedsReauth, Dead: true}), auth.ErrConflict)
		late.Version = 2
		must(t, db.CommitRefresh(ctx, late)) // nobody else has succeeded: what it brings is good
		mine.Version = 2
		want(t, other.CommitRefresh(ctx, mine), auth.ErrConflict)
	})
	t.Run("a lease under a wrong clock does not hold for that time", func(t *testing.T) {
		c := add(t)
		_, taken := acquire(t, db, c.ID, 1, 30*24*time.Hour) // a few seconds, by a clock that was a month ahead
		equal(t, taken, true)
		now, taken := acquire(t, other, c.ID, 1, time.Minute)
		equal(t, []any{taken, now.Refresh.Fence}, []any{true, int64(2)})
	})
	t.Run("a failure says when to try again", func(t *testing.T) {
		c := add(t)
		mine, _ := acquire(t, db, c.ID, 1, time.Minute)
		again := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli()).UTC()
		must(t, db.FailRefresh(ctx, o, c.ID, 1, mine.Refresh.Fence, auth.RefreshFailure{State: auth.ProviderDown, Cause: "unavailable", Unknown: true, NextTryAt: again}))
		row, taken := acquire(t, other, c.ID, 1, time.Minute)
		equal(t, taken, false)
		equal(t, row.State, auth.ProviderDown)
		equal(t, row.Refresh, auth.RefreshState{Fence: 1, Attempts: 1, Failures: 1, NextTryAt: again})
	})
	t.Run("a failure under a wrong clock does not wait for that time", func(t *testing.T) {
		c := add(t)
		mine, _ := acquire(t, db, c.ID, 1, time.Minute)
		must(t, db.FailRefresh(ctx, o, c.ID, 1, mine.Refresh.Fence, auth.RefreshFailure{State: auth.ProviderDown, NextTryAt: time.Now().Add(24 * time.Hour)}))
		_, taken := acquire(t, other, c.ID, 1, time.Minute)
		equal(t, taken, true)
	})
	t.Run("a dead generation is tried by nobody", func(t *testing.T) {
		c := add(t)
		mine, _ := acquire(t, db, c.ID, 1, time.Minute)
		must(t, db.FailRefresh(ctx, o, c.ID, 1, mine.Refresh.Fence, auth.RefreshFailure{State: auth.NeedsReauth, Cause: "invalid_grant", Dead: true}))
		row, taken := acquire(t, other, c.ID, 1, time.Minute)
		equal(t, taken, false)
		equal(t, row.Refresh, auth.RefreshState{Fence: 1, DeadVersion: 1, Failures: 1})
	})
	t.Run("not there", func(t *testing.T) {
		_, _, err := db.AcquireRefresh(ctx, o, "nobody's", 1, time.Minute)
		want(t, err, auth.ErrNotFound)
		want(t, db.RenewRefresh(ctx, o, "nobody's", 1, time.Minute), auth.ErrNotFound)
		want(t, db.KeepAnswer(ctx, o, "nobody's", 1, nil), auth.ErrNotFound)
		want(t, db.FailRefresh(ctx, o, "nobody's", 1, 1, auth.RefreshFailure{}), auth.ErrNotFound)
	})
	// RF-013, at the row: whatever comes after the revocation, nothing of it is stored.
	t.Run("revoked meanwhile", func(t *testing.T) {
		c := add(t)
		mine, _ := acquire(t, db, c.ID, 1, time.Minute)
		must(t, other.RevokeConnection(ctx, o, c.ID, nil))
		want(t, db.KeepAnswer(ctx, o, c.ID, 1, []byte("answer")), auth.ErrConflict)
		want(t, db.RenewRefresh(ctx, o, c.ID, mine.Refresh.Fence, time.Minute), auth.ErrConflict)
		want(t, db.FailRefresh(ctx, o, c.ID, 1, mine.Refresh.Fence, auth.RefreshFailure{State: auth.Active}), auth.ErrConflict)
		mine.Version = 2
		want(t, db.CommitRefresh(ctx, mine), auth.ErrConflict)
		want(t, db.SetState(ctx, o, c.ID, 1, auth.Active, ""), auth.ErrConflict)
		saved := *c
		want(t, db.SaveSealed(ctx, &saved), auth.ErrConflict)
		_, taken := acquire(t, db, c.ID, 1, time.Minute)
		equal(t, taken, false)
		row, err := db.Connection(ctx, o, c.ID)
		must(t, err)
		equal(t, []any{row.State, row.Salt == nil, row.Sealed == nil, row.Refresh.Answer == nil}, []any{auth.Revoked, true, true, true})
	})
	// ST-014 and the store's part of RF-002: of all that ask at once one gets the lease.
	t.Run("many at once", func(t *testing.T) {
		c := add(t)
		for version := range int64(5) {
			var wg sync.WaitGroup
			var won atomic.Int64
			for i := range 16 {
				wg.Go(func() {
					from := []*store.DB{db, other}[i%2]
					mine, taken, err := from.AcquireRefresh(ctx, o, c.ID, version+1, time.Minute)
					if err != nil {
						t.Error(err)
						return
					}
					if !taken {
						return
					}
					won.Add(1)
					mine.Version++
					if err := from.CommitRefresh(ctx, mine); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			equal(t, won.Load(), int64(1))
		}
	})
}
