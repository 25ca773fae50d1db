//go:build unix

package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// OP-004: a store of each schema that ever was, with data and with a sign-in under way, is brought to the newest and loses
// nothing; the sign-in ends. Started again it is as it was. A program that knows less refuses, says so, and leaves
// every byte; what it had backed up before still opens.
func TestUpgrade(t *testing.T) {
	all, err := migrations()
	if err != nil || len(all) < 2 {
		t.Fatal(all, err)
	}
	for have := 1; have <= len(all); have++ {
		t.Run(fmt.Sprint("from schema ", have), func(t *testing.T) {
			dir, want := storeOfSchema(t, all[:have])
			old := filepath.Join(t.TempDir(), "old")
			if err := firstError(os.CopyFS(old, os.DirFS(dir)), os.Chmod(old, 0o700), os.Chmod(filepath.Join(old, "latchpost.db"), 0o600)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second start finds nothing to do
				db := openAt(t, dir)
				err := db.read(t.Context(), func(ctx context.Context, q querier) error {
					version, err := schemaVersion(ctx, q)
					if version != len(all) {
						t.Fatalf("schema %d", version)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if got := contents(t, dir); !holds(got, want) {
				t.Errorf("after the upgrade\n%s\nbefore\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}

			db := openAt(t, dir)
			open, err := db.RequestByState(t.Context(), []byte("hash of the state"))
			if err != nil {
				t.Fatal(err)
			}
			claimed := *open
			claimed.State = auth.Claimed
			if err := db.MoveRequest(t.Context(), &claimed, auth.Redirected); err != nil {
				t.Fatal(err)
			}
			c := &auth.Connection{ID: "new", Owner: auth.Local, Provider: "github", Account: "new", State: auth.Active, Version: 1, Salt: []byte("s"), Sealed: []byte("x")}
			if err := db.CompleteRequest(t.Context(), &claimed, c, nil); err != nil {
				t.Fatal(err)
			}
			report, err := db.AuditLog(testMAC).Verify(t.Context())
			if err != nil || len(report.Faults) > 0 || report.Events < 50 {
				t.Errorf("the record: %+v, %v", report, err)
			}
			db.Close()

			// The way back.
			refusedByOlder(t, dir)
			restored := openAt(t, old)
			if n, err := restored.Connection(t.Context(), auth.Local, "c1"); err != nil || n.Account != "1" {
				t.Errorf("the copy from before: %v, %v", n, err)
			}
		})
	}
}

// ST-011: killed at any moment of an upgrade, the store is as it was or as it will be, and the next start finishes it.
func TestKillWithinUpgrade(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	from, want := storeOfSchema(t, all[:1])
	before, after := 0, 0
	for round := 0; round < 20 || after == 0 && round < 80; round++ { // a busy machine takes longer to come to it
		dir := filepath.Join(t.TempDir(), fmt.Sprint(round))
		if err := firstError(os.CopyFS(dir, os.DirFS(from)), os.Chmod(dir, 0o700), os.Chmod(filepath.Join(dir, "latchpost.db"), 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LATCHPOST_TEST_VICTIM="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round > 0 { // the first is killed before it does anything
			for waiting := true; waiting; { // until it touches the store
				entries, err := os.ReadDir(dir)
				waiting = err == nil && len(entries) < 2
			}
			<-time.After(time.Duration(round+round*round/8) * time.Millisecond)
		}
		cmd.Process.Kill()
		_ = cmd.Wait()
		left := raw(t, dir)
		version := names(t, left, `SELECT MAX(version) FROM migrations`)[0]
		left.Close()
		switch version {
		case "1":
			before++
		case fmt.Sprint(len(all)):
			after++
		default:
			t.Errorf("stopped at schema %s", version)
		}
		db := openAt(t, dir)
		if err := db.Check(t.Context()); err != nil {
			t.Error(err)
		}
		db.Close()
		if got := contents(t, dir); !holds(got, want) {
			t.Errorf("round %d: after the upgrade\n%s", round, strings.Join(got, "\n"))
		}
	}
	if t.Logf("%d before, %d after", before, after); before < 2 || after == 0 {
		t.Error("nobody was killed within the upgrade")
	}
}

// storeOfSchema makes a store as the program did that knew those migrations, and tells what is in it.
func storeOfSchema(t *testing.T, migrations []string) (dir string, rows []string) {
	t.Helper()
	full, _ := filled(t)
	db := openAt(t, full)
	r := &auth.Request{ID: "under-way", Owner: auth.Local, Provider: "github", State: auth.Created, ExpiresAt: time.Now().Add(time.Hour), CreatedAt: time.Now()}
	if _, err := db.CreateRequest(t.Context(), r, 100); err != nil {
		t.Fatal(err)
	}
	r.State, r.StateHash = auth.Redirected, []byte("hash of the state")
	if err := db.MoveRequest(t.Context(), r, auth.Created); err != nil {
		t.Fatal(err)
	}
	if err := firstError(db.SetMeta(t.Context(), "a", "b"), db.Close()); err != nil {
		t.Fatal(err)
	}

	dir = filepath.Join(t.TempDir(), "older")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := createFile(t.Context(), filepath.Join(dir, "latchpost.db")); err != nil {
		t.Fatal(err)
	}
	older := raw(t, dir)
	do := func(query string, args ...any) {
		t.Helper()
		if _, err := older.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	do(`PRAGMA foreign_keys = 0`)
	do(`CREATE TABLE migrations (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`)
	for i, text := range migrations {
		do(text)
		do(`INSERT INTO migrations (version, applied_at) VALUES ($1, 0)`, i+1)
	}
	do(`ATTACH $1 AS now`, filepath.Join(full, "latchpost.db"))
	for _, table := range names(t, older, `SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name <> 'migrations' AND name IN (SELECT name FROM now.sqlite_schema)`) {
		columns := strings.Join(names(t, older, `SELECT name FROM pragma_table_info($1, 'main')`, table), ", ")
		do(`INSERT INTO main.` + table + ` (` + columns + `) SELECT ` + columns + ` FROM now.` + table)
	}
	do(`DETACH now`)
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "latchpost.db"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, contents(t, dir)
}

// contents are all rows of a store as text: column names and values.
func contents(t *testing.T, dir string) (all []string) {
	t.Helper()
	pool := raw(t, dir)
	defer pool.Close()
	for _, table := range names(t, pool, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('migrations', 'audit_heads') ORDER BY name`) {
		columns := names(t, pool, `SELECT name FROM pragma_table_info($1)`, table)
		var parts []string
		for _, c := range columns {
			parts = append(parts, `'`+c+`=' || quote(`+c+`)`)
		}
		for _, row := range names(t, pool, `SELECT `+strings.Join(parts, ` || ' ' || `)+` FROM `+table) {
			all = append(all, table+": "+row)
		}
	}
	return all
}

// holds reports whether each row of want is there, with all of its values; a newer schema may add columns and tables.
func holds(got, want []string) bool {
	return len(want) > 60 && !slices.ContainsFunc(want, func(row string) bool {
		return !slices.ContainsFunc(got, func(now string) bool {
			return !slices.ContainsFunc(strings.Split(row, " "), func(value string) bool { return !strings.Contains(now, value) })
		})
	})
}

func names(t *testing.T, pool *sql.DB, query string, args ...any) []string {
	t.Helper()
	all, err := collect(t.Context(), overSQL{pool}, func(s scanner) (v string, err error) { return v, s.Scan(&v) }, query, args...)
	if err != nil {
		t.Fatal(query, err)
	}
	return all
}

// refusedByOlder is what a program that knows one schema less than the store has does with it.
func refusedByOlder(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "latchpost.db")
	ahead := raw(t, dir)
	for _, query := range []string{`CREATE TABLE of_the_future (x TEXT)`, `INSERT INTO migrations SELECT MAX(version) + 1, 0 FROM migrations`, `PRAGMA wal_checkpoint(TRUNCATE)`} {
		if _, err := ahead.ExecContext(context.Background(), query); err != nil {
			t.Fatal(err)
		}
	}
	if err := ahead.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, dir, nil, "it was used by a newer latchpost; start that one, or restore a backup from before")
	if db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Dir: dir, ReadOnly: true, Ballast: -1}); err == nil {
		db.Close()
		t.Error("it can be read by an older program, which may misunderstand it")
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}
