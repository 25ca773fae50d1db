package store

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// still opens a store whose keeper does nothing, so that batches stay until the test moves them.
func still(t *testing.T, dir string) (*DB, *Log) {
	t.Helper()
	db := openAt(t, dir)
	db.stop()
	db.tasks.Wait()
	return db, db.AuditLog(testMAC)
}

// Events reads alike whether they have rows of their own already or not, by owner, filter,
// order and limit; so do Verify and Export.
func TestBatchesReadLikeEvents(t *testing.T) {
	db, l := still(t, filepath.Join(t.TempDir(), "data"))
	owners := []auth.Owner{{User: "ann"}, {Org: "o", User: "ann"}, {User: "bob"}}
	var all []auth.Event
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()
	for i := range 60 {
		e := auth.Event{
			ID: rand.Text(), At: start.Add(time.Duration(mathrand.IntN(5000)) * time.Millisecond), Owner: owners[mathrand.IntN(3)],
			Client: fmt.Sprint("c", i%2), Kind: fmt.Sprint("k", i%3), Connection: fmt.Sprint("n", i%4), Detail: map[string]string{"i": fmt.Sprint(i)},
		}
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		e.Writer, e.Seq = l.place().writer, int64(i+1)
		all = append(all, e)
		if i == 25 {
			if err := l.spread(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func() {
		t.Helper()
		for _, f := range []auth.EventFilter{
			{}, {Limit: 7}, {Kind: "k1"}, {Client: "c1", Kind: "k2"}, {Connection: "n3", Limit: 2},
			{Since: start.Add(time.Second), Before: start.Add(3 * time.Second)}, {Before: start.Add(2 * time.Second), Limit: 5},
		} {
			for _, o := range owners {
				var want []string
				for _, e := range slices.SortedFunc(slices.Values(all), newestFirst) {
					if e.Owner == o && (f.Kind == "" || e.Kind == f.Kind) && (f.Client == "" || e.Client == f.Client) && (f.Connection == "" || e.Connection == f.Connection) &&
						!e.At.Before(f.Since) && (f.Before.IsZero() || e.At.Before(f.Before)) && (f.Limit == 0 || len(want) < f.Limit) {
						want = append(want, e.Detail["i"])
					}
				}
				found, err := l.Events(t.Context(), o, f)
				var got []string
				for _, e := range found {
					got = append(got, e.Detail["i"])
				}
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%v %+v: %v, not %v (%v)", o, f, got, want, err)
				}
			}
		}
		var out bytes.Buffer
		if err := l.Export(t.Context(), &out); err != nil || bytes.Count(out.Bytes(), []byte("\n")) != len(all) {
			t.Error("export", err)
		}
		if report, err := l.Verify(t.Context()); err != nil || len(report.Faults) > 0 || report.Events != int64(len(all)) {
			t.Error(report, err)
		}
	}
	check()
	if err := l.spread(t.Context()); err != nil {
		t.Fatal(err)
	}
	check()
	var left int
	if err := raw(t, db.dir).QueryRowContext(t.Context(), `SELECT COUNT(*) FROM audit_batches`).Scan(&left); err != nil || left != 0 {
		t.Error(left, err)
	}
}

// AU-003 and AU-004, for events that have no row of their own yet.
func TestTamperingWithBatches(t *testing.T) {
	for name, attack := range map[string]string{
		"edit":        `UPDATE audit_batches SET events = CAST(replace(CAST(events AS TEXT), 'call', 'cell') AS BLOB) WHERE seq = 5`,
		"damage":      `UPDATE audit_batches SET events = zeroblob(40) WHERE seq = 5`,
		"cut short":   `UPDATE audit_batches SET events = substr(events, 1, 30) WHERE seq = 5`,
		"empty":       `UPDATE audit_batches SET events = zeroblob(0) WHERE seq = 5`,
		"delete":      `DELETE FROM audit_batches WHERE seq = 5`,
		"delete last": `DELETE FROM audit_batches WHERE seq = 10`,
		"all":         `DELETE FROM audit_batches`,
		"reorder":     `UPDATE audit_batches SET seq = -6 WHERE seq = 5; UPDATE audit_batches SET seq = 5 WHERE seq = 6; UPDATE audit_batches SET seq = 6 WHERE seq = -6`,
		"again":       `INSERT INTO audit_batches SELECT writer, 11, events FROM audit_batches WHERE seq = 10`,
		"other chain": `INSERT INTO audit_batches SELECT 'me', seq, events FROM audit_batches`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, l := still(t, filepath.Join(t.TempDir(), "data"))
			write(t, l, 10)
			if err := l.dropAnchor(); err != nil {
				t.Fatal(err)
			}
			attacked, err := raw(t, db.dir).ExecContext(t.Context(), attack)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := attacked.RowsAffected(); n == 0 {
				t.Fatal("nothing was attacked")
			}
			for _, step := range []string{"in batches", "in rows"} {
				if report, err := l.Verify(t.Context()); err != nil || len(report.Faults) == 0 {
					t.Fatal(step, "not noticed", report, err)
				}
				if name == "again" { // the second has the place of the next event; the row keeps it
					break
				}
				if err := l.spread(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Retention reaches what a process that is gone left in batches, and what is kept verifies.
func TestTrimReachesBatches(t *testing.T) {
	db, l := still(t, filepath.Join(t.TempDir(), "data"))
	old := time.Now().Add(-48 * time.Hour)
	for i := range 6 {
		e := auth.Event{ID: rand.Text(), At: old, Owner: auth.Local, Kind: "call"}
		if i >= 4 {
			e.At = time.Now()
		}
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	other := db.AuditLog(testMAC)
	if n, err := other.Trim(t.Context(), time.Now().Add(-time.Hour)); err != nil || n != 4 {
		t.Fatal(n, err)
	}
	if report, err := other.Verify(t.Context()); err != nil || len(report.Faults) > 0 || report.Events != 3 { // the third tells of it
		t.Fatal(report, err)
	}
}

// Whatever stands in a batch is read to its end or refused, and reads as it was packed.
func FuzzUnpack(f *testing.F) {
	e := auth.Event{ID: "id", At: time.UnixMilli(1).UTC(), Owner: auth.Owner{Org: "o", User: "u"}, Kind: "call", MAC: []byte("mac")}
	f.Add(entry{event: e, fields: fields(e, `{"a":"b"}`)}.pack(nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := batch{"w", 3, data}.unpack()
		if err != nil {
			return
		}
		var again []byte
		for i, e := range all {
			if e.event.Seq != 3+int64(i) || e.event.Writer != "w" {
				t.Fatal(e.event)
			}
			e.fields = fields(e.event, e.detail)
			again = e.pack(again)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x became %x", data, again)
		}
	})
}

// slow takes what is exported, and a checkpoint before each part.
type slow struct {
	bytes.Buffer
	before func()
}

func (s *slow) Write(p []byte) (int, error) {
	s.before()
	return s.Buffer.Write(p)
}

// Whoever reads an export page by page holds nothing up: no reader is there between two parts, and what is
// spread meanwhile comes once.
func TestExportHoldsNothingUp(t *testing.T) {
	ctx := t.Context()
	db, l := still(t, filepath.Join(t.TempDir(), "data"))
	const events = exportRows*2 + 10
	for range events / 10 {
		write10 := make([]auth.Event, 10)
		for i := range write10 {
			write10[i] = auth.Event{ID: rand.Text(), At: time.Now(), Owner: auth.Local, Kind: "call"}
		}
		if err := l.Append(ctx, write10...); err != nil {
			t.Fatal(err)
		}
		if l.place().seq == exportRows+500 {
			if err := l.spread(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	parts := 0
	out := slow{before: func() {
		parts++
		done, err := db.checkpoint(ctx, "TRUNCATE")
		if err := errors.Join(err, l.spread(ctx)); err != nil || !done {
			t.Errorf("part %d: something is being read, %v", parts, err)
		}
	}}
	if err := l.Export(ctx, &out); err != nil {
		t.Fatal(err)
	}
	seq := int64(0)
	for line := range bytes.Lines(out.Bytes()) {
		var e struct{ Seq int64 }
		if err := json.Unmarshal(line, &e); err != nil || e.Seq != seq+1 {
			t.Fatalf("%s after %d, %v", line, seq, err)
		}
		seq = e.Seq
	}
	if seq != events || parts < 3 {
		t.Errorf("%d of %d events in %d parts", seq, events, parts)
	}
}

// What somebody wrote into a row ends no export: the events behind it are evidence, too.
func TestExportGoesOnBehindDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, l := still(t, dir)
	write(t, l, 5)
	if err := l.spread(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{`at = 9223372036854775807 WHERE seq = 2`, `detail = '{' WHERE seq = 3`, `at = -9223372036854775808 WHERE seq = 4`} {
		if _, err := raw(t, dir).Exec(`UPDATE audit_events SET ` + damage); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := l.Export(t.Context(), &out); err != nil {
		t.Error(err)
	}
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 5 {
		t.Errorf("%d of 5 events: %s", n, &out)
	}
	for line := range bytes.Lines(out.Bytes()) {
		if !json.Valid(line) {
			t.Errorf("no JSON: %s", line)
		}
	}
}
