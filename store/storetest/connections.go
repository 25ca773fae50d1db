package storetest

import (
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testConnections(t *testing.T, db *store.DB) {
	ctx, o := t.Context(), NewOwner()
	a, b, c := NewConnection(o, "github", "anna"), NewConnection(o, "github", "bob"), NewConnection(o, "zoom", "anna")
	for _, one := range []*auth.Connection{c, b, a} {
		Connect(t, db, one)
	}
	list := func(provider, account string) []auth.Connection {
		t.Helper()
		all, err := db.Connections(ctx, o, provider, account)
		must(t, err)
		return all
	}

	t.Run("come back as they went in, by provider and account", func(t *testing.T) {
		equal(t, list("", ""), []auth.Connection{*a, *b, *c})
		equal(t, list("github", ""), []auth.Connection{*a, *b})
		equal(t, list("github", "bob"), []auth.Connection{*b})
		equal(t, list("", "anna"), []auth.Connection{*a, *c})
		equal(t, list("gitlab", ""), nil)
		got, err := db.Connection(ctx, o, b.ID)
		must(t, err)
		equal(t, got, b)
	})
	t.Run("empty fields stay empty", func(t *testing.T) {
		bare := &auth.Connection{ID: "bare", Owner: o, Provider: "bare", State: auth.Active, Version: 1}
		Connect(t, db, bare)
		equal(t, list("bare", ""), []auth.Connection{*bare})
	})
	t.Run("a label is taken once", func(t *testing.T) {
		twin := NewConnection(o, "github", "anna")
		r := NewRequest(o, "github")
		_, err := db.CreateRequest(ctx, r, 10)
		must(t, err)
		want(t, db.CompleteRequest(ctx, r, twin, nil), auth.ErrConflict)
		_, err = db.Connection(ctx, o, twin.ID)
		want(t, err, auth.ErrNotFound)
		stands, err := db.Request(ctx, r.ID)
		must(t, err)
		equal(t, stands.State, auth.Created) // nothing of the transaction is left
	})
	t.Run("state changes at its version only", func(t *testing.T) {
		must(t, db.SetState(ctx, o, a.ID, 1, auth.NeedsReauth, "invalid_grant"))
		got, err := db.Connection(ctx, o, a.ID)
		must(t, err)
		equal(t, []string{string(got.State), got.Cause}, []string{"needs_reauth", "invalid_grant"})
		state, version, granted, err := db.Standing(ctx, o, a.ID, "", Now)
		must(t, err)
		equal(t, state, auth.NeedsReauth)
		equal(t, version, int64(1))
		equal(t, granted, false)
		_, _, _, err = db.Standing(ctx, o, "nobody's", "", Now)
		want(t, err, auth.ErrNotFound)
		want(t, db.SetState(ctx, o, a.ID, 2, auth.Active, ""), auth.ErrConflict)
		want(t, db.SetState(ctx, o, "nobody's", 1, auth.Active, ""), auth.ErrNotFound)
	})
	t.Run("rolled cookies are saved once", func(t *testing.T) { // RF-016, at the row
		mine, other := *b, *b
		mine.Sealed, mine.ExpiresAt = []byte("rolled"), Now.Add(2*time.Hour)
		must(t, db.SaveSealed(ctx, &mine))
		equal(t, mine.Version, int64(2))
		other.Sealed = []byte("older")
		want(t, db.SaveSealed(ctx, &other), auth.ErrConflict)
		got, err := db.Connection(ctx, o, b.ID)
		must(t, err)
		equal(t, string(got.Sealed), "rolled")
		equal(t, got.ExpiresAt, Now.Add(2*time.Hour))
	})
	t.Run("use is noted to the minute", func(t *testing.T) {
		used := Now.Add(90 * time.Second)
		must(t, db.Touch(ctx, o, c.ID, used))
		must(t, db.Touch(ctx, o, "nobody's", used))
		var got *auth.Connection
		for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(10 * time.Millisecond) { // once a second
			var err error
			got, err = db.Connection(ctx, o, c.ID)
			must(t, err)
			if !got.LastUsedAt.IsZero() {
				break
			}
		}
		equal(t, got.LastUsedAt, used.Truncate(time.Minute))
	})
}
