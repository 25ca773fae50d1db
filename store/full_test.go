//go:build linux

package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/seal"
)

// AU-001, RF-005 and ST-020, at the store, on a disk that is really full: a small tmpfs in a
// mount namespace of its own. And a directory that cannot be written (ST-013) there,
// because root may write everywhere else.
func TestFullDisk(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LATCHPOST_TEST_FULL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") == "" {
		t.Skip("this machine lets nobody mount")
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// fullDisk runs in the process that TestFullDisk starts.
func fullDisk(mount string) error {
	ctx := context.Background()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		return err
	}
	if err := otherDisk(ctx, filepath.Join(mount, "other"), filepath.Join(mount, "data")); err != nil {
		return fmt.Errorf("on another disk than the data directory's: %w", err)
	}
	opt := Options{URL: "sqlite:" + filepath.Join(mount, "latchpost.db"), Dir: mount, Ballast: 1 << 20}
	db, err := Open(ctx, opt)
	if err != nil {
		return err
	}
	db.stop() // a checkpoint would make room in the WAL
	db.tasks.Wait()
	if err := rewrapOnFullDisk(ctx, mount, db); err != nil {
		return fmt.Errorf("changing the key: %w", err)
	}
	c := &auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1, Sealed: []byte("x")}
	r := &auth.Request{ID: "r", Owner: auth.Local, State: auth.Created}
	l := db.AuditLog(testMAC)
	if _, err := db.CreateRequest(ctx, r, 1); err != nil {
		return err
	}
	if err := errors.Join(db.CompleteRequest(ctx, r, c, nil), db.layBallast()); err != nil {
		return err
	}
	filler := filepath.Join(mount, "filler")
	if err := fillUp(filler); err != nil {
		return err
	}

	if err := db.Try(ctx); !errors.Is(err, ErrFull) { // OP-001: doctor says it, when what SQLite has already has room still
		return fmt.Errorf("a full disk takes a trial: %v", err)
	}
	if r, err := db.Room(); err != nil || !r.Short || !r.Ballast {
		return fmt.Errorf("the room of a full disk: %+v, %v", r, err)
	}
	event := func() auth.Event {
		return auth.Event{ID: rand.Text(), Owner: auth.Local, Detail: map[string]string{"x": rand.Text()}}
	}
	written := 0
	for err = nil; err == nil && written < 10000; written++ { // what the WAL has room for in place
		err = l.Append(ctx, event(), event())
	}
	if !errors.Is(err, auth.ErrAudit) || !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "make room") {
		return fmt.Errorf("after %d events on a full disk: %v", written, err)
	}
	if err := db.Failed(); !errors.Is(err, ErrFull) { // OP-001: /readyz says it
		return fmt.Errorf("a full disk is called well: %v", err)
	}
	if _, taken, err := db.AcquireRefresh(ctx, auth.Local, "c", 1, time.Minute); taken || !errors.Is(err, ErrFull) {
		return fmt.Errorf("a refresh could begin: %v %v", taken, err)
	}
	if _, err := db.Connection(ctx, auth.Local, "c"); err != nil {
		return fmt.Errorf("reading: %w", err)
	}
	if err := db.RevokeConnection(ctx, auth.Local, "c", nil); err != nil {
		return fmt.Errorf("revoking on a full disk: %w", err)
	}
	if err := db.Failed(); !errors.Is(err, ErrFull) {
		return fmt.Errorf("the room of the ballast is called room: %v", err)
	}
	if err := l.Append(ctx, event()); !errors.Is(err, ErrFull) {
		return fmt.Errorf("the ballast's room is for revoking: %v", err)
	}
	if report, err := l.Verify(ctx); err != nil || len(report.Faults) > 0 || report.Events != 2*int64(written-1) {
		return fmt.Errorf("%d events, %d faults after %d writes: %v", report.Events, len(report.Faults), written, err)
	}
	if r, err := db.Room(); err != nil || !r.Short || r.Ballast {
		return fmt.Errorf("the room of a ballast that was given up: %+v, %v", r, err)
	}
	if err := db.layBallast(); err == nil || !strings.Contains(err.Error(), "less than 4 MiB is free") {
		return fmt.Errorf("the ballast is laid on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if err := db.layBallast(); err != nil {
		return err
	}
	if r, err := db.Room(); err != nil || r.Short || !r.Ballast {
		return fmt.Errorf("the room that is there again: %+v, %v", r, err)
	}
	if err := db.Try(ctx); err != nil {
		return err
	}
	if err := l.Append(ctx, event()); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	if err := db.Failed(); err != nil {
		return fmt.Errorf("with room again it is not called well: %w", err)
	}
	if err := db.Close(); err != nil {
		return err
	}
	return readOnlyDisk(ctx, mount, opt)
}

// ST-020, of several processes: the room of the ballast is for revoking in each of them, whichever gave it up, and
// all write again when one of them has laid it anew.
func TestBallastOfSeveral(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var dbs [2]*DB
	var logs [2]*Log
	for i := range dbs {
		db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: 1 << 16})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.stop()
		db.tasks.Wait()
		dbs[i], logs[i] = db, db.AuditLog(testMAC)
	}
	if err := dbs[0].layBallast(); err != nil {
		t.Fatal(err)
	}
	c := &auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1, Sealed: []byte("x")}
	if err := dbs[0].Import(t.Context(), *c); err != nil {
		t.Fatal(err)
	}
	if !dbs[0].spendBallast() || size(filepath.Join(dir, "ballast")) != 0 { // as a revocation on a full disk does
		t.Fatal("the ballast gives no room")
	}
	for i := range dbs {
		if err := logs[i].Append(t.Context(), auth.Event{ID: "e"}); !errors.Is(err, ErrFull) {
			t.Errorf("process %d uses the room that is for revoking: %v", i, err)
		}
		if err := dbs[i].SetMeta(t.Context(), "a", "b"); !errors.Is(err, ErrFull) || !errors.Is(dbs[i].Failed(), ErrFull) {
			t.Errorf("process %d: %v, and is called %v", i, err, dbs[i].Failed())
		}
	}
	if err := dbs[1].RevokeConnection(t.Context(), auth.Local, "c", nil); err != nil {
		t.Errorf("revoking on the room that another process gave up: %v", err)
	}
	if err := dbs[1].layBallast(); err != nil {
		t.Fatal(err)
	}
	for i := range dbs {
		if err := errors.Join(logs[i].Append(t.Context(), auth.Event{ID: "e"}), dbs[i].Failed()); err != nil {
			t.Errorf("process %d, with room and ballast again: %v", i, err)
		}
	}
	if !dbs[0].spendBallast() {
		t.Fatal("the ballast gives no room")
	}
	if _, err := ReleaseBallast(dbs[0].opt.URL); err != nil { // the operator says that all may use it
		t.Fatal(err)
	}
	for i := range dbs {
		if err := logs[i].Append(t.Context(), auth.Event{ID: "e"}); err != nil {
			t.Errorf("process %d, after --release-ballast: %v", i, err)
		}
	}
}

// otherDisk has the store's file on a disk that is full, and the data directory on one that is not.
func otherDisk(ctx context.Context, mount, data string) error {
	if err := os.Mkdir(mount, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=8m,mode=0700"); err != nil {
		return err
	}
	defer syscall.Unmount(mount, syscall.MNT_DETACH)
	db, err := Open(ctx, Options{URL: "sqlite:" + filepath.Join(mount, "latchpost.db"), Dir: data, Ballast: 1 << 20})
	if err != nil {
		return err
	}
	defer db.Close()
	db.stop()
	db.tasks.Wait()
	c := auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1, Sealed: []byte("x")}
	if err := errors.Join(db.Import(ctx, c), db.layBallast(), fillUp(filepath.Join(mount, "filler"))); err != nil {
		return err
	}
	if r, err := db.Room(); err != nil || !r.Short || !r.Ballast {
		return fmt.Errorf("the room of a full disk: %+v, %v", r, err)
	}
	if err := db.Try(ctx); !errors.Is(err, ErrFull) {
		return fmt.Errorf("a full disk takes a trial: %v", err)
	}
	l := db.AuditLog(testMAC)
	for err = nil; err == nil; {
		err = l.Append(ctx, auth.Event{ID: rand.Text()})
	}
	if err := db.RevokeConnection(ctx, auth.Local, "c", nil); err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	if err := db.layBallast(); err == nil || !strings.Contains(err.Error(), "less than 4 MiB is free") {
		return fmt.Errorf("the ballast is laid: %v", err)
	}
	return nil
}

// fillUp takes all the room that is left.
func fillUp(filler string) error {
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return f.Close()
}

// rewrapOnFullDisk is ST-020 for a disk that fills up in the middle of a change of the master key.
func rewrapOnFullDisk(ctx context.Context, mount string, db *DB) error {
	var keks [2]seal.KEK
	for i := range keks {
		var err error
		if keks[i], err = seal.CreateKEK(ctx, fmt.Sprintf("file:%s/key%d", mount, i)); err != nil {
			return err
		}
	}
	box, err := seal.NewBox(ctx, keks[0], db)
	if err != nil {
		return err
	}
	place := seal.Place{Table: "connections", User: "alice", Record: "1", Field: "credential", Version: 1, Salt: []byte("salt")}
	var sealed [60][]byte
	for i := range sealed {
		if sealed[i], err = box.Seal(place, []byte(fmt.Sprint(i))); err != nil {
			return err
		}
		if err := box.Rotate(ctx); err != nil {
			return err
		}
	}
	opens := func(box *seal.Box) error {
		for i, value := range sealed {
			if plain, err := box.Open(place, value); err != nil || string(plain) != fmt.Sprint(i) {
				return fmt.Errorf("value %d: %q, %w", i, plain, err)
			}
		}
		return nil
	}
	if _, err := db.checkpoint(ctx, "TRUNCATE"); err != nil {
		return err
	}
	filler := filepath.Join(mount, "filler")
	if err := fillUp(filler); err != nil {
		return err
	}
	info, err := os.Stat(filler)
	if err != nil {
		return err
	}
	if err := os.Truncate(filler, info.Size()-100<<10); err != nil { // room for some
		return err
	}
	if err := box.Rewrap(ctx, keks[1]); !errors.Is(err, ErrFull) {
		return fmt.Errorf("on a full disk: %w", err)
	}
	rows, err := db.Keys(ctx)
	if err != nil {
		return err
	}
	moved := 0
	for _, row := range rows {
		if row.KEK == keks[1].ID() {
			moved++
		}
	}
	if moved == 0 || moved == len(rows) {
		return fmt.Errorf("%d of %d had moved when the disk was full", moved, len(rows))
	}
	both, err := seal.NewBox(ctx, keks[0], db, keks[1])
	if err != nil {
		return err
	}
	if err := errors.Join(opens(box), opens(both), os.Remove(filler), both.Rewrap(ctx, keks[1])); err != nil {
		return err
	}
	done, err := seal.NewBox(ctx, keks[1], db)
	if err != nil {
		return err
	}
	return opens(done)
}

// readOnlyDisk is ST-013.
func readOnlyDisk(ctx context.Context, mount string, opt Options) error {
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return err
	}
	if db, err := Open(ctx, opt); !errors.Is(err, ErrReadOnly) {
		return fmt.Errorf("open on a read-only disk: %v %v", db, err)
	}
	opt.ReadOnly = true
	db, err := Open(ctx, opt)
	if err != nil {
		return fmt.Errorf("degraded mode: %w", err)
	}
	defer db.Close()
	if _, err := db.Connection(ctx, auth.Local, "c"); err != nil {
		return err
	}
	l := db.AuditLog(testMAC)
	if report, err := l.Verify(ctx); err != nil || len(report.Faults) > 0 {
		return fmt.Errorf("verify: %v %w", report, err)
	}
	l.Later(auth.Event{ID: "lost"})
	for what, err := range map[string]error{
		"release": l.Append(ctx, auth.Event{ID: "x"}),
		"revoke":  db.RevokeConnection(ctx, auth.Local, "c", nil),
		"meta":    db.SetMeta(ctx, "a", "b"),
		"inside":  db.Backup(ctx, filepath.Join(mount, "backup.db")),
	} {
		if !errors.Is(err, ErrReadOnly) && !errors.Is(err, syscall.EROFS) || strings.Count(err.Error(), "read-only") > 1 {
			return fmt.Errorf("%s in degraded mode: %v", what, err)
		}
	}
	elsewhere := filepath.Join(filepath.Dir(mount), "backup.db") // ST-022, when it is needed most
	if err := db.Backup(ctx, elsewhere); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	copied, err := Open(ctx, Options{URL: "sqlite:" + elsewhere, Dir: mount + "-copy", Ballast: -1})
	if err != nil {
		return err
	}
	if _, err := copied.Connection(ctx, auth.Local, "c"); err != nil {
		return err
	}
	if err := copied.Close(); err != nil {
		return err
	}
	return db.Touch(ctx, auth.Local, "c", time.Now())
}
