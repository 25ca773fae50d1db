//go:build unix

package store_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

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
	t.Run("connections killed under load", func(t *testing.T) { testKilled(t, open(t), url) })
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

// ST-028: rows do not travel in the clear, unless the operator says so.
func TestPostgresRefusesPlaintext(t *testing.T) {
	for _, mode := range []string{"?sslmode=disable", "?sslmode=prefer", "?sslmode=allow", ""} {
		_, err := store.Open(t.Context(), store.Options{URL: "postgres://u:hunter2@192.0.2.1/db" + mode})
		if err == nil || !strings.Contains(err.Error(), "sslmode=verify-full") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", mode, err)
		}
	}
	_, err := store.Open(t.Context(), store.Options{URL: "postgres://u:hunter2@%zz/db"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}
