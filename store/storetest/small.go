package storetest

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// testSmall tests tokens, sessions, owner links, tickets and meta.
func testSmall(t *testing.T, open func(*testing.T) *store.DB) {
	ctx, o, db := t.Context(), NewOwner(), open(t)
	later, past := time.UnixMilli(time.Now().Add(time.Hour).UnixMilli()).UTC(), time.Now().Add(-time.Hour)

	t.Run("tokens", func(t *testing.T) {
		hash, never, none, gone := []byte(rand.Text()), []byte(rand.Text()), []byte(rand.Text()), []byte(rand.Text())
		must(t, db.AddToken(ctx, hash, o, "agent", []string{"latchpost:use"}, later))
		must(t, db.AddToken(ctx, never, o, "agent", nil, time.Time{}))
		must(t, db.AddToken(ctx, none, o, "agent", []string{}, later))
		must(t, db.AddToken(ctx, gone, o, "agent", nil, past))
		want(t, db.AddToken(ctx, hash, NewOwner(), "thief", nil, later), auth.ErrConflict)
		got, err := db.Token(ctx, hash)
		must(t, err)
		equal(t, []any{got.Owner, got.Client, got.Scopes, got.ExpiresAt}, []any{o, "agent", []string{"latchpost:use"}, later})
		got, err = db.Token(ctx, never)
		must(t, err)
		equal(t, got.Scopes == nil, true)
		got, err = db.Token(ctx, none)
		must(t, err)
		equal(t, got.Scopes != nil && len(got.Scopes) == 0, true) // no scopes must not turn into all
		_, err = db.Token(ctx, gone)
		want(t, err, auth.ErrNotFound)
		all, err := db.ListTokens(ctx, o)
		must(t, err)
		equal(t, len(all), 4)
		Connect(t, db, NewConnection(o, "github", "octo"))
		owners, err := db.Owners(ctx)
		must(t, err)
		i := slices.IndexFunc(owners, func(h store.Holdings) bool { return h.Owner == o })
		equal(t, i >= 0 && owners[i] == store.Holdings{Owner: o, Connections: 1, Tokens: 4}, true)
		want(t, db.DeleteToken(ctx, NewOwner(), hash), auth.ErrNotFound)
		must(t, db.DeleteToken(ctx, o, hash))
		_, err = db.Token(ctx, hash)
		want(t, err, auth.ErrNotFound)
	})
	t.Run("sessions", func(t *testing.T) {
		hash, gone := []byte(rand.Text()), []byte(rand.Text())
		must(t, db.AddSession(ctx, gone, o, past))
		must(t, db.AddSession(ctx, hash, o, later))
		got, expires, err := db.Session(ctx, hash)
		must(t, err)
		equal(t, []any{got, expires}, []any{o, later})
		_, _, err = db.Session(ctx, gone)
		want(t, err, auth.ErrNotFound)
		must(t, db.DeleteSession(ctx, hash))
		must(t, db.DeleteSession(ctx, hash))
		_, _, err = db.Session(ctx, hash)
		want(t, err, auth.ErrNotFound)

		other, link, others := NewOwner(), []byte(rand.Text()), []byte(rand.Text())
		must(t, db.AddSession(ctx, hash, o, later))
		must(t, db.AddOwnerLink(ctx, link, o, later))
		must(t, db.AddSession(ctx, others, other, later))
		for _, n := range []int64{1, 0} {
			ended, err := db.DeleteSessions(ctx, o)
			must(t, err)
			equal(t, ended, n)
		}
		_, _, err = db.Session(ctx, hash)
		want(t, err, auth.ErrNotFound)
		_, err = db.TakeOwnerLink(ctx, link)
		want(t, err, auth.ErrNotFound)
		_, _, err = db.Session(ctx, others)
		must(t, err)
	})
	t.Run("owner links", func(t *testing.T) {
		hash, gone := []byte(rand.Text()), []byte(rand.Text())
		must(t, db.AddOwnerLink(ctx, hash, o, later))
		must(t, db.AddOwnerLink(ctx, gone, o, past))
		got, err := db.TakeOwnerLink(ctx, hash)
		must(t, err)
		equal(t, got, o)
		_, err = db.TakeOwnerLink(ctx, hash)
		want(t, err, auth.ErrNotFound)
		_, err = db.TakeOwnerLink(ctx, gone)
		want(t, err, auth.ErrNotFound)
	})
	t.Run("tickets", func(t *testing.T) {
		serial := rand.Text()
		must(t, db.SpendTicket(ctx, serial, later))
		want(t, db.SpendTicket(ctx, serial, later), auth.ErrUsed)
		must(t, db.SpendTicket(ctx, rand.Text(), later))
	})
	t.Run("meta", func(t *testing.T) {
		name := rand.Text()
		_, err := db.Meta(ctx, name)
		want(t, err, auth.ErrNotFound)
		must(t, db.SetMeta(ctx, name, "a"))
		must(t, db.SetMeta(ctx, name, "b"))
		got, err := db.Meta(ctx, name)
		must(t, err)
		equal(t, got, "b")
	})
}
