package storetest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testPending(t *testing.T, db *store.DB) {
	ctx := t.Context()

	t.Run("a poll goes to one caller", func(t *testing.T) {
		o := NewOwner()
		r := NewRequest(o, "device")
		r.State, r.NextPollAt = auth.Redirected, Now.Add(-time.Second)
		_, err := db.CreateRequest(ctx, r, 10)
		must(t, err)
		var mu sync.Mutex
		var wg sync.WaitGroup
		var got []auth.Request
		for range 6 {
			wg.Go(func() {
				due, err := db.DuePolls(ctx, Now, time.Minute, 100)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, due...)
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got = slices.DeleteFunc(got, func(r auth.Request) bool { return r.Owner != o })
		r.NextPollAt, r.Moves = Now.Add(time.Minute), 1
		equal(t, got, []auth.Request{*r})
	})
	t.Run("what is late ends, what is stuck fails, what is old goes", func(t *testing.T) {
		o := NewOwner()
		add := func(state auth.RequestState, expires, updated time.Time) *auth.Request {
			r := NewRequest(o, string(state)+expires.String()+updated.String())
			r.State, r.ExpiresAt, r.UpdatedAt, r.Private = state, expires, updated, []byte("verifier")
			_, err := db.CreateRequest(ctx, r, 100)
			must(t, err)
			return r
		}
		past, future := Now.Add(-time.Minute), Now.Add(time.Minute)
		late, held := add(auth.Redirected, past, Now), add(auth.Held, past, Now)
		stuck, busy := add(auth.Claimed, future, Now.Add(-time.Hour)), add(auth.Claimed, past, Now)
		ahead := add(auth.Claimed, Now.Add(24*time.Hour), Now.Add(24*time.Hour)) // by a clock that was a day ahead
		open, old, recent := add(auth.Created, future, Now), add(auth.Declined, past, Now.Add(-48*time.Hour)), add(auth.Stored, past, Now)
		ended, err := db.ExpireRequests(ctx, Now, Now.Add(-30*time.Minute), Now.Add(-24*time.Hour), 1000)
		must(t, err)
		got := map[string]auth.RequestState{}
		for _, r := range ended {
			if r.Owner == o {
				got[r.ID] = r.State
				if r.State == auth.Expired {
					equal(t, r.Private, nil)
				} else {
					equal(t, r.Private, []byte("verifier")) // what it brought may have to be revoked
				}
			}
		}
		equal(t, got, map[string]auth.RequestState{late.ID: auth.Expired, held.ID: auth.Expired, stuck.ID: auth.Failed, ahead.ID: auth.Failed})
		row, err := db.Request(ctx, stuck.ID)
		must(t, err)
		equal(t, row.Cause, "unknown_outcome")
		_, err = db.Request(ctx, old.ID)
		want(t, err, auth.ErrNotFound)
		_, err = db.Request(ctx, recent.ID)
		must(t, err)
		left, err := db.OpenRequests(ctx, o)
		must(t, err)
		ids := []string{}
		for _, r := range left {
			ids = append(ids, r.ID)
		}
		slices.Sort(ids)
		equal(t, ids, slices.Sorted(slices.Values([]string{busy.ID, open.ID})))
	})
	t.Run("of too many that are open, those go that have the least time left", func(t *testing.T) {
		o := NewOwner()
		var ids []string
		for i := range 5 {
			r := NewRequest(o, fmt.Sprint("many ", i))
			r.ExpiresAt = Now.Add(1000*time.Hour + time.Duration(i)*time.Second) // after everybody else's here
			_, err := db.CreateRequest(ctx, r, 10)
			must(t, err)
			ids = append(ids, r.ID)
		}
		ended, err := db.ExpireRequests(ctx, Now, Now, Now.Add(-24*time.Hour), 3)
		must(t, err)
		for i, id := range ids {
			gone := slices.ContainsFunc(ended, func(r auth.Request) bool { return r.ID == id && r.State == auth.Expired })
			equal(t, gone, i < 2)
		}
	})
	t.Run("approvals and grants that are over go too, a few at a time", func(t *testing.T) {
		o, old := NewOwner(), Now.Add(-24*time.Hour)
		c := NewConnection(o, "github", "me")
		Connect(t, db, c)
		const many = 250 // more than go at once
		for i := range many {
			r := NewRequest(o, fmt.Sprint("over ", i))
			r.State, r.UpdatedAt = auth.Declined, old.Add(-time.Minute)
			_, err := db.CreateRequest(ctx, r, many+1)
			must(t, err)
		}
		ask := func(digest string, expires time.Time) *auth.Approval {
			a := &auth.Approval{ID: rand.Text(), Owner: o, Client: "agent", Connection: c.ID, Kind: auth.Use, Digest: []byte(digest), State: auth.Waiting, CreatedAt: old, ExpiresAt: expires}
			_, err := db.AddApproval(ctx, a, 100)
			must(t, err)
			return a
		}
		over, recent := ask("over", old.Add(-time.Minute)), ask("recent", old.Add(time.Minute))
		grants := map[string]time.Time{"over": old.Add(-time.Minute), "recent": old.Add(time.Minute), "always": {}}
		for id, until := range grants {
			must(t, db.AddGrant(ctx, auth.Grant{ID: id, Owner: o, Client: "agent", Connection: c.ID, Kind: auth.Use, Until: until, CreatedAt: old.Add(-time.Hour)}))
		}
		long := old.Add(-30 * time.Minute) // none had ended then
		left, err := db.Grants(ctx, o, "agent", c.ID, long)
		must(t, err)
		equal(t, len(left), 3)
		for range 3 {
			_, err := db.ExpireRequests(ctx, Now, old, old, 1000)
			must(t, err)
		}
		left, err = db.Grants(ctx, o, "agent", c.ID, long)
		must(t, err)
		equal(t, len(left), 2)
		_, err = db.Approval(ctx, o, over.ID)
		want(t, err, auth.ErrNotFound)
		_, err = db.Approval(ctx, o, recent.ID)
		must(t, err)
		census, err := db.Census(ctx)
		must(t, err)
		equal(t, census.Requests[store.Step{Method: NewRequest(o, "").Method, State: auth.Declined}], 0)
	})
	t.Run("open ones, newest first", func(t *testing.T) {
		o := NewOwner()
		for i := range 3 {
			r := NewRequest(o, string(rune('a'+i)))
			r.CreatedAt = Now.Add(time.Duration(i) * time.Second)
			_, err := db.CreateRequest(ctx, r, 10)
			must(t, err)
		}
		open, err := db.OpenRequests(ctx, o)
		must(t, err)
		equal(t, []string{open[0].Provider, open[1].Provider, open[2].Provider}, []string{"c", "b", "a"})
	})
	t.Run("refreshes ahead", func(t *testing.T) {
		o := NewOwner()
		lapsed, soon, usedAfter := Now.Add(-time.Hour), Now.Add(10*time.Minute), Now.Add(-24*time.Hour)
		add := func(account string, change func(*auth.Connection)) *auth.Connection {
			c := NewConnection(o, "github", account)
			c.ExpiresAt, c.LastUsedAt = Now.Add(5*time.Minute), Now.Add(-time.Minute)
			change(c)
			Connect(t, db, c)
			return c
		}
		used := add("used", func(*auth.Connection) {})
		dying := add("dying", func(c *auth.Connection) { c.LastUsedAt, c.RefreshExpiresAt = time.Time{}, Now.Add(time.Minute) })
		fading := add("fading", func(c *auth.Connection) {
			c.LastUsedAt, c.ExpiresAt, c.IssuedAt, c.RefreshExpiresAt = time.Time{}, Now.Add(-90*24*time.Hour), Now.Add(-24*24*time.Hour), Now.Add(5*24*time.Hour)
		})
		add("renewed a while ago", func(c *auth.Connection) {
			c.LastUsedAt, c.ExpiresAt, c.IssuedAt, c.RefreshExpiresAt = time.Time{}, Now.Add(time.Hour), Now.Add(-time.Hour), Now.Add(5*24*time.Hour)
		})
		add("nothing to renew with", func(c *auth.Connection) { c.Refresh.DeadVersion = 1 })
		add("unused", func(c *auth.Connection) { c.LastUsedAt = time.Time{} })
		add("later", func(c *auth.Connection) { c.ExpiresAt = Now.Add(time.Hour) })
		add("never", func(c *auth.Connection) { c.ExpiresAt, c.RefreshExpiresAt = time.Time{}, time.Time{} })
		add("broken", func(c *auth.Connection) { c.State = auth.NeedsReauth })
		leased := add("leased", func(*auth.Connection) {})
		_, _, err := db.AcquireRefresh(ctx, o, leased.ID, 1, time.Hour)
		must(t, err)
		dead := add("dead", func(*auth.Connection) {})
		mine, _, err := db.AcquireRefresh(ctx, o, dead.ID, 1, time.Hour)
		must(t, err)
		must(t, db.FailRefresh(ctx, o, dead.ID, 1, mine.Refresh.Fence, auth.RefreshFailure{State: auth.Active, Dead: true}))
		add("lapsed", func(c *auth.Connection) { c.ExpiresAt = lapsed.Add(-time.Minute) })
		down := add("down", func(c *auth.Connection) { c.State, c.ExpiresAt = auth.ProviderDown, lapsed.Add(-time.Minute) })
		endless := add("down, without an end", func(c *auth.Connection) { c.State, c.ExpiresAt = auth.ProviderDown, time.Time{} })
		late := add("late", func(c *auth.Connection) { c.ExpiresAt = lapsed.Add(time.Minute) })
		found := func(within time.Time) (accounts []string) {
			due, err := db.DueRefreshes(ctx, Now, lapsed, soon, within, usedAfter, 10000)
			must(t, err)
			for _, c := range due {
				if c.Owner == o {
					accounts = append(accounts, c.Account)
				}
			}
			return accounts
		}
		got := found(soon)
		equal(t, got[:1], []string{dying.Account}) // its sign-in would be lost, the others only wait a little
		slices.Sort(got)
		equal(t, got, []string{down.Account, endless.Account, dying.Account, late.Account, used.Account})
		got = found(Now.Add(7 * 24 * time.Hour))
		slices.Sort(got)
		equal(t, got, []string{down.Account, endless.Account, dying.Account, fading.Account, late.Account, used.Account})
	})
}
