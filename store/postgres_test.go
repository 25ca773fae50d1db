//go:build unix

package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

func TestPostgres(t *testing.T) {
	url := storetest.Postgres(t)
	dir := t.TempDir()
	open := func(t *testing.T) *store.DB {
		db, err := store.Open(t.Context(), store.Options{URL: url, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	t.Run("starts of several at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				db, err := store.Open(context.Background(), store.Options{URL: url})
				if err != nil {
					t.Error(err)
					return
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	storetest.Run(t, open)
	t.Run("connections killed at rest", func(t *testing.T) { testKilled(t, open(t), url) })
	t.Run("connections killed under load", func(t *testing.T) { testKilledAtWork(t, open(t), url) })
	t.Run("schema changed meanwhile", func(t *testing.T) { testRetyped(t, open(t), url) })
}

// testKilled is ST-028: somebody ends all our server processes again and again. Reads and
// writes go on as if nothing had happened, and nothing happens twice.
func testKilled(t *testing.T, db *store.DB, url string) {
	ctx := t.Context()
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	c := storetest.NewConnection(storetest.NewOwner(), "github", "me")
	storetest.Connect(t, db, c)
	kill := func() {
		_, err := admin.ExecContext(ctx, `SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`)
		if err != nil {
			t.Error(err)
		}
	}
	for version := int64(1); version <= 8; version++ {
		kill() // the pool is full of dead connections now
		if _, err := db.Connection(ctx, c.Owner, c.ID); err != nil {
			t.Fatal(err)
		}
		kill()
		if err := db.SaveSealed(ctx, c); err != nil {
			t.Fatal(err)
		}
		if c.Version != version+1 {
			t.Fatalf("version is %d after %d writes", c.Version, version)
		}
	}
}

// testRetyped is ST-028: another process changes the type of a column, as the migration of a newer release may. What was prepared
// before is of no use then, which nobody who asks hears of.
func testRetyped(t *testing.T, db *store.DB, url string) {
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	c := storetest.NewConnection(storetest.NewOwner(), "github", "me")
	storetest.Connect(t, db, c)
	for _, kind := range []string{"", "varchar", "text"} {
		if kind != "" {
			if _, err := admin.ExecContext(t.Context(), `ALTER TABLE connections ALTER COLUMN cause TYPE `+kind); err != nil {
				t.Fatal(err)
			}
		}
		_, read := db.Connection(t.Context(), c.Owner, c.ID)
		if err := errors.Join(read, db.SaveSealed(t.Context(), c)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// ST-013, OP-001, of PostgreSQL: a server that answers but takes no writes, as a primary that has become a standby or that was made
// read-only before its disk is full. Nothing is released, the reason is told, and it ends by itself.
func TestPostgresTakesNoWrites(t *testing.T) {
	url := storetest.Database(t, storetest.Postgres(t))
	db, err := store.Open(t.Context(), store.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	log, c := db.AuditLog(storetest.MAC), storetest.NewConnection(storetest.NewOwner(), "github", "me")
	storetest.Connect(t, db, c)
	record := func() error { return log.Append(t.Context(), auth.Event{ID: "e", Owner: c.Owner, Kind: "call"}) }
	if err := record(); err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	admin.SetMaxOpenConns(1)
	do := func(text string) {
		t.Helper()
		if _, err := admin.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	do(`SELECT 1`) // a session that may write; those after the next line may not
	do(`DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET default_transaction_read_only = on'; END $$`)
	do(`SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()`)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if err := record(); !errors.Is(err, auth.ErrAudit) || !errors.Is(err, store.ErrUnwritable) {
				t.Errorf("a record: %v", err)
			}
		})
	}
	all.Wait()
	if err := db.SaveSealed(t.Context(), c); !errors.Is(err, store.ErrUnwritable) {
		t.Errorf("a write: %v", err)
	}
	if err := db.Failed(); !errors.Is(err, store.ErrUnwritable) { // /readyz says it
		t.Errorf("it is called well: %v", err)
	}
	if _, err := db.Connection(t.Context(), c.Owner, c.ID); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := store.Open(t.Context(), store.Options{URL: url}); !errors.Is(err, store.ErrUnwritable) {
		t.Errorf("opening: %v", err)
	}
	do(`DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' RESET default_transaction_read_only'; END $$`)
	for end := time.Now().Add(30 * time.Second); db.Failed() != nil; <-time.After(50 * time.Millisecond) { // no session is ended: old ones are left
		if time.Now().After(end) {
			t.Fatal("nobody has noticed that it takes writes again")
		}
	}
	if err := record(); err != nil {
		t.Error(err)
	}
	if report, err := log.Verify(t.Context()); err != nil || report.Events != 2 || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// testKilledAtWork is ST-028: the same while there is much to do, so that statements and commits are cut off. What was
// acknowledged is there, once; of a write that failed nobody can tell whether it is, but it is there at most once.
func testKilledAtWork(t *testing.T, db *store.DB, url string) {
	ctx := t.Context()
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	log, owner := db.AuditLog(storetest.MAC), storetest.NewOwner()
	var killed, refused, done atomic.Int64
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		c := storetest.NewConnection(owner, "github", fmt.Sprint(i))
		storetest.Connect(t, db, c)
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id, before := fmt.Sprint(c.ID, n), c.Version
				if err := log.Append(ctx, auth.Event{ID: id, Owner: owner, Kind: "call"}); err == nil {
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
				} else {
					refused.Add(1)
				}
				err := db.SaveSealed(ctx, c)
				if err != nil {
					refused.Add(1)
				}
				row, readErr := db.Connection(ctx, owner, c.ID)
				if readErr != nil {
					t.Error(readErr)
					return
				}
				if err == nil && row.Version != before+1 || row.Version != before && row.Version != before+1 {
					t.Errorf("version %d after %d, %v", row.Version, before, err)
				}
				c.Version = row.Version
				done.Add(1)
			}
		})
	}
	for end := time.Now().Add(30 * time.Second); killed.Load() < 200 && time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		n := int64(0)
		err := admin.QueryRowContext(ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'`).Scan(&n)
		if err != nil {
			t.Error(err)
		}
		killed.Add(n)
	}
	close(stop)
	wg.Wait()
	report, err := log.Verify(ctx)
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("the record: %+v, %v", report, err)
	}
	all, err := log.Events(ctx, owner, auth.EventFilter{Kind: "call", Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, e := range all {
		if times[e.ID]++; times[e.ID] > 1 {
			t.Errorf("%s is on record %d times", e.ID, times[e.ID])
		}
	}
	for id := range acknowledged {
		if times[id] == 0 {
			t.Errorf("%s was acknowledged and is not on record", id)
		}
	}
	t.Logf("%d connections killed at work, %d rounds, %d writes refused", killed.Load(), done.Load(), refused.Load())
	if killed.Load() < 50 || refused.Load() > killed.Load() {
		t.Error("too few were killed, or too much was refused")
	}
}

// ST-028: rows do not travel in the clear, unless the operator says so.
func TestPostgresRefusesPlaintext(t *testing.T) {
	for _, mode := range []string{"?sslmode=disable", "?sslmode=prefer", "?sslmode=allow", ""} {
		_, err := store.Open(t.Context(), store.Options{URL: "postgres://u:hunter2@192.0.2.1/db" + mode})
		if err == nil || !strings.Contains(err.Error(), "sslmode=verify-full") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", mode, err)
		}
	}
	// The address is every one of this machine's, so it counts as another; nothing of PostgreSQL answers there.
	closed := "postgres://u:hunter2@0.0.0.0:1/db?sslmode=disable"
	for unsafe, says := range map[bool]string{false: "sslmode=verify-full", true: "does not answer"} {
		_, err := store.Open(t.Context(), store.Options{URL: closed, UnsafePlaintext: unsafe})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("allowed %v: %v", unsafe, err)
		}
	}
	_, err := store.Open(t.Context(), store.Options{URL: "postgres://u:hunter2@%zz/db"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

// A server that answers is not said to be silent: what it said is told, and what to do next.
func TestPostgresRefuses(t *testing.T) {
	url := storetest.Postgres(t)
	for name, test := range map[string]struct{ url, says, next string }{
		"no such database": {strings.Replace(url, "/postgres?", "/nowhere?", 1), "refuses the connection", "make the database (createdb)"},
		"nobody there":     {"postgres://latchpost@127.0.0.1:1/latchpost", "does not answer", "see that it runs"},
	} {
		_, err := store.Open(t.Context(), store.Options{URL: test.url})
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.next) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
