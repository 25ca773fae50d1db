package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testRequests(t *testing.T, db *store.DB) {
	ctx := t.Context()
	create := func(t *testing.T, r *auth.Request) *auth.Request {
		t.Helper()
		existing, err := db.CreateRequest(ctx, r, 100)
		must(t, err)
		equal(t, existing, false)
		return r
	}

	t.Run("come back as they went in", func(t *testing.T) {
		r := NewRequest(NewOwner(), "github")
		r.Verified, r.ClientName, r.Account, r.Vars, r.Private, r.Browser, r.StateHash = true, "Agent", "me", map[string]string{"a": "b"}, []byte("p"), []byte("b"), []byte(r.ID)
		r.Access, r.UserCode, r.VerifyURL, r.NextPollAt, r.Renews, r.Cause = auth.Write, "U-1", "https://v", Now.Add(time.Second), "c1", "x"
		create(t, r)
		got, err := db.Request(ctx, r.ID)
		must(t, err)
		equal(t, got, r)
		got, err = db.RequestByState(ctx, []byte(r.ID))
		must(t, err)
		equal(t, got, r)
		_, err = db.Request(ctx, "none")
		want(t, err, auth.ErrNotFound)
		for _, none := range [][]byte{nil, {}, []byte("none")} {
			_, err = db.RequestByState(ctx, none)
			want(t, err, auth.ErrNotFound)
		}
	})
	t.Run("an equal open one is given instead", func(t *testing.T) {
		o := NewOwner()
		r := NewRequest(o, "github")
		r.Scopes = []string{"a", "b"}
		create(t, r)
		again := NewRequest(o, "github")
		again.Scopes = []string{"b", "a"}
		existing, err := db.CreateRequest(ctx, again, 1)
		must(t, err)
		equal(t, existing, true)
		equal(t, again, r)
		now := NewRequest(o, "github") // its reason is the one of today, and whoever read it before reads it again
		now.Scopes, now.Reason = r.Scopes, auth.NoOAuthApp
		existing, err = db.CreateRequest(ctx, now, 1)
		must(t, err)
		equal(t, existing, true)
		got, err := db.Request(ctx, r.ID)
		must(t, err)
		equal(t, now, got)
		equal(t, got.Reason, auth.NoOAuthApp)
		equal(t, got.Moves, r.Moves+1)
		want(t, db.MoveRequest(ctx, r, auth.Created), auth.ErrConflict)
		for _, differ := range []func(*auth.Request){
			func(r *auth.Request) { r.Client = "other" },
			func(r *auth.Request) { r.Provider = "other" },
			func(r *auth.Request) { r.Method = auth.MethodBrowser },
			func(r *auth.Request) { r.Account = "other" },
			func(r *auth.Request) { r.Scopes = []string{"a"} },
			func(r *auth.Request) { r.Owner = NewOwner() },
		} {
			next := NewRequest(o, "github")
			next.Scopes = []string{"a", "b"}
			differ(next)
			create(t, next)
		}
		late := NewRequest(o, "github")
		late.Scopes, late.CreatedAt, late.ExpiresAt = []string{"a", "b"}, r.ExpiresAt, r.ExpiresAt.Add(time.Minute)
		create(t, late) // the other has expired by then
	})
	t.Run("no more than the limit, however many at once", func(t *testing.T) {
		o := NewOwner()
		var wg sync.WaitGroup
		var made, refused atomic.Int64
		for range 12 {
			wg.Go(func() {
				r := NewRequest(o, "github")
				r.Account = rand.Text()
				switch _, err := db.CreateRequest(ctx, r, 5); {
				case err == nil:
					made.Add(1)
				case errors.Is(err, auth.ErrLimit):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		equal(t, []int64{made.Load(), refused.Load()}, []int64{5, 7})
	})
	t.Run("move from named states only, one of many at once", func(t *testing.T) {
		r := create(t, NewRequest(NewOwner(), "github"))
		r.State = auth.Confirmed
		want(t, db.MoveRequest(ctx, r, auth.Redirected, auth.Held), auth.ErrConflict)
		must(t, db.MoveRequest(ctx, r, auth.Created, auth.Held))
		foreign := *r
		foreign.Owner = NewOwner()
		want(t, db.MoveRequest(ctx, &foreign, auth.Confirmed), auth.ErrNotFound)
		var wg sync.WaitGroup
		var won atomic.Int64
		for range 8 {
			wg.Go(func() {
				mine := *r
				mine.State = auth.Claimed
				switch err := db.MoveRequest(ctx, &mine, auth.Confirmed); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, auth.ErrConflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		equal(t, won.Load(), int64(1))
	})
	t.Run("nothing is written over what somebody else did meanwhile", func(t *testing.T) {
		o := NewOwner()
		r := create(t, NewRequest(o, "github"))
		r.State, r.Access, r.NextPollAt = auth.Redirected, auth.Write, Now.Add(-time.Second)
		must(t, db.MoveRequest(ctx, r, auth.Created))
		read := func() *auth.Request {
			got, err := db.Request(ctx, r.ID)
			must(t, err)
			return got
		}
		equal(t, read(), r)
		old := *r
		r.Access = auth.Read
		must(t, db.MoveRequest(ctx, r, auth.Redirected))
		for _, state := range []auth.RequestState{auth.Redirected, auth.Claimed, auth.Failed} {
			late := old
			late.State = state
			want(t, db.MoveRequest(ctx, &late, auth.Redirected), auth.ErrConflict)
			equal(t, late.Moves, old.Moves)
		}
		want(t, db.CompleteRequest(ctx, &old, NewConnection(o, "github", "me"), nil), auth.ErrConflict)
		equal(t, read(), r)
		old = *r
		_, err := db.DuePolls(ctx, Now, time.Minute, 100)
		must(t, err)
		old.State = auth.Claimed
		want(t, db.MoveRequest(ctx, &old, auth.Redirected), auth.ErrConflict)
		r = read()
		must(t, db.MoveRequest(ctx, r, auth.Redirected))
		equal(t, read(), r)
	})
	t.Run("complete once, whole or not at all", func(t *testing.T) {
		o := NewOwner()
		r := create(t, NewRequest(o, "github"))
		r.Private = []byte("verifier")
		must(t, db.MoveRequest(ctx, r, auth.Created))
		c := NewConnection(o, "github", "me")
		g := auth.Grant{ID: rand.Text(), Owner: o, Client: "agent", Connection: c.ID, Kind: auth.Use, Access: auth.Read, CreatedAt: Now, Origin: "request:" + r.ID}
		astray := g
		astray.ID, astray.Connection = rand.Text(), "nowhere"
		want(t, db.CompleteRequest(ctx, r, c, []auth.Grant{g, astray}), auth.ErrNotFound)
		_, err := db.Connection(ctx, o, c.ID)
		want(t, err, auth.ErrNotFound)
		must(t, db.CompleteRequest(ctx, r, c, []auth.Grant{g}))
		got, err := db.Request(ctx, r.ID)
		must(t, err)
		equal(t, []any{got.State, got.Connection, got.Private == nil}, []any{auth.Stored, c.ID, true})
		grants, err := db.Grants(ctx, o, "", "", Now)
		must(t, err)
		equal(t, grants, []auth.Grant{g})
		want(t, db.CompleteRequest(ctx, r, NewConnection(o, "github", "you"), nil), auth.ErrConflict)
	})
	t.Run("the last sign-in of a connection", func(t *testing.T) {
		o := NewOwner()
		c := NewConnection(o, "github", "me")
		_, err := db.LastSignIn(ctx, o, c.ID)
		want(t, err, auth.ErrNotFound)
		var last *auth.Request
		for i := range 3 {
			last = NewRequest(o, "github")
			last.Account, last.UpdatedAt = fmt.Sprint(i), Now.Add(time.Duration(i)*time.Second)
			create(t, last)
			if i > 0 {
				c.Version++
			}
			must(t, db.CompleteRequest(ctx, last, c, nil))
		}
		got, err := db.LastSignIn(ctx, o, c.ID)
		must(t, err)
		equal(t, got, last)
		_, err = db.LastSignIn(ctx, NewOwner(), c.ID)
		want(t, err, auth.ErrNotFound)
	})
	t.Run("complete as a new generation", func(t *testing.T) {
		o := NewOwner()
		c := NewConnection(o, "github", "me")
		Connect(t, db, c)
		_, taken, err := db.AcquireRefresh(ctx, o, c.ID, 1, time.Minute)
		must(t, err)
		equal(t, taken, true)
		next := *c
		next.Version, next.Account, next.Sealed, next.Salt = 2, "me again", []byte("new"), []byte("new salt")
		Connect(t, db, &next)
		got, err := db.Connection(ctx, o, c.ID)
		must(t, err)
		next.Refresh.Fence = 1 // the lease is gone with the old generation
		equal(t, *got, next)
		r := create(t, NewRequest(o, "github"))
		want(t, db.CompleteRequest(ctx, r, &next, nil), auth.ErrConflict)
	})
}
