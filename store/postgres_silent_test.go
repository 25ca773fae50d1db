//go:build unix

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// wire stands between the store and PostgreSQL.
type wire struct {
	url    string
	opened atomic.Int64
	dead   atomic.Int64  // the connections up to this one carry nothing more, and are not closed either: their machine is gone
	over   chan struct{} // closed with the test
	cut    atomic.Bool   // the next answer to a COMMIT is lost, and its connection with it
}

func newWire(t *testing.T, server string) *wire {
	t.Helper()
	base, to, _ := strings.Cut(server, "host=")
	dir, err := os.MkdirTemp("/tmp", "latchpost-wire-") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &wire{url: base + "host=" + dir, over: make(chan struct{})}
	t.Cleanup(func() { close(w.over) })
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", filepath.Join(to, ".s.PGSQL.5432"))
			if err != nil {
				client.Close()
				continue
			}
			n := w.opened.Add(1)
			go w.carry(n, server, client, false)
			go w.carry(n, client, server, true)
		}
	}()
	return w
}

func (w *wire) carry(n int64, to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	part := make([]byte, 1<<16)
	for {
		k, err := from.Read(part)
		if w.dead.Load() >= n {
			<-w.over // and neither end notices
		}
		if err != nil || answers && bytes.Contains(part[:k], []byte("COMMIT\x00")) && w.cut.CompareAndSwap(true, false) {
			return
		}
		if _, err := to.Write(part[:k]); err != nil {
			return
		}
	}
}

// OP-001, ST-028: PostgreSQL's machine goes away without a word, and another one takes its address. Who has a deadline leaves at it,
// what is wrong is told, and soon after all goes on.
func TestPostgresIsSilent(t *testing.T) {
	w := newWire(t, storetest.Postgres(t))
	db := mustOpen(t, store.Options{URL: w.url})
	t.Cleanup(func() { db.Close() })
	log, c := db.AuditLog(storetest.MAC), storetest.NewConnection(storetest.NewOwner(), "github", "me")
	storetest.Connect(t, db, c)
	record := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return log.Append(ctx, auth.Event{ID: "e", Owner: c.Owner, Kind: "call"})
	}
	if err := record(); err != nil {
		t.Fatal(err)
	}
	w.dead.Store(1 << 60)
	began, waits := time.Now(), make(chan error, 1)
	go func() { waits <- db.SetMeta(context.Background(), "a", "b") }()
	for db.Failed() == nil { // /readyz says it
		asked := time.Now()
		if err := record(); !errors.Is(err, auth.ErrAudit) {
			t.Errorf("a record: %v", err)
		}
		if took := time.Since(asked); took > 5*time.Second {
			t.Errorf("who had two seconds was kept for %v", took)
		}
		if time.Since(began) > 40*time.Second {
			t.Fatal("it is called well")
		}
	}
	if err := db.Failed(); !errors.Is(err, store.ErrSilent) {
		t.Error(err)
	}
	if err := <-waits; !errors.Is(err, store.ErrSilent) {
		t.Errorf("who has no deadline: %v", err)
	}
	w.dead.Store(w.opened.Load())
	back := time.Now()
	for record() != nil || db.Failed() != nil {
		if time.Since(back) > time.Minute {
			t.Fatalf("a minute later: %v", db.Failed())
		}
	}
	t.Logf("told of it and gave it up after %v, went on %v after it was back", back.Sub(began), time.Since(back))
	if report, err := log.Verify(t.Context()); err != nil || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// ST-028: the answer to the COMMIT of several records is lost, and all are there. None is written a second time.
func TestLostCommitOfSeveral(t *testing.T) {
	w := newWire(t, storetest.Postgres(t))
	db := mustOpen(t, store.Options{URL: w.url})
	t.Cleanup(func() { db.Close() })
	log, o := db.AuditLog(storetest.MAC), storetest.NewOwner()
	for round := range 5 {
		w.cut.Store(true)
		log.Later(auth.Event{ID: fmt.Sprint("outcome ", round), Owner: o, Kind: "call.done"})
		_ = log.Append(t.Context(), auth.Event{ID: fmt.Sprint("call ", round), Owner: o, Kind: "call"}) // nobody can tell, unless the outcome went before it
		for w.cut.Load() {                                                                              // a commit of the keeper's, perhaps
			<-time.After(10 * time.Millisecond)
		}
		if err := log.Append(t.Context(), auth.Event{ID: fmt.Sprint("after ", round), Owner: o, Kind: "call"}); err != nil {
			t.Error(err)
		}
	}
	all, err := log.Events(t.Context(), o, auth.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, e := range all {
		if times[e.ID]++; times[e.ID] > 1 {
			t.Errorf("%q is on record %d times", e.ID, times[e.ID])
		}
	}
	if report, err := log.Verify(t.Context()); err != nil || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
