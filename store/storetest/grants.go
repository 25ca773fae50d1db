package storetest

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testGrants(t *testing.T, db *store.DB) {
	ctx, o := t.Context(), NewOwner()
	c, d := NewConnection(o, "github", "me"), NewConnection(o, "zoom", "me")
	Connect(t, db, c)
	Connect(t, db, d)
	add := func(client, connection string, until time.Time, n int) auth.Grant {
		t.Helper()
		g := auth.Grant{
			ID: rand.Text(), Owner: o, Client: client, ClientName: "Agent", Connection: connection, Kind: auth.Release, Access: auth.Write, Methods: []string{"GET"},
			Paths: []string{"/a/**"}, Hosts: []string{"h"}, Until: until, CreatedAt: Now.Add(time.Duration(n) * time.Second), Origin: "cli",
		}
		must(t, db.AddGrant(ctx, g))
		return g
	}
	first, second := add("a", c.ID, time.Time{}, 1), add("b", c.ID, Now.Add(time.Hour), 2)
	third, ended := add("a", d.ID, time.Time{}, 3), add("a", c.ID, Now, 4)
	list := func(client, connection string, want ...auth.Grant) {
		t.Helper()
		got, err := db.Grants(ctx, o, client, connection, Now)
		must(t, err)
		equal(t, got, want)
	}
	list("", "", first, second, third)
	list("a", "", first, third)
	list("", c.ID, first, second)
	list("b", c.ID, second)
	list("b", d.ID)

	granted := func(client, provider, account string, conns []auth.Connection, grants []auth.Grant) {
		t.Helper()
		found, all, err := db.Granted(ctx, o, client, provider, account, Now)
		must(t, err)
		equal(t, found, conns)
		equal(t, all, grants)
	}
	granted("a", "", "", []auth.Connection{*c, *d}, []auth.Grant{first, third})
	granted("a", "github", "", []auth.Connection{*c}, []auth.Grant{first})
	granted("b", "github", "me", []auth.Connection{*c}, []auth.Grant{second})
	granted("b", "zoom", "me", []auth.Connection{*d}, nil)
	granted("a", "gitlab", "", nil, nil)

	stands := func(o auth.Owner, connection string, g auth.Grant, now time.Time, yes bool) {
		t.Helper()
		state, version, granted, err := db.Standing(ctx, o, connection, g.ID, now)
		must(t, err)
		equal(t, state, auth.Active)
		equal(t, version, int64(1))
		equal(t, granted, yes)
	}
	stands(o, c.ID, first, Now, true)
	stands(o, c.ID, second, Now, true)
	stands(o, c.ID, second, second.Until, false)
	stands(o, c.ID, ended, Now, false)
	stands(o, d.ID, first, Now, false)
	stands(o, c.ID, auth.Grant{ID: "nobody's"}, Now, false)

	want(t, db.AddGrant(ctx, first), auth.ErrConflict)
	astray := auth.Grant{ID: rand.Text(), Owner: o, Client: "a", Connection: "nowhere"}
	want(t, db.AddGrant(ctx, astray), auth.ErrNotFound)
	foreign := auth.Grant{ID: rand.Text(), Owner: NewOwner(), Client: "a", Connection: c.ID}
	want(t, db.AddGrant(ctx, foreign), auth.ErrNotFound)

	must(t, db.EndGrant(ctx, o, second.ID))
	want(t, db.EndGrant(ctx, o, second.ID), auth.ErrNotFound)
	want(t, db.EndGrant(ctx, NewOwner(), first.ID), auth.ErrNotFound)
	must(t, db.EndGrant(ctx, o, ended.ID))
	list("", c.ID, first)
	stands(o, c.ID, second, Now, false)

	// A sign-in that renews a connection says anew what its client may do on the whole, and for another account
	// nothing of what was said before holds.
	renew := func(account string, grants ...auth.Grant) {
		t.Helper()
		r := NewRequest(o, "zoom")
		_, err := db.CreateRequest(ctx, r, 10)
		must(t, err)
		d.Version++
		d.Account = account
		must(t, db.CompleteRequest(ctx, r, d, grants))
	}
	whole := func(client, access string) auth.Grant {
		return auth.Grant{ID: rand.Text(), Owner: o, Client: client, Connection: d.ID, Kind: auth.Use, Access: access, CreatedAt: Now.Add(time.Minute), Origin: "request:r"}
	}
	mine, others, narrower := whole("a", auth.Write), whole("b", auth.Write), whole("a", auth.Read)
	must(t, db.AddGrant(ctx, mine))
	must(t, db.AddGrant(ctx, others))
	renew("me", narrower)
	list("a", d.ID, third, narrower)
	list("b", d.ID, others)
	theirs := whole("a", auth.Read)
	renew("somebody else", theirs)
	list("", d.ID, theirs)
	namesake := whole("b", auth.Read)
	d.CreatedAt = d.CreatedAt.Add(time.Hour)
	renew("somebody else", namesake)
	list("", d.ID, namesake)
	theirs = namesake
	must(t, db.EndGrant(ctx, o, theirs.ID))
	third = add("a", d.ID, time.Time{}, 5)

	must(t, db.RevokeConnection(ctx, o, c.ID, nil))
	list("", "", third)
	late := auth.Grant{ID: rand.Text(), Owner: o, Client: "a", Connection: c.ID}
	want(t, db.AddGrant(ctx, late), auth.ErrNotFound) // nothing is granted on what is revoked
}
