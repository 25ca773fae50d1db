//go:build unix

package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// OP-004, where the store is PostgreSQL: what TestUpgrade wants of a file. The text of a migration is the same for both; what
// it meets is not.
func TestUpgradePostgres(t *testing.T) {
	server := storetest.Postgres(t)
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	full := newDatabase(t, server)
	db := mustOpen(t, store.Options{URL: full.url})
	c := storetest.NewConnection(storetest.NewOwner(), "github", "me")
	storetest.Connect(t, db, c, auth.Grant{ID: "g", Owner: c.Owner, Client: "agent", Connection: c.ID, Kind: auth.Use, CreatedAt: storetest.Now})
	pending := storetest.NewRequest(c.Owner, "gitlab")
	pending.State, pending.StateHash, pending.Private = auth.Redirected, []byte("hash of the state"), []byte("sealed verifier")
	if _, err := db.CreateRequest(t.Context(), pending, 100); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for have := 1; have < len(files); have++ {
		older := newDatabase(t, server)
		older.do(`CREATE TABLE migrations (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`)
		for i, name := range files[:have] {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			older.do(string(text))
			older.do(`INSERT INTO migrations VALUES ($1, 0)`, i+1)
		}
		for _, table := range []string{"connections", "grants", "requests"} {
			older.copy(full, table)
		}
		db := mustOpen(t, store.Options{URL: older.url})
		row, err := db.Connection(t.Context(), c.Owner, c.ID)
		if err != nil || row.Version != 1 || string(row.Sealed) != string(c.Sealed) {
			t.Errorf("from schema %d: %+v, %v", have, row, err)
		}
		if grants, err := db.Grants(t.Context(), c.Owner, "agent", c.ID, storetest.Now); err != nil || len(grants) != 1 {
			t.Errorf("from schema %d: grants %v, %v", have, grants, err)
		}
		open, err := db.RequestByState(t.Context(), pending.StateHash)
		if err != nil || string(open.Private) != "sealed verifier" {
			t.Fatalf("from schema %d: the sign-in under way: %+v, %v", have, open, err)
		}
		if err := db.CompleteRequest(t.Context(), open, storetest.NewConnection(c.Owner, "gitlab", "me"), nil); err != nil {
			t.Errorf("from schema %d: the sign-in does not end: %v", have, err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		older.do(`INSERT INTO migrations SELECT MAX(version) + 1, 0 FROM migrations`)
		if _, err := store.Open(t.Context(), store.Options{URL: older.url}); err == nil || !strings.Contains(err.Error(), "it was used by a newer latchpost") {
			t.Errorf("a newer schema: %v", err)
		}
	}
}

func mustOpen(t *testing.T, opt store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// database is one as an administrator sees it.
type database struct {
	*sql.DB
	t   *testing.T
	url string
}

func newDatabase(t *testing.T, server string) *database {
	t.Helper()
	url := storetest.Database(t, server)
	pool := raw(t, url)
	t.Cleanup(func() { pool.Close() })
	return &database{pool, t, url}
}

func (d *database) do(query string, args ...any) {
	d.t.Helper()
	if _, err := d.ExecContext(context.Background(), query, args...); err != nil {
		d.t.Fatal(query, err)
	}
}

// copy takes the rows of a table, in the columns that it has here.
func (d *database) copy(from *database, table string) {
	d.t.Helper()
	shape, err := d.QueryContext(d.t.Context(), `SELECT * FROM `+table+` LIMIT 0`)
	if err != nil {
		d.t.Fatal(err)
	}
	columns, err := shape.Columns()
	_ = shape.Close()
	if err != nil {
		d.t.Fatal(err)
	}
	rows, err := from.QueryContext(d.t.Context(), `SELECT `+strings.Join(columns, ", ")+` FROM `+table)
	if err != nil {
		d.t.Fatal(err)
	}
	defer rows.Close()
	marks := make([]string, len(columns))
	for i := range marks {
		marks[i] = fmt.Sprint("$", i+1)
	}
	copied := 0
	for ; rows.Next(); copied++ {
		values := make([]any, len(columns))
		into := slices.Clone(values)
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			d.t.Fatal(err)
		}
		d.do(`INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (`+strings.Join(marks, ", ")+`)`, values...)
	}
	if err := rows.Err(); err != nil || copied == 0 {
		d.t.Fatalf("%d rows of %s were copied: %v", copied, table, err)
	}
}
