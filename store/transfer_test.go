//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

// target is a store that is not there yet, in a directory of its own.
func target(t *testing.T) (dir string, opt Options) {
	dir = filepath.Join(t.TempDir(), "target")
	return dir, Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Ballast: -1}
}

func anything(auth.Sealed) error { return nil }

func rowsIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	tables, err := schema(t.Context())
	must(t, err)
	must(t, openAt(t, dir).read(t.Context(), func(ctx context.Context, q querier) error {
		for _, table := range tables {
			if table.name == "migrations" {
				continue
			}
			e, err := table.read(ctx, q, func([]any) error { return nil })
			if n += e.rows; err != nil {
				return err
			}
		}
		return nil
	}))
	return n
}

// Whatever is in the way is told before anything is written, and what fails half-way leaves nothing: the same command works afterwards.
func TestTransferRefuses(t *testing.T) {
	dir, path := filled(t)
	db := openAt(t, dir)
	to, opt := target(t)
	refused := func(says string, opt Options, opens func(auth.Sealed) error) {
		t.Helper()
		if _, err := db.Transfer(t.Context(), opt, testMAC, opens); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, not %q", err, says)
		}
	}
	refused("the one that is in use", Options{URL: "sqlite:" + path}, anything)

	another := openAt(t, dir)
	refused("other latchpost processes use this store (1): end them all, those that MCP hosts started, too (fuser -v ", opt, anything)
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the new store was made")
	}
	another.Close()

	broken := errors.New("broken")
	refused(`connections c7 of "local" (credential) does not open, so nothing was moved: broken`, opt, func(v auth.Sealed) error {
		if v.Place.Record == "c7" {
			return broken
		}
		return nil
	})
	if n := rowsIn(t, to); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	must(t, os.WriteFile(filepath.Join(to, anchorFile), []byte("x 1 00\nof another key\n"), 0o600))
	refused(filepath.Join(to, anchorFile)+": the audit anchor does not verify", opt, anything)
	must(t, os.Remove(filepath.Join(to, anchorFile)))
	stranger := openAt(t, filepath.Join(t.TempDir(), "stranger"))
	write(t, stranger.AuditLog(testMAC), 3)
	stranger.Close()
	left, err := os.ReadFile(filepath.Join(stranger.dir, anchorFile))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(to, anchorFile), left, 0o600))
	refused("all events of this writer are gone; the anchor remembers them), so nothing was moved; if "+filepath.Join(to, anchorFile)+" is another store's, move it away", opt, anything)
	must(t, os.Remove(filepath.Join(to, anchorFile)))
	ctx, stop := context.WithCancel(t.Context())
	if _, err := db.Transfer(ctx, opt, testMAC, func(auth.Sealed) error { stop(); return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := rowsIn(t, to); n != 0 {
		t.Errorf("%d rows are left", n)
	}

	done, err := db.Transfer(t.Context(), opt, testMAC, anything)
	if err != nil || done.Sealed != 20 || done.Record.Events != 50 {
		t.Fatal(done, err)
	}
	n := rowsIn(t, to)
	refused("the new store is not empty (connections 20, requests 20, grants 20, audit_events 50, audit_heads 1)", opt, anything)
	if now := rowsIn(t, to); now != n {
		t.Errorf("%d rows were %d", now, n)
	}
	tables, err := schema(t.Context())
	must(t, err)
	must(t, db.read(t.Context(), func(ctx context.Context, q querier) error { // somebody came between the look at it and the lock
		if _, err := (&move{tables: tables}).run(ctx, q); err == nil || !strings.Contains(err.Error(), "is not empty") {
			t.Error(err)
		}
		return nil
	}))
}

// A store that can only be read is left as well, as from a disk that fails.
func TestTransferFromReadOnly(t *testing.T) {
	dir, path := filled(t)
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Dir: dir, ReadOnly: true})
	must(t, err)
	defer db.Close()
	to, opt := target(t)
	if done, err := db.Transfer(t.Context(), opt, testMAC, anything); err != nil || done.Sealed != 20 {
		t.Fatal(done, err)
	}
	if n := rowsIn(t, to); n != rowsIn(t, dir) {
		t.Errorf("%d rows", n)
	}
}

// AU-003: what was done to the record before stays to be seen in the new store, also what only the anchor beside the old one remembers; a
// whole record goes on there.
func TestTransferOfTheRecord(t *testing.T) {
	for name, test := range map[string]struct {
		attack string
		faults int
	}{
		"whole":           {`SELECT 1`, 0},
		"an event edited": {`UPDATE audit_events SET decision = 'deny' WHERE seq = 5`, 1},
		"all gone":        {`DELETE FROM audit_events; DELETE FROM audit_heads`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := filled(t)
			if _, err := raw(t, dir).ExecContext(t.Context(), test.attack); err != nil {
				t.Fatal(err)
			}
			to, opt := target(t)
			db := openAt(t, dir)
			done, err := db.Transfer(t.Context(), opt, testMAC, anything)
			if err != nil || len(done.Record.Faults) != test.faults {
				t.Fatalf("%+v, %v", done, err)
			}
			l := openAt(t, to).AuditLog(testMAC)
			write(t, l, 1)
			report, err := l.Verify(t.Context())
			if err != nil || !slices.Equal(report.Faults, done.Record.Faults) {
				t.Errorf("%+v, %v; before %v", report, err, done.Record.Faults)
			}
			if goes := report.Writers == 1; name == "whole" && (!goes || report.Events != 51) {
				t.Errorf("the chain does not go on: %+v", report)
			}
		})
	}
}

// Every column that can hold something sealed is opened before a transfer is good, or is named here.
func TestEverySealedColumnIsOpened(t *testing.T) {
	plain := map[string]string{
		"keys.wrapped":      "opened with the store",
		"connections.salt":  "part of a key",
		"apps.salt":         "part of a key",
		"revocations.salt":  "part of a key",
		"requests.browser":  "a hash",
		"tokens.hash":       "a hash",
		"sessions.hash":     "a hash",
		"owner_links.hash":  "a hash",
		"approvals.digest":  "a hash",
		"audit_events.mac":  "the record is verified",
		"audit_heads.mac":   "the record is verified",
		"audit_heads.proof": "the record is verified",

		"requests.state_hash":    "a hash",
		"audit_heads.base_mac":   "the record is verified",
		"audit_heads.base_proof": "the record is verified",
		"audit_batches.events":   "the record is verified",
	}
	tables, err := schema(t.Context())
	must(t, err)
	known := map[string]string{"TEXT": "''", "BIGINT": "0", "BOOLEAN": "FALSE"}
	var want, got []string
	pool := raw(t, openAt(t, filepath.Join(t.TempDir(), "data")).dir)
	for _, table := range tables {
		var values []string
		for _, f := range table.fields {
			name := table.name + "." + f.name
			switch {
			case f.kind != "BYTEA":
				if known[f.kind] == "" {
					t.Errorf("%s is %s", name, f.kind)
				}
			case plain[name] == "":
				want = append(want, name)
			}
			if f.kind == "BYTEA" {
				values = append(values, fmt.Sprintf("x'%x'", name))
			} else {
				values = append(values, known[f.kind])
			}
			delete(plain, name)
		}
		if table.name != "grants" { // which refers to a connection
			_, err := pool.ExecContext(t.Context(), `INSERT INTO `+table.name+` VALUES (`+strings.Join(values, ", ")+`)`)
			must(t, err)
		}
	}
	n, err := openSealed(t.Context(), overSQL{pool}, func(v auth.Sealed) error { got = append(got, string(v.Value)); return nil })
	slices.Sort(want)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) || int(n) != len(want) || len(plain) > 0 {
		t.Errorf("opened %d: %v\nnot: %v\nnot there any more: %v; %v", n, got, want, slices.Collect(maps.Keys(plain)), err)
	}
}
