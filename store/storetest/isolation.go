package storetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// tenant is what a model says of one owner.
type tenant struct {
	owner       auth.Owner
	connections map[string]auth.Connection // by id, revoked ones too
	grants      map[string]string          // id to connection
	asked       asked
}

// testIsolation is ST-027 and the store's part of ID-008: five owners do random
// things, with ids of their own and of the others; a model says what each of them
// has. Whatever is another's is not there.
func testIsolation(t *testing.T, db *store.DB) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		tenants := make([]*tenant, 5)
		org := rand.Text()
		for i := range tenants { // the same user in other orgs, other users in the same org
			o := auth.Owner{Org: fmt.Sprint(org, i/2), User: fmt.Sprint("user", i%2)}
			tenants[i] = &tenant{o, map[string]auth.Connection{}, map[string]string{}, asked{map[string]auth.RequestState{}, map[string]auth.ApprovalState{}, map[string]bool{}}}
		}
		who := rapid.SampledFrom(tenants)
		someID := func(t *rapid.T, pick func(*tenant) []string) string {
			var ids []string
			for _, x := range tenants {
				ids = append(ids, pick(x)...)
			}
			if len(ids) == 0 {
				return "none"
			}
			slices.Sort(ids)
			return rapid.SampledFrom(ids).Draw(t, "id")
		}
		connectionIDs := func(x *tenant) []string { return slices.Collect(maps.Keys(x.connections)) }
		grantIDs := func(x *tenant) []string { return slices.Collect(maps.Keys(x.grants)) }
		expect := func(t *rapid.T, err, is error) {
			if is == nil && err != nil || is != nil && !errors.Is(err, is) {
				t.Fatalf("got error %v, want %v", err, is)
			}
		}
		// miss is the error for a connection in the hands of x: nil when it is there and lives.
		miss := func(x *tenant, id string) error {
			switch c, mine := x.connections[id]; {
			case !mine:
				return auth.ErrNotFound
			case c.State == auth.Revoked:
				return auth.ErrConflict
			}
			return nil
		}
		steps := map[string]func(*rapid.T){
			"connect": func(t *rapid.T) {
				x := who.Draw(t, "who")
				c := NewConnection(x.owner, "p", rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "account"))
				r := NewRequest(x.owner, rand.Text())
				_, err := db.CreateRequest(ctx, r, 1000)
				expect(t, err, nil)
				var taken error
				for _, other := range x.connections {
					if other.Account == c.Account && other.State != auth.Revoked {
						taken = auth.ErrConflict
					}
				}
				expect(t, db.CompleteRequest(ctx, r, c, nil), taken)
				if taken == nil {
					x.connections[c.ID] = *c
				} else {
					x.asked.requests[r.ID] = auth.Created
				}
			},
			"state": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, connectionIDs)
				c := x.connections[id]
				err := miss(x, id)
				expect(t, db.SetState(ctx, x.owner, id, max(1, c.Version), auth.ProviderDown, "x"), err)
				if err == nil {
					c.State, c.Cause = auth.ProviderDown, "x"
					x.connections[id] = c
				}
			},
			"save": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, connectionIDs)
				c := auth.Connection{ID: id, Owner: x.owner, Version: max(1, x.connections[id].Version), Sealed: []byte(rand.Text()), ExpiresAt: Now}
				err := miss(x, id)
				expect(t, db.SaveSealed(ctx, &c), err)
				if err == nil {
					had := x.connections[id]
					had.Version, had.Sealed, had.ExpiresAt = c.Version, c.Sealed, c.ExpiresAt
					x.connections[id] = had
				}
			},
			"refresh": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, connectionIDs)
				had, mine := x.connections[id]
				c, taken, err := db.AcquireRefresh(ctx, x.owner, id, had.Version, time.Minute)
				if !mine {
					expect(t, err, auth.ErrNotFound)
					return
				}
				expect(t, err, nil)
				if taken != (had.State != auth.Revoked) {
					t.Fatalf("taken is %v for a connection that is %s", taken, had.State)
				}
				if taken {
					c.Version, c.Sealed = c.Version+1, []byte(rand.Text())
					expect(t, db.CommitRefresh(ctx, c), nil)
					had.Version, had.Sealed = c.Version, c.Sealed
					x.connections[id] = had
				}
			},
			"revoke": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, connectionIDs)
				c, mine := x.connections[id]
				err := db.RevokeConnection(ctx, x.owner, id, nil)
				if !mine {
					expect(t, err, auth.ErrNotFound)
					return
				}
				expect(t, err, nil)
				c.State, c.Salt, c.Sealed = auth.Revoked, nil, nil
				x.connections[id] = c
				maps.DeleteFunc(x.grants, func(_, connection string) bool { return connection == id })
			},
			"grant": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, connectionIDs)
				g := auth.Grant{ID: rand.Text(), Owner: x.owner, Client: "agent", Connection: id, Kind: auth.Use, CreatedAt: Now}
				err := db.AddGrant(ctx, g)
				if miss(x, id) != nil {
					expect(t, err, auth.ErrNotFound)
					return
				}
				expect(t, err, nil)
				x.grants[g.ID] = id
			},
			"end grant": func(t *rapid.T) {
				x, id := who.Draw(t, "who"), someID(t, grantIDs)
				err := db.EndGrant(ctx, x.owner, id)
				if x.grants[id] == "" {
					expect(t, err, auth.ErrNotFound)
					return
				}
				expect(t, err, nil)
				delete(x.grants, id)
			},
			"": func(t *rapid.T) {
				for _, x := range tenants {
					x.check(ctx, t, db)
					x.checkAsked(ctx, t, db)
				}
			},
		}
		maps.Copy(steps, askedSteps(ctx, db, who, someID, expect))
		t.Repeat(steps)
	})
}

// check compares all that a tenant can read with the model.
func (x *tenant) check(ctx context.Context, t *rapid.T, db *store.DB) {
	summary := func(c auth.Connection) string {
		return fmt.Sprint(c.Owner, c.ID, c.Account, c.State, c.Version, string(c.Salt), string(c.Sealed))
	}
	var model, rows []string
	for _, c := range x.connections {
		if c.State != auth.Revoked {
			model = append(model, summary(c))
		}
		row, err := db.Connection(ctx, x.owner, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if summary(*row) != summary(c) {
			t.Fatalf("%s reads %s and has %s", x.owner, summary(*row), summary(c))
		}
	}
	all, err := db.Connections(ctx, x.owner, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		rows = append(rows, summary(c))
	}
	slices.Sort(model)
	slices.Sort(rows)
	if !slices.Equal(rows, model) {
		t.Fatalf("%s reads\n%s\nand has\n%s", x.owner, strings.Join(rows, "\n"), strings.Join(model, "\n"))
	}
	grants, err := db.Grants(ctx, x.owner, "", "", Now)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, g := range grants {
		got[g.ID] = g.Connection
	}
	if !maps.Equal(got, x.grants) {
		t.Fatalf("%s has grants %v, the model %v", x.owner, got, x.grants)
	}
}
