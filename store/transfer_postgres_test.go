//go:build unix

package store_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// stays are the tables that a transfer leaves behind, and ends are the columns of what no process holds afterwards.
var (
	stays = []string{"migrations"}
	ends  = []string{"lease_holder", "lease_until", "held_until"}
)

// From SQLite to PostgreSQL and back comes every row of every table, whatever it is and whatever later migrations add, with each of
// its values; what processes held does not. The record verifies at every station, and the source is as it was. RF-014: nobody renews a
// token in the source meanwhile.
func TestTransfer(t *testing.T) {
	from := everything(t)
	before := rowsOf(t, from)
	want := withoutHolds(before)
	for table, rows := range want {
		if len(rows) == 0 {
			t.Errorf("the test has no row of %s", table)
		}
	}
	pg := storetest.Postgres(t)
	back := "sqlite:" + filepath.Join(t.TempDir(), "back", "latchpost.db")

	seen := transfer(t, from, store.Options{URL: pg, Dir: t.TempDir()})
	if now := rowsOf(t, from); !same(now, before) {
		t.Error("the source is not as it was")
	}
	refusesPostgres(t, pg)
	if again := transfer(t, pg, store.Options{URL: back}); again != seen || seen < 10 {
		t.Errorf("%d sealed values were opened, then %d", seen, again)
	}
	got := rowsOf(t, back)
	if !same(withoutHolds(got), want) {
		for table := range want {
			if !slices.Equal(withoutHolds(got)[table], want[table]) {
				t.Errorf("%s:\n%s\nwas\n%s", table, strings.Join(withoutHolds(got)[table], "\n"), strings.Join(want[table], "\n"))
			}
		}
	}
	held := func(rows map[string][]string) bool {
		return slices.ContainsFunc(rows["connections"], func(row string) bool { return strings.Contains(row, "lease_holder=text'of a dead process'") })
	}
	if !held(before) || held(got) {
		t.Error("the lease of a process that is gone was carried")
	}
}

// refusesPostgres is a store in PostgreSQL that another process uses, and one that is to be moved to itself.
func refusesPostgres(t *testing.T, pg string) {
	t.Helper()
	var open [2]*store.DB
	for i := range open {
		open[i] = mustOpen(t, store.Options{URL: pg + "&application_name=" + strings.Repeat("of%20theirs", 9)})
		defer open[i].Close()
	}
	refused := func(says, to string) {
		t.Helper()
		_, err := open[0].Transfer(t.Context(), store.Options{URL: to, Ballast: -1}, storetest.MAC, func(auth.Sealed) error { return nil })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, not %q", err, says)
		}
	}
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	refused("other latchpost processes use this store (1): end them all, on all machines", "sqlite:"+filepath.Join(nowhere, "latchpost.db"))
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("the new store was made")
	}
	open[1].Close()
	refused("the new store is not empty (keys ", pg)
}

// transfer moves a store, and gives how many sealed values were opened. Meanwhile nobody may write to the source.
func transfer(t *testing.T, from string, to store.Options) (opened int64) {
	t.Helper()
	db := mustOpen(t, store.Options{URL: from, Ballast: -1})
	defer db.Close()
	before, err := db.AuditLog(storetest.MAC).Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	refused := false
	done, err := db.Transfer(t.Context(), to, storetest.MAC, func(auth.Sealed) error {
		if opened++; opened == 1 {
			refused = locked(t, from)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !refused {
		t.Error("others can write to the source meanwhile")
	}
	if opened != done.Sealed {
		t.Errorf("%d sealed values, not %d", done.Sealed, opened)
	}
	there := mustOpen(t, store.Options{URL: to.URL, Dir: to.Dir, Ballast: -1})
	defer there.Close()
	report, err := there.AuditLog(storetest.MAC).Verify(t.Context())
	if err != nil || len(report.Faults) > 0 || report.Events != before.Events || report.Events < 100 || done.Record.Events != report.Events {
		t.Errorf("the record: %+v, %v; it was %+v", report, err, before)
	}
	return opened
}

// locked reports whether somebody else's write waits in vain.
func locked(t *testing.T, url string) bool {
	t.Helper()
	other := raw(t, url)
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if !strings.HasPrefix(url, "sqlite:") {
		if _, err := other.ExecContext(ctx, `SET lock_timeout = '200ms'`); err != nil {
			t.Fatal(err)
		}
	}
	_, err := other.ExecContext(ctx, `UPDATE connections SET account = account`)
	return err != nil && (strings.Contains(err.Error(), "lock timeout") || strings.Contains(err.Error(), "locked"))
}

// everything makes a store with rows in all tables: what the tests of all stores leave, and events on their way into the record.
func everything(t *testing.T) (url string) {
	t.Helper()
	first, copied := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "copy")
	open := func(t *testing.T, dir string) *store.DB {
		return mustOpen(t, store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	}
	t.Run("rows", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) *store.DB {
			db := open(t, first)
			t.Cleanup(func() { db.Close() })
			return db
		})
	})
	db := open(t, first)
	defer db.Close()
	many := make([]auth.Event, 250) // more than go into one statement
	for i := range many {
		many[i] = auth.Event{ID: rand.Text(), Owner: storetest.NewOwner(), Detail: map[string]string{"n": fmt.Sprint(i)}}
	}
	if err := errors.Join(db.AuditLog(storetest.MAC).Append(t.Context(), many...), os.Mkdir(copied, 0o700)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(copied, "latchpost.db")
	for { // within the second in which a batch stands
		if err := db.AuditLog(storetest.MAC).Append(t.Context(), auth.Event{ID: rand.Text(), Owner: storetest.NewOwner()}); err != nil {
			t.Fatal(err)
		}
		if err := db.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if len(rowsOf(t, "sqlite:"+path)["audit_batches"]) > 0 {
			break
		}
		os.Remove(path)
	}
	pool := raw(t, "sqlite:"+path)
	defer pool.Close()
	for _, query := range []string{
		`UPDATE connections SET lease_holder = 'of a dead process', lease_until = 9000000000000, fence = 9223372036854775807, answer = x'00ff', salt = x'' WHERE id = (SELECT MIN(id) FROM connections)`,
		`UPDATE audit_heads SET held_until = 9000000000000`,
		`INSERT INTO meta VALUES ('odd', 'ä "quoted" ''text'' \ ` + "\t\U0001F511" + `')`,
		`INSERT INTO meta VALUES ('disk_failed_at', '1'), ('tried_at', '2')`,
	} {
		if _, err := pool.ExecContext(t.Context(), query); err != nil {
			t.Fatal(query, err)
		}
	}
	for table, rows := range rowsOf(t, "sqlite:"+path) { // of what no test leaves a row, and of later tables
		if len(rows) > 0 {
			continue
		}
		var values []any
		for _, kind := range column(t, pool, `SELECT type FROM pragma_table_info($1)`, table) {
			values = append(values, map[string]any{"TEXT": "x", "BIGINT": int64(math.MinInt64), "BOOLEAN": true, "BYTEA": []byte{0, 255}}[kind])
		}
		if _, err := pool.ExecContext(t.Context(), `INSERT INTO `+table+` VALUES (?`+strings.Repeat(", ?", len(values)-1)+`)`, values...); err != nil {
			t.Fatal(table, err)
		}
	}
	return "sqlite:" + path
}

// raw is the database of a store, past it.
func raw(t *testing.T, url string) *sql.DB {
	t.Helper()
	driver, source := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, source = "sqlite", "file:"+path
	}
	pool, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	pool.SetMaxOpenConns(1)
	return pool
}

func column(t *testing.T, pool *sql.DB, query string, args ...any) (all []string) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatal(query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			t.Fatal(query, err)
		}
		all = append(all, v)
	}
	return all
}

// rowsOf are all rows of a SQLite store by table, as text with the names of the columns.
func rowsOf(t *testing.T, url string) map[string][]string {
	t.Helper()
	pool := raw(t, url)
	defer pool.Close()
	all := map[string][]string{}
	for _, table := range column(t, pool, `SELECT name FROM sqlite_schema WHERE type = 'table'`) {
		if slices.Contains(stays, table) {
			continue
		}
		var parts []string
		for _, c := range column(t, pool, `SELECT name FROM pragma_table_info($1)`, table) {
			parts = append(parts, fmt.Sprintf(`'%s=' || typeof(%s) || quote(%s)`, c, c, c))
		}
		all[table] = column(t, pool, `SELECT `+strings.Join(parts, ` || char(10) || `)+` AS row FROM `+table+` ORDER BY row`)
	}
	return all
}

func withoutHolds(rows map[string][]string) map[string][]string {
	kept := map[string][]string{}
	for table, all := range rows {
		kept[table] = []string{}
		for _, row := range all {
			values := slices.DeleteFunc(strings.Split(row, "\n"), func(v string) bool { name, _, _ := strings.Cut(v, "="); return slices.Contains(ends, name) })
			if row = strings.Join(values, "\n"); !strings.Contains(row, "'disk_failed_at'") && !strings.Contains(row, "'tried_at'") {
				kept[table] = append(kept[table], row)
			}
		}
		slices.Sort(kept[table])
	}
	return kept
}

func same(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }
