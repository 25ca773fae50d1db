package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// lockedOut gives a store that another one keeps from writing until letGo, and whose patience is two seconds.
func lockedOut(t *testing.T, dir string) (db *DB, l *Log, letGo func()) {
	t.Helper()
	db, l = still(t, dir)
	write(t, l, 1)
	err := db.write(t.Context(), func(_ context.Context, q querier) error {
		q.(*sqliteTx).SetBusyTimeout(time.Second / 3)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := openConn(filepath.Join(dir, "latchpost.db"), toWrite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.exec(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	letGo = sync.OnceFunc(func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(letGo)
	return db, l, letGo
}

// AU-001, locked: while another process has the lock for writing nothing is put on record, so nothing is released. Whoever
// leaves is let go at once and nothing of theirs is done later; the others get one clear answer when our patience is at its end,
// however many they are.
func TestLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, l, letGo := lockedOut(t, dir)
	began := time.Now()
	var all sync.WaitGroup
	var let, alone atomic.Int64 // how long after the beginning the last one was let go, and the last one that waited for nothing else
	last := func(of *atomic.Int64) {
		now := int64(time.Since(began))
		for at := of.Load(); at < now && !of.CompareAndSwap(at, now); at = of.Load() {
		}
	}
	for range 100 {
		all.Go(func() {
			err := l.Append(t.Context(), auth.Event{ID: "stays", Owner: auth.Local})
			var says *auth.Error
			if !errors.Is(err, ErrLocked) || !errors.Is(err, auth.ErrAudit) || !errors.As(err, &says) || !strings.Contains(says.Message, "another process") {
				t.Error(err)
			}
		})
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := l.Append(ctx, auth.Event{ID: "leaves", Owner: auth.Local}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, auth.ErrAudit) {
				t.Error(err)
			}
			last(&let)
		})
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			<-ctx.Done()
			last(&alone)
		})
	}
	all.Wait()
	took, slow := time.Since(began), time.Duration(alone.Load())-100*time.Millisecond
	if let := time.Duration(let.Load()); let > 1500*time.Millisecond+slow {
		t.Errorf("let go after %v, on a machine that is %v late", let, slow)
	}
	if took > 15*time.Second+slow {
		t.Errorf("all were told after %v, on a machine that is %v late", took, slow)
	}
	if err := db.RevokeConnection(t.Context(), auth.Local, "c", nil); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	if found, err := l.Events(t.Context(), auth.Local, auth.EventFilter{}); err != nil || len(found) != 1 {
		t.Errorf("%d events, %v", len(found), err)
	}
	if err := db.Failed(); !errors.Is(err, ErrLocked) { // OP-001: /readyz says it
		t.Errorf("as long as it is locked: %v", err)
	}
	letGo()
	var k keeper
	for range 5 {
		k.tick(t.Context(), db)
	}
	if err := db.Failed(); err != nil {
		t.Errorf("some seconds later, though nobody asked: %v", err)
	}
	write(t, l, 1)
	if report, err := l.Verify(t.Context()); err != nil || report.Events != 2 || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// A process that is told to end does so, also when the file is locked; and one that cannot begin.
func TestLockedAtTheEnd(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, l, letGo := lockedOut(t, dir)
	l.Later(auth.Event{ID: "outcome", Owner: auth.Local})
	began := time.Now()
	db.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began = time.Now()
	_, err := Open(ctx, Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took > 4*busyTimeout {
		t.Errorf("the beginning took %v: %v", took, err)
	}
	letGo()
	if report, err := openAt(t, dir).AuditLog(testMAC).Verify(t.Context()); err != nil || report.Events != 1 || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// OP-005: what a process declares, such as its unsafe flags, the others on the file know for as long as it lives.
func TestDeclared(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	a, _ := still(t, dir)
	b, _ := still(t, dir)
	for db, lines := range map[*DB][]string{a: {"--one", "--of both"}, b: {"--a much longer line that is replaced"}} {
		if err := db.Declare(lines); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Declare([]string{"--of both", "--two"}); err != nil {
		t.Fatal(err)
	}
	if got, want := a.Declared(), []string{"--one", "--of both", "--two"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := b.Declared(), []string{"--of both", "--two", "--one"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := a.Declared(), []string{"--one", "--of both"}; !slices.Equal(got, want) {
		t.Errorf("after the other one's end: %q, want %q", got, want)
	}
}

// Whoever waits for the lock at the start is told so, once, and goes on when it is free.
func TestWaitingIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, _, letGo := lockedOut(t, dir)
	told := sentence{text: []byte("waiting: another process keeps latchpost.db locked")}
	opened := make(chan error, 1)
	go func() {
		db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1, Log: slog.New(slog.NewTextHandler(&told, nil))})
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	time.Sleep(waitShown + busyTimeout) // more than one try
	letGo()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if n := told.n.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// sentence counts the messages of a log in which a text stands.
type sentence struct {
	text []byte
	n    atomic.Int32
}

func (s *sentence) Write(message []byte) (int, error) {
	if bytes.Contains(message, s.text) {
		s.n.Add(1)
	}
	return len(message), nil
}
