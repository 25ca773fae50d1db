package storetest

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testRevocations(t *testing.T, db *store.DB) {
	ctx, o := t.Context(), NewOwner()
	rev := func() auth.Revocation {
		return auth.Revocation{
			ID: rand.Text(), Owner: o, Provider: "github", Connection: "c", Method: auth.MethodOAuthCode, Vars: map[string]string{"a": "b"}, Bind: "b",
			Salt: []byte("s"), Sealed: []byte("x"), NextTryAt: Now, CreatedAt: Now,
		}
	}
	due := func(at time.Time) []auth.Revocation {
		t.Helper()
		all, err := db.DueRevocations(ctx, at, time.Minute, 1000)
		must(t, err)
		return slices.DeleteFunc(all, func(r auth.Revocation) bool { return r.Owner != o })
	}

	c := NewConnection(o, "github", "me")
	Connect(t, db, c)
	want(t, db.RevokeConnection(ctx, NewOwner(), c.ID, nil), auth.ErrNotFound)
	want(t, db.RevokeConnection(ctx, o, "none", nil), auth.ErrNotFound)
	first, second := rev(), rev()
	must(t, db.RevokeConnection(ctx, o, c.ID, &first))
	must(t, db.RevokeConnection(ctx, o, c.ID, &second)) // revoked already: keeps nothing
	all, err := db.Connections(ctx, o, "", "")
	must(t, err)
	equal(t, all, nil)
	again := NewConnection(o, "github", "me") // the label is free
	Connect(t, db, again)

	equal(t, due(Now.Add(-time.Second)), nil)
	held := first
	held.NextTryAt, held.Attempts = Now.Add(time.Minute), 1
	equal(t, due(Now), []auth.Revocation{held})
	equal(t, due(Now), nil) // another has it
	must(t, db.EndRevocation(ctx, first.ID, Now.Add(time.Hour)))
	equal(t, due(Now.Add(time.Minute)), nil)
	equal(t, due(Now.Add(time.Hour))[0].Attempts, 2)
	must(t, db.EndRevocation(ctx, first.ID, Now.Add(25*time.Hour))) // by a clock that was a day ahead
	equal(t, due(Now.Add(time.Hour))[0].Attempts, 3)
	must(t, db.EndRevocation(ctx, first.ID, time.Time{}))
	want(t, db.EndRevocation(ctx, first.ID, time.Time{}), auth.ErrNotFound)
	must(t, db.AddRevocation(ctx, second))
	want(t, db.AddRevocation(ctx, second), auth.ErrConflict)
	equal(t, len(due(Now)), 1)
}
