package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

var ada = auth.Owner{Org: "acme", User: "ada"}

// connected opens the store in dir twice, as two processes would, with a connection of ada's that
// the first one remembers: by name, by id, with what client "agent" may do, and the token "bearer".
func connected(t *testing.T) (dir string, here, there *DB) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	here, there = openAt(t, dir), openAt(t, dir)
	c := auth.Connection{
		ID: "c", Owner: ada, Provider: "p", Account: "a", State: auth.Active, Version: 1,
		Scopes: []string{"read"}, Hosts: []string{"api.test"}, Vars: map[string]string{"tenant": "t"}, Sealed: []byte("sealed"),
	}
	must(t, there.Import(t.Context(), c))
	must(t, there.AddGrant(t.Context(), auth.Grant{ID: "g", Owner: ada, Client: "agent", Connection: "c", Kind: auth.Use, Access: auth.Read, Until: time.Now().Add(time.Hour)}))
	must(t, there.AddToken(t.Context(), []byte("bearer"), ada, "agent", nil, time.Time{}))
	if got := view(t, here); got != "active 1, sealed active 1, 1 grant, token" {
		t.Fatal(got)
	}
	return dir, here, there
}

// view is all that db may remember of what connected made.
func view(t *testing.T, db *DB) string {
	t.Helper()
	state, version, stands, err := db.Standing(t.Context(), ada, "c", "g", db.now())
	must(t, err)
	text := fmt.Sprintf("%s %d", state, version)
	found, grants, err := db.Granted(t.Context(), ada, "agent", "p", "a", db.now())
	must(t, err)
	if has := slices.ContainsFunc(grants, func(g auth.Grant) bool { return g.ID == "g" }); has != stands {
		t.Errorf("the grant is there: %v, and stands: %v", has, stands)
	}
	for _, c := range found {
		text += fmt.Sprintf(", %s %s %d, %d grant", c.Sealed, c.State, c.Version, len(grants))
	}
	_, err = db.Token(t.Context(), []byte("bearer"))
	if err != nil && !errors.Is(err, auth.ErrNotFound) {
		t.Fatal(err)
	}
	if err == nil {
		text += ", token"
	}
	return text
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is asked again is not read again: a change that no Latchpost made shows when it is old.
func TestMemory(t *testing.T) {
	dir, here, _ := connected(t)
	if _, err := raw(t, dir).Exec(`UPDATE connections SET state = 'revoked'`); err != nil {
		t.Fatal(err)
	}
	if got := view(t, here); got != "active 1, sealed active 1, 1 grant, token" {
		t.Errorf("read again: %s", got)
	}
	here.known.standing.young[standingKey{rowKey{ada, "c"}, "g"}] = remembered[standing]{} // a later time
	if state, _, _, err := here.Standing(t.Context(), ada, "c", "g", here.now()); err != nil || state != auth.Revoked {
		t.Errorf("%s %v", state, err)
	}
}

// That a connection was used does not make anybody read it again.
func TestUsesAreNoChange(t *testing.T) {
	dir, here, there := connected(t)
	used := time.Now().Truncate(time.Minute)
	must(t, there.Touch(t.Context(), ada, "c", used))
	must(t, there.noteUses(t.Context()))
	if c, err := here.Connection(t.Context(), ada, "c"); err != nil || !c.LastUsedAt.Equal(used) {
		t.Errorf("not noted: %+v, %v", c, err)
	}
	if _, err := raw(t, dir).Exec(`UPDATE connections SET state = 'expiring'`); err != nil { // nobody counts it
		t.Fatal(err)
	}
	if got := view(t, here); got != "active 1, sealed active 1, 1 grant, token" {
		t.Errorf("read again: %s", got)
	}
}

// What a connection's row has said is not asked of it again; what came after it is.
func TestGrantedTellsStanding(t *testing.T) {
	dir, _, there := connected(t)
	here := openAt(t, dir)
	granted := func(want auth.State) {
		t.Helper()
		if found, _, err := here.Granted(t.Context(), ada, "agent", "p", "a", here.now()); err != nil || len(found) != 1 || found[0].State != want {
			t.Fatal(found, err)
		}
	}
	stands := func(want auth.State) {
		t.Helper()
		if state, _, granted, err := here.Standing(t.Context(), ada, "c", "g", here.now()); err != nil || state != want || granted != (want != auth.Revoked) {
			t.Errorf("%s, not %s, granted %v, %v", state, want, granted, err)
		}
	}
	granted(auth.Active)
	if _, err := raw(t, dir).Exec(`UPDATE connections SET cause = 'by hand', state = 'expiring'; UPDATE grants SET id = 'by hand'`); err != nil { // nobody counts it
		t.Fatal(err)
	}
	stands(auth.Active)
	if _, _, granted, err := here.Standing(t.Context(), ada, "c", "g", here.now().Add(2*time.Hour)); err != nil || granted {
		t.Errorf("a grant that has ended since it was read: %v, %v", granted, err)
	}
	if _, err := raw(t, dir).Exec(`UPDATE grants SET id = 'g'`); err != nil {
		t.Fatal(err)
	}
	must(t, there.SetState(t.Context(), ada, "c", 1, auth.NeedsReauth, ""))
	stands(auth.NeedsReauth)
	granted(auth.NeedsReauth)
	must(t, there.RevokeConnection(t.Context(), ada, "c", nil))
	stands(auth.Revoked)
}

// ID-009 and ST-013: what one process changed, the next question in another one sees.
func TestMemoryOfOtherProcesses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(ctx context.Context, db *DB) error
	}{
		{"state", "needs_reauth 1, sealed needs_reauth 1, 1 grant, token", func(ctx context.Context, db *DB) error {
			return db.SetState(ctx, ada, "c", 1, auth.NeedsReauth, "")
		}},
		{"renewed", "active 2, new active 2, 1 grant, token", func(ctx context.Context, db *DB) error {
			c, err := db.Connection(ctx, ada, "c")
			if err != nil {
				return err
			}
			c.Version, c.Sealed = 2, []byte("new")
			return db.CommitRefresh(ctx, c)
		}},
		{"rolled", "active 2, new active 2, 1 grant, token", func(ctx context.Context, db *DB) error {
			return db.SaveSealed(ctx, &auth.Connection{ID: "c", Owner: ada, Version: 1, Sealed: []byte("new")})
		}},
		{"revoked", "revoked 1, token", func(ctx context.Context, db *DB) error { return db.RevokeConnection(ctx, ada, "c", nil) }},
		{"grant ended", "active 1, sealed active 1, 0 grant, token", func(ctx context.Context, db *DB) error { return db.EndGrant(ctx, ada, "g") }},
		{"granted", "active 1, sealed active 1, 2 grant, token", func(ctx context.Context, db *DB) error {
			return db.AddGrant(ctx, auth.Grant{ID: "h", Owner: ada, Client: "agent", Connection: "c", Kind: auth.Release})
		}},
		{"approved for good", "active 1, sealed active 1, 2 grant, token", func(ctx context.Context, db *DB) error {
			now := db.now()
			_, err := db.AddApproval(ctx, &auth.Approval{ID: "x", Owner: ada, Client: "agent", Connection: "c", Account: "a", Kind: auth.Use, State: auth.Waiting, ExpiresAt: now.Add(time.Hour)}, 5)
			if err != nil {
				return err
			}
			return db.Decide(ctx, ada, "x", auth.Approved, false, &auth.Grant{ID: "h", Owner: ada, Client: "agent", Connection: "c", Kind: auth.Use, Access: auth.Write}, now)
		}},
		{"token revoked", "active 1, sealed active 1, 1 grant", func(ctx context.Context, db *DB) error { return db.DeleteToken(ctx, ada, []byte("bearer")) }},
		{"put back", "active 1, sealed active 1, 1 grant, token", func(ctx context.Context, db *DB) error { return db.Restored(ctx) }},
		{"another sign-in", "active 2, new active 2, 0 grant, token", func(ctx context.Context, db *DB) error {
			r := &auth.Request{ID: "r", Owner: ada, State: auth.Created, ExpiresAt: db.now().Add(time.Hour)}
			if _, err := db.CreateRequest(ctx, r, 5); err != nil {
				return err
			}
			c := auth.Connection{ID: "c", Owner: ada, Provider: "p", Account: "a", State: auth.Active, Version: 2, Sealed: []byte("new")}
			return errors.Join(db.EndGrant(ctx, ada, "g"), db.CompleteRequest(ctx, r, &c, nil))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, here, there := connected(t)
			must(t, c.change(t.Context(), there))
			if got := view(t, here); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// No answer is older than the last change that was acknowledged before the question, in whatever process.
func TestMemoryIsNeverBehind(t *testing.T) {
	dir, here, there := connected(t)
	third := openAt(t, dir)
	var acked atomic.Int64
	acked.Store(1)
	ctx, stop := context.WithCancel(t.Context())
	var all, writers sync.WaitGroup
	var asked atomic.Int64
	for range 4 {
		for _, db := range []*DB{here, third} {
			all.Go(func() {
				for ctx.Err() == nil {
					least := acked.Load()
					_, version, _, err := db.Standing(context.Background(), ada, "c", "g", time.Now())
					if err != nil || version < least {
						t.Errorf("generation %d (%v) after %d", version, err, least)
						return
					}
					least = acked.Load()
					found, _, err := db.Granted(context.Background(), ada, "agent", "p", "", time.Now())
					if err != nil || found[0].Version < least || string(found[0].Sealed) != fmt.Sprint(found[0].Version) && found[0].Version > 1 {
						t.Errorf("generation %d %q (%v) after %d", found[0].Version, found[0].Sealed, err, least)
						return
					}
					asked.Add(2)
				}
			})
		}
	}
	for i, db := range []*DB{there, third} { // two writers, in turns
		writers.Go(func() {
			for version := int64(1 + i); version < 150; version += 2 {
				for acked.Load() != version {
					time.Sleep(time.Millisecond)
				}
				if err := db.SaveSealed(context.Background(), &auth.Connection{ID: "c", Owner: ada, Version: version, Sealed: []byte(fmt.Sprint(version + 1))}); err != nil {
					t.Error(err)
				}
				acked.Store(version + 1)
			}
		})
	}
	writers.Wait()
	stop()
	all.Wait()
	if asked.Load() < 1000 {
		t.Errorf("%d questions are too few to tell", asked.Load())
	}
}

// A process that was killed while it committed leaves the others without a memory, not with a wrong one.
func TestMemoryAfterDeath(t *testing.T) {
	_, here, there := connected(t)
	slots := []int{slotOf(ada)}
	there.file.changes.Load().begin(slots) // and it is dead
	for _, want := range []bool{false, true} {
		if _, quiet := here.file.changes.Load().now(slots[0]); quiet != want {
			t.Errorf("settled: %v", quiet)
		}
		must(t, there.SetState(t.Context(), ada, "c", 1, auth.NeedsReauth, "")) // the next writer settles it
		if got := view(t, here); got != "needs_reauth 1, sealed needs_reauth 1, 1 grant, token" {
			t.Error(got)
		}
	}
}

// Writers whose ends come in another order than their commits.
func TestChangesSettle(t *testing.T) {
	_, here, _ := connected(t)
	c := here.file.changes.Load()
	slot := []int{7}
	first := c.begin(slot)
	second := c.begin(slot) // the first one has committed, and has not said so yet
	c.end(slot, first)
	if _, quiet := c.now(7); quiet {
		t.Error("the second one is still under way")
	}
	c.end(slot, second)
	before, quiet := c.now(7)
	c.end(slot, first)
	if after, still := c.now(7); !quiet || !still || after != before {
		t.Errorf("%v %v, %v %v", before, quiet, after, still)
	}
}

// Whoever deletes the counts while processes run has them count together again within a second.
func TestCountsAreDeleted(t *testing.T) {
	dir, here, there := connected(t)
	path := filepath.Join(dir, "latchpost.db-changes")
	must(t, os.Remove(path))
	third := openAt(t, dir)
	time.Sleep(2500 * time.Millisecond)
	if got := view(t, here); got != "active 1, sealed active 1, 1 grant, token" {
		t.Fatal(got)
	}
	must(t, third.SetState(t.Context(), ada, "c", 1, auth.NeedsReauth, ""))
	for _, db := range []*DB{here, there} {
		if got := view(t, db); got != "needs_reauth 1, sealed needs_reauth 1, 1 grant, token" {
			t.Error(got)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Error(info.Mode(), err)
	}
}

// Whoever cuts the counts short takes their pages away from the processes that look at them. That ends
// none of them; they remember nothing.
func TestCountsAreCutShort(t *testing.T) {
	dir, here, there := connected(t)
	must(t, os.Truncate(filepath.Join(dir, "latchpost.db-changes"), 0))
	want := "active 1, sealed active 1, 1 grant, token"
	for range 2 { // before the keeper has noticed, and after
		if got := view(t, here); got != want {
			t.Errorf("%q, not %q", got, want)
		}
		must(t, there.SetState(t.Context(), ada, "c", 1, auth.NeedsReauth, ""))
		if want = "needs_reauth 1, sealed needs_reauth 1, 1 grant, token"; view(t, here) != want {
			t.Errorf("%q, not %q", view(t, here), want)
		}
		time.Sleep(1500 * time.Millisecond)
	}
}

// A grant and a token that end are not remembered past their end.
func TestMemoryEnds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1, Now: func() time.Time { return time.UnixMilli(now.Load()) }})
	must(t, err)
	t.Cleanup(func() { db.Close() })
	end := db.now().Add(time.Minute)
	must(t, db.Import(t.Context(), auth.Connection{ID: "c", Owner: ada, Provider: "p", Account: "a", State: auth.Active, Version: 1}))
	must(t, db.AddGrant(t.Context(), auth.Grant{ID: "g", Owner: ada, Client: "agent", Connection: "c", Kind: auth.Use, Until: end}))
	must(t, db.AddToken(t.Context(), []byte("bearer"), ada, "agent", nil, end))
	for _, c := range []struct {
		at   time.Time
		want string
	}{{end.Add(-time.Millisecond), "active 1,  active 1, 1 grant, token"}, {end, "active 1,  active 1, 0 grant"}} {
		now.Store(c.at.UnixMilli())
		if got := view(t, db); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// What was given out is the caller's own: changing it changes nobody else's answer.
func TestMemoryIsNotShared(t *testing.T) {
	_, here, _ := connected(t)
	for range 2 {
		found, grants, err := here.Granted(t.Context(), ada, "agent", "p", "a", time.Now())
		must(t, err)
		c := &found[0]
		if c.Scopes[0] != "read" || c.Hosts[0] != "api.test" || c.Vars["tenant"] != "t" || string(c.Sealed) != "sealed" || grants[0].Client != "agent" {
			t.Fatalf("changed by another caller: %+v %+v", c, grants)
		}
		c.Scopes[0], c.Hosts[0], c.Vars["tenant"], c.Version = "x", "x", "x", 9
		clear(c.Sealed)
		grants[0].Client = "x"
		token, err := here.Token(t.Context(), []byte("bearer"))
		must(t, err)
		if token.Client != "agent" {
			t.Fatal("changed by another caller")
		}
		token.Client = "x"
		clear(token.Hash)
	}
}

// Memory is bounded, and what is asked for stays longest.
func TestMemoryIsBounded(t *testing.T) {
	var m memory[int, int]
	later := time.Now().Add(time.Hour)
	for i := range 10 * memorySize {
		m.keep(i, remembered[int]{value: i, until: later})
		if v, ok := m.get(0, moment{}, time.Now()); i%1000 == 0 && (!ok || v != 0) {
			t.Fatalf("what is asked for was dropped after %d", i)
		}
	}
	if n := len(m.young) + len(m.old); n > 2*memorySize {
		t.Errorf("%d kept", n)
	}
}

// Every table is either one whose rows are remembered, or known not to be.
func TestChangesRemembered(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "data"))
	var tables []string
	must(t, db.read(t.Context(), func(ctx context.Context, q querier) (err error) {
		tables, err = collect(ctx, q, func(s scanner) (name string, err error) { return name, s.Scan(&name) }, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'migrations'`)
		return err
	}))
	for _, table := range tables {
		want := table == "connections" || table == "grants" || table == "tokens"
		for _, verb := range []string{"INSERT INTO ", "UPDATE ", "DELETE FROM "} {
			if got := changesRemembered(verb + table + " x"); got != want {
				t.Errorf("%s%s: %v", verb, table, got)
			}
		}
	}
	for _, text := range []string{"DELETE FROM grants\n\tWHERE", "REPLACE INTO tokens", "WITH x AS (SELECT 1) UPDATE connections", "UPDATE OR IGNORE requests", "DROP TABLE x"} {
		if !changesRemembered(text) {
			t.Errorf("%q passes for harmless", text)
		}
	}
}
