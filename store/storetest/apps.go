package storetest

import (
	"crypto/rand"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testApps(t *testing.T, db *store.DB) {
	ctx := t.Context()
	provider := rand.Text()
	me := NewOwner()
	me.Org = rand.Text()
	org, operator := auth.Owner{Org: me.Org}, auth.Owner{}
	put := func(o auth.Owner) auth.App {
		a := auth.App{ID: rand.Text(), Owner: o, Provider: provider, ClientID: rand.Text(), Bind: "b", Salt: []byte("s"), Sealed: []byte("x"), CreatedAt: Now}
		must(t, db.PutApp(ctx, a))
		return a
	}
	nearest := func(o auth.Owner, want auth.App) {
		t.Helper()
		got, err := db.App(ctx, o, provider)
		must(t, err)
		equal(t, *got, want)
	}
	_, err := db.App(ctx, me, provider)
	want(t, err, auth.ErrNotFound)
	everybodys := put(operator)
	nearest(me, everybodys)
	orgs := put(org)
	nearest(me, orgs)
	nearest(NewOwner(), everybodys)
	put(me)
	mine := put(me) // in place of the first
	nearest(me, mine)
	nearest(auth.Owner{Org: me.Org, User: "colleague"}, orgs)
	all, err := db.Apps(ctx, me)
	must(t, err)
	equal(t, all, []auth.App{mine, orgs, everybodys})

	public := auth.App{ID: "p", Owner: me, Provider: rand.Text(), ClientID: "c", CreatedAt: Now}
	must(t, db.PutApp(ctx, public))
	got, err := db.App(ctx, me, public.Provider)
	must(t, err)
	equal(t, *got, public)

	want(t, db.DeleteApp(ctx, NewOwner(), provider), auth.ErrNotFound)
	must(t, db.DeleteApp(ctx, me, provider))
	want(t, db.DeleteApp(ctx, me, provider), auth.ErrNotFound)
	nearest(me, orgs)
	must(t, db.DeleteApp(ctx, operator, provider))
}
