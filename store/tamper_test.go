package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

func testMAC(b []byte) []byte {
	h := hmac.New(sha256.New, []byte("a key for tests"))
	h.Write(b)
	return h.Sum(nil)
}

// openAt opens the store in dir for a test.
func openAt(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// raw is the file as somebody with an editor for SQLite sees it.
func raw(t testing.TB, dir string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "latchpost.db")+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	pool.SetMaxOpenConns(1)
	t.Cleanup(func() { pool.Close() })
	return pool
}

func write(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		if err := l.Append(t.Context(), auth.Event{ID: rand.Text(), At: time.Now(), Owner: auth.Local, Kind: "call", Detail: map[string]string{"n": fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// AU-003 and AU-004: whoever can write the database but has no key cannot change the
// log unnoticed, with recomputed heads or without.
func TestTampering(t *testing.T) {
	for name, attack := range map[string]string{
		"edit":                  `UPDATE audit_events SET decision = 'deny' WHERE seq = 5`,
		"edit another owner in": `UPDATE audit_events SET user_id = 'somebody' WHERE seq = 5`,
		"edit the last":         `UPDATE audit_events SET detail = '' WHERE seq = 10`,
		"edit the MAC":          `UPDATE audit_events SET mac = zeroblob(32) WHERE seq = 5`,
		"delete":                `DELETE FROM audit_events WHERE seq = 5`,
		"delete the first":      `DELETE FROM audit_events WHERE seq = 1`,
		"delete and close up":   `DELETE FROM audit_events WHERE seq = 5; UPDATE audit_events SET seq = -seq + 1 WHERE seq > 5; UPDATE audit_events SET seq = -seq WHERE seq < 0`,
		"reorder":               `UPDATE audit_events SET seq = -6 WHERE seq = 5; UPDATE audit_events SET seq = 5 WHERE seq = 6; UPDATE audit_events SET seq = 6 WHERE seq = -6`,
		"insert":                `INSERT INTO audit_events SELECT writer, 11, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac FROM audit_events WHERE seq = 10`,
		"insert before":         `INSERT INTO audit_events SELECT writer, 0, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac FROM audit_events WHERE seq = 1`,
		"insert a writer":       `INSERT INTO audit_events SELECT 'me', seq, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac FROM audit_events`,
		"cut the tail":          `DELETE FROM audit_events WHERE seq > 7`,
		"cut the tail and the head with it": `DELETE FROM audit_events WHERE seq > 7;
			UPDATE audit_heads SET seq = 7, mac = (SELECT mac FROM audit_events WHERE seq = 7)`,
		"cut the beginning as retention would": `DELETE FROM audit_events WHERE seq < 4;
			UPDATE audit_heads SET base_seq = 3, base_mac = (SELECT mac FROM audit_events WHERE seq = 4)`,
		"all":               `DELETE FROM audit_events`,
		"all and the heads": `DELETE FROM audit_events; DELETE FROM audit_heads`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			db := openAt(t, dir)
			l := db.AuditLog(testMAC)
			write(t, l, 10)
			if err := errors.Join(l.dropAnchor(), l.spread(t.Context())); err != nil {
				t.Fatal(err)
			}
			if report, err := l.Verify(t.Context()); err != nil || len(report.Faults) > 0 || report.Events != 10 {
				t.Fatal(report, err)
			}
			if _, err := raw(t, dir).ExecContext(t.Context(), attack); err != nil {
				t.Fatal(err)
			}
			if report, err := l.Verify(t.Context()); err != nil || len(report.Faults) == 0 {
				t.Fatal("not noticed", report, err)
			}
		})
	}
}

// AU-003: an older copy of the whole database verifies in itself; the anchor remembers
// that there was more. The chain is not continued, so the gap stays to be seen.
func TestRolledBackDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "latchpost.db")
	db := openAt(t, dir)
	write(t, db.AuditLog(testMAC), 5)
	db.Close()
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	write(t, db.AuditLog(testMAC), 5)
	db.Close()
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	l := db.AuditLog(testMAC)
	for _, writers := range []int{1, 2} {
		report, err := l.Verify(t.Context())
		if err != nil || report.Writers != writers || len(report.Faults) != 1 || !strings.Contains(report.Faults[0].What, "last 5 events are missing") {
			t.Fatal(report, err)
		}
		write(t, l, 7)
		if err := l.dropAnchor(); err != nil {
			t.Fatal(err)
		}
	}
}

// AU-004: the anchor is keyed too. One that was changed is reported and left as it is.
func TestForgedAnchor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	l := openAt(t, dir).AuditLog(testMAC)
	write(t, l, 5)
	if err := l.dropAnchor(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, anchorFile)
	anchor, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, forged := range [][]byte{bytes.Replace(anchor, []byte(" 5 "), []byte(" 3 "), 1), anchor[:len(anchor)/2], {}, []byte("\n\n\n"), bytes.SplitAfter(anchor, []byte("\n"))[1]} {
		if err := os.WriteFile(path, forged, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := l.Verify(t.Context())
		if err != nil || len(report.Faults) != 1 || !strings.Contains(report.Faults[0].What, "anchor does not verify") {
			t.Fatalf("%q: %v %v", forged, report, err)
		}
		write(t, l, 1)
		if err := l.dropAnchor(); !errors.Is(err, errAnchor) {
			t.Fatal(err)
		}
	}
}

// AU-003: whoever deletes the anchor, to delete another process's chain unnoticed, is noticed by those that run: they write
// it anew as they knew it, and that it was gone is on record.
func TestDeletedAnchor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	other, gone := still(t, dir)
	_, l := still(t, dir)
	write(t, gone, 7)
	write(t, l, 3)
	if err := errors.Join(gone.spread(t.Context()), l.dropAnchor()); err != nil { // knows of both
		t.Fatal(err)
	}
	writer := gone.place().writer
	other.Close()
	if _, err := raw(t, dir).ExecContext(t.Context(), `DELETE FROM audit_events WHERE writer = '`+writer+`'; DELETE FROM audit_heads WHERE writer = '`+writer+`'`); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, anchorFile)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.dropAnchor(); err != nil {
			t.Fatal(err)
		}
		write(t, l, 1)
	}
	report, err := l.Verify(t.Context())
	if err != nil || len(report.Faults) != 1 || !strings.Contains(report.Faults[0].What, "all events of this writer are gone") {
		t.Errorf("%+v, %v", report, err)
	}
	told, err := l.Events(t.Context(), auth.Owner{}, auth.EventFilter{Kind: "anchor.missing"})
	if err != nil || len(told) != 1 {
		t.Errorf("told %d times: %v", len(told), err)
	}
}

// AU-004: whoever rewrites the log, its heads and its anchor from the first event to the last, and has all but the key, has written
// another log.
func TestRecomputedLog(t *testing.T) {
	for name, mac := range map[string]func([]byte) []byte{
		"without a key": func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] },
		"with another key": func(b []byte) []byte {
			h := hmac.New(sha256.New, []byte("a key of theirs"))
			h.Write(b)
			return h.Sum(nil)
		},
	} {
		db := openAt(t, filepath.Join(t.TempDir(), "data"))
		forged := db.AuditLog(mac)
		write(t, forged, 10)
		if err := errors.Join(forged.dropAnchor(), forged.spread(t.Context())); err != nil {
			t.Fatal(err)
		}
		if report, err := forged.Verify(t.Context()); err != nil || len(report.Faults) > 0 || report.Events != 10 {
			t.Fatalf("%s it is not whole in itself: %+v, %v", name, report, err)
		}
		report, err := db.AuditLog(testMAC).Verify(t.Context())
		if err != nil || len(report.Faults) < 2 { // the chain and the anchor
			t.Errorf("%s it passes: %+v, %v", name, report, err)
		}
	}
}

// A log whose chain another process took, after a long silence, goes on in a new one.
func TestChainTakenOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	silent := openAt(t, dir)
	now := time.Now()
	other, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1, Now: func() time.Time { return now.Add(2 * hold) }})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	mine, theirs := silent.AuditLog(testMAC), other.AuditLog(testMAC)
	write(t, mine, 3)
	write(t, theirs, 3)
	if mine.chain.writer != theirs.chain.writer {
		t.Fatal("the chain was not taken")
	}
	write(t, mine, 3)
	if mine.chain.writer == theirs.chain.writer {
		t.Fatal("two write one chain")
	}
	report, err := mine.Verify(context.Background())
	if err != nil || len(report.Faults) != 0 || report.Events != 9 {
		t.Fatal(report, err)
	}
}

// A trim of a long record stands in nobody's way: it goes in parts, and what each leaves verifies.
func TestTrimGoesInParts(t *testing.T) {
	ctx := t.Context()
	db := openAt(t, filepath.Join(t.TempDir(), "data"))
	l := db.AuditLog(testMAC)
	long := time.Now().Add(-time.Hour)
	for range 7 {
		events := make([]auth.Event, trimEvents/2)
		for i := range events {
			events[i] = auth.Event{ID: rand.Text(), At: long, Owner: auth.Local, Kind: "call"}
		}
		if err := l.Append(ctx, events...); err != nil {
			t.Fatal(err)
		}
	}
	write(t, l, 3)
	if err := l.spread(ctx); err != nil {
		t.Fatal(err)
	}
	verify := func(want int64) {
		t.Helper()
		report, err := l.Verify(ctx)
		if err != nil || len(report.Faults) > 0 || report.Events != want {
			t.Errorf("%+v, want %d events, %v", report, want, err)
		}
	}
	before := long.Add(time.Minute)
	err := db.write(ctx, func(ctx context.Context, q querier) error {
		n, err := l.trimChain(ctx, q, l.place().writer, before)
		if n != trimEvents {
			t.Errorf("%d events were removed at once", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	verify(3 + trimEvents*5/2)
	commits := db.group.commits.Load()
	removed, err := l.Trim(ctx, before)
	if err != nil || removed != trimEvents*5/2 {
		t.Errorf("%d events were removed: %v", removed, err)
	}
	if commits = db.group.commits.Load() - commits; commits < 3 {
		t.Errorf("they were removed in %d transactions", commits)
	}
	verify(4) // the fourth tells of it
}

// AU-003: retention signs where a chain begins anew, and signs for nobody who has no key: neither for what was made older
// than it is, nor for what stood before and is gone.
func TestTrimSignsWhatVerifies(t *testing.T) {
	for name, attack := range map[string]string{
		"made older":               `UPDATE audit_events SET at = 1 WHERE seq <= 19`,
		"made older, and edited":   `UPDATE audit_events SET at = 1 WHERE seq <= 19; UPDATE audit_events SET detail = '' WHERE seq = 5`,
		"all before one that is":   `DELETE FROM audit_events WHERE seq < 19; UPDATE audit_events SET at = 1 WHERE seq = 19`,
		"put before the beginning": `INSERT INTO audit_events SELECT writer, 0, id, of, 1, org, user_id, client, kind, provider, connection, request, decision, detail, mac FROM audit_events WHERE seq = 1`,
		"the first that is young":  `UPDATE audit_events SET detail = '' WHERE seq = 4`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			l := openAt(t, dir).AuditLog(testMAC)
			old := time.Now().Add(-48 * time.Hour)
			for range 3 {
				if err := l.Append(t.Context(), auth.Event{ID: rand.Text(), At: old, Owner: auth.Local, Kind: "call"}); err != nil {
					t.Fatal(err)
				}
			}
			write(t, l, 17)
			if err := l.spread(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := raw(t, dir).ExecContext(t.Context(), attack); err != nil {
				t.Fatal(err)
			}
			before, err := l.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n, err := l.Trim(t.Context(), time.Now().Add(-24*time.Hour))
			if err == nil || n > 0 || !strings.Contains(err.Error(), "run latchpost audit verify") {
				t.Errorf("%d events were trimmed: %v", n, err)
			}
			after, err := l.Verify(t.Context())
			if err != nil || len(after.Faults) == 0 || after.Events != before.Events || after.Trimmed > 0 {
				t.Errorf("%+v after %+v, %v", after, before, err)
			}
		})
	}
}
