//go:build linux

package store

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/latchpost/latchpost/auth"
)

// TestMain is also the process that the crash tests kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LATCHPOST_TEST_VICTIM"); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	if dir := os.Getenv("LATCHPOST_TEST_FULL"); dir != "" {
		if err := fullDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim writes for ever and says on standard output what it was told is on disk.
func victim(dir string) error {
	ctx := context.Background()
	db, err := Open(ctx, Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	if err != nil {
		return err
	}
	l := db.AuditLog(testMAC)
	acks, failed := make(chan string), make(chan error)
	if copies := os.Getenv("LATCHPOST_TEST_COPIES"); copies != "" {
		go func() {
			for {
				to := filepath.Join(copies, rand.Text())
				if err := firstError(os.Mkdir(to, 0o700), db.Backup(ctx, filepath.Join(to, "latchpost.db"))); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for range 8 {
		go func() {
			for {
				id := rand.Text()
				err := l.Append(ctx, auth.Event{ID: id, Owner: auth.Local, Kind: "call"})
				if err == nil {
					err = db.SetMeta(ctx, id, id)
				}
				if err != nil {
					failed <- err
					return
				}
				acks <- id
			}
		}()
	}
	for {
		select {
		case id := <-acks:
			fmt.Println(id)
		case err := <-failed:
			return err
		}
	}
}

// killed runs a victim until it has acknowledged some writes, at most so many, kills it, and gives those.
func killed(t *testing.T, most int, env ...string) (acked []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := mathrand.N(most); n >= 0 && lines.Scan(); n-- {
		acked = append(acked, lines.Text())
	}
	cmd.Process.Kill()
	for lines.Scan() { // what it had written before it died
		if id := lines.Text(); len(id) == len(rand.Text()) {
			acked = append(acked, id)
		}
	}
	cmd.Wait()
	return acked
}

// openWhole opens the store of a victim, which is sound and has all that was acknowledged.
func openWhole(t *testing.T, dir string, acked []string) *DB {
	t.Helper()
	db := openAt(t, dir)
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range acked {
		if _, err := db.Meta(t.Context(), id); err != nil {
			t.Fatalf("%s was acknowledged: %v", id, err)
		}
	}
	return db
}

// ST-011 and AU-012: killed at any moment, nothing that was acknowledged is lost, and
// the log verifies with its anchor.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var acked []string
	for round := range 25 {
		acked = append(acked, killed(t, 300, "LATCHPOST_TEST_VICTIM="+dir)...)
		db := openWhole(t, dir, acked)
		l := db.AuditLog(testMAC)
		report, err := l.Verify(t.Context())
		if err != nil || len(report.Faults) > 0 || report.Events < int64(len(acked)) {
			t.Fatalf("round %d, %d acknowledged: %+v %v", round, len(acked), report, err)
		}
		db.Close()
	}
	t.Logf("%d acknowledged, none lost", len(acked))
}

// ST-011: killed within a backup. The store is as good as ever, every copy that has its name is whole, and one that was
// not finished gives way to the next one.
func TestKillWithinBackup(t *testing.T) {
	dir, copies := filepath.Join(t.TempDir(), "data"), t.TempDir()
	db := openAt(t, dir)
	write(t, db.AuditLog(testMAC), 2000)
	db.Close()
	whole, unfinished := 0, 0
	for round := range 15 {
		to := filepath.Join(copies, fmt.Sprint(round))
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		db := openWhole(t, dir, killed(t, 200, "LATCHPOST_TEST_VICTIM="+dir, "LATCHPOST_TEST_COPIES="+to))
		made, err := filepath.Glob(filepath.Join(to, "*", "latchpost.db*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range made {
			if name, left := strings.CutSuffix(path, ".unfinished"); left {
				unfinished++
				if err := db.Backup(t.Context(), name); err != nil {
					t.Errorf("over an unfinished copy: %v", err)
				}
				path = name
			}
			copied := openAt(t, filepath.Dir(path))
			report, err := copied.AuditLog(testMAC).Verify(t.Context())
			if err := firstError(err, copied.Check(t.Context())); err != nil || len(report.Faults) > 0 || report.Events < 2000 {
				t.Errorf("%s: %+v, %v", path, report, err)
			}
			copied.Close()
			whole++
		}
		db.Close()
	}
	if t.Logf("%d copies, %d unfinished", whole, unfinished); unfinished == 0 {
		t.Error("nobody was killed within a backup")
	}
}

// ST-014: a process that dies with a lease does not keep the others waiting.
func TestDeadHolderGivesWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	alive, dying := openAt(t, dir), openAt(t, dir)
	c := &auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1}
	r := &auth.Request{ID: "r", Owner: auth.Local, State: auth.Created}
	if _, err := alive.CreateRequest(t.Context(), r, 1); err != nil {
		t.Fatal(err)
	}
	if err := alive.CompleteRequest(t.Context(), r, c, nil); err != nil {
		t.Fatal(err)
	}
	acquire := func(db *DB) bool {
		t.Helper()
		_, taken, err := db.AcquireRefresh(t.Context(), auth.Local, "c", 1, 1<<40)
		if err != nil {
			t.Fatal(err)
		}
		return taken
	}
	if !acquire(dying) || acquire(alive) {
		t.Fatal("one holder")
	}
	dying.lock.Close() // what the kernel does with a process that is killed
	if !acquire(alive) {
		t.Fatal("the dead holder was waited for")
	}
	if _, err := os.Stat(dying.holderFile(dying.id)); !os.IsNotExist(err) {
		t.Fatal("the dead holder's file is left")
	}
}

// ST-010: a power cut leaves the file and any first part of the WAL. Whatever part it
// is, the store opens, is whole, and holds the first so many commits.
func TestPowerCut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db := openAt(t, dir)
	if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	db.stop() // no checkpoint from here on
	db.tasks.Wait()
	write(t, db.AuditLog(testMAC), 12)
	path := filepath.Join(dir, "latchpost.db")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const header, frame = 32, 24 + pageSize
	var last int64
	for cut := header; cut <= len(wal); cut += frame {
		for _, cut := range []int{cut, cut - 1, cut + 24, cut + frame/2} {
			if cut > len(wal) || cut < 0 {
				continue
			}
			n := survives(t, file, wal[:cut])
			if n > 12 || (cut-header)%frame == 0 && n < last {
				t.Fatalf("after %d bytes of WAL %d events, before %d", cut, n, last)
			}
			if (cut-header)%frame == 0 {
				last = n
			}
		}
	}
	if last != 12 {
		t.Fatalf("%d of 12 with the whole WAL", last)
	}
	// A bit that flips in the middle makes commits vanish, and all looks whole. The anchor tells.
	l := db.audits()[0]
	if err := l.dropAnchor(); err != nil {
		t.Fatal(err)
	}
	anchor, err := os.ReadFile(filepath.Join(dir, anchorFile))
	if err != nil {
		t.Fatal(err)
	}
	rotten := append([]byte{}, wal...)
	rotten[len(rotten)/2] ^= 1
	if n := survives(t, file, rotten); n >= 12 {
		t.Fatal("nothing vanished")
	}
	report := verifyCopy(t, file, rotten, anchor)
	if len(report.Faults) != 1 || !strings.Contains(report.Faults[0].What, "the anchor remembers") {
		t.Fatal(report)
	}
}

func survives(t *testing.T, file, wal []byte) int64 {
	t.Helper()
	report := verifyCopy(t, file, wal, nil)
	if len(report.Faults) > 0 {
		t.Fatalf("after %d bytes of WAL: %v", len(wal), report.Faults)
	}
	return report.Events
}

// ST-022: a copy that is made while others write is consistent, private, and opens.
func TestBackupUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db := openAt(t, dir)
	l := db.AuditLog(testMAC)
	write(t, l, 20)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			err = l.Append(context.Background(), auth.Event{ID: rand.Text(), Owner: auth.Local})
		}
		done <- err
	}()
	copies := filepath.Join(t.TempDir(), "copies")
	if err := os.Mkdir(copies, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(copies, "latchpost.db")
	err := db.Backup(t.Context(), path)
	stop()
	if err := firstError(err, <-done); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	entries, err := os.ReadDir(copies)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	restored := openAt(t, copies)
	report, err := restored.AuditLog(testMAC).Verify(t.Context())
	if err != nil || len(report.Faults) > 0 || report.Events < 20 {
		t.Fatal(report, err)
	}
	if err := restored.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// ST-011, ST-022: what a killed backup leaves does not keep the next one from its place; one that is being written does,
// and so does what is not a backup's.
func TestBackupAfterAKilledOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db := openAt(t, dir)
	write(t, db.AuditLog(testMAC), 5)
	copies := filepath.Join(t.TempDir(), "copies")
	if err := os.Mkdir(copies, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(copies, "latchpost.db")
	unfinished := path + ".unfinished"
	running, err := openUnfinished(unfinished)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another backup writes") {
		t.Errorf("beside a backup that runs: %v", err)
	}
	if _, err := running.WriteString("half a backup"); err != nil {
		t.Fatal(err)
	}
	running.Close() // as the kernel does when the process is killed
	if err := os.Chmod(unfinished, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("over a stranger's file: %v", err)
	}
	if err := os.Chmod(unfinished, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(unfinished); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if report, err := openAt(t, copies).AuditLog(testMAC).Verify(t.Context()); err != nil || report.Events != 5 {
		t.Errorf("%+v, %v", report, err)
	}
}

// ST-022: of backups to one file at once, under two names of its directory, one is made, and none takes its place later.
func TestBackupsToOneFile(t *testing.T) {
	dir, copies := filepath.Join(t.TempDir(), "data"), t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(copies, other); err != nil {
		t.Fatal(err)
	}
	dbs := []*DB{openAt(t, dir), openAt(t, dir)}
	write(t, dbs[0].AuditLog(testMAC), 5)
	for round := range 6 {
		name := fmt.Sprint(round)
		var made atomic.Int64
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				path := filepath.Join([]string{copies, other}[i/2], name)
				for {
					err := dbs[i%2].Backup(t.Context(), path)
					if err == nil {
						made.Add(1)
					} else if strings.Contains(err.Error(), "is there already") {
						return
					}
				}
			})
		}
		all.Wait()
		c, err := openConn(filepath.Join(copies, name), asItStands)
		if err != nil {
			t.Fatal(err)
		}
		if err := firstError(quickCheck(t.Context(), c), c.Close()); err != nil || made.Load() != 1 {
			t.Fatalf("round %d: %d were made, %v", round, made.Load(), err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(copies, "*.unfinished")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

// ST-022: a backup is not put where the store itself would delete it, or write over it.
func TestBackupInOurPlace(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "other")
	db := openAt(t, dir)
	if err := os.Symlink(dir, other); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ballast", "audit.anchor", "holders/backup", "latchpost.db-journal", "latchpost.db.new"} {
		for _, dir := range []string{dir, other} {
			if err := db.Backup(t.Context(), filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), "name another file") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	kept := filepath.Join(dir, "latchpost.db.1")
	if err := errors.Join(db.Backup(t.Context(), kept), db.Close()); err != nil {
		t.Fatal(err)
	}
	openAt(t, dir)
	if size(kept) == 0 {
		t.Error("a backup in the data directory is gone")
	}
}

// A stop while the WAL is folded into the file leaves a header that counts pages which the file
// has not yet. Everything is in the WAL still, and another process may look just then.
func TestStoppedWithinCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	path := filepath.Join(dir, "latchpost.db")
	db, l := still(t, dir)
	write(t, l, 200)
	wal, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for pages := 1; pages < len(whole)/pageSize; pages += 3 {
		dir := filepath.Join(t.TempDir(), "stopped")
		path := filepath.Join(dir, "latchpost.db")
		if err := firstError(os.Mkdir(dir, 0o700), os.WriteFile(path, whole[:pages*pageSize], 0o600), os.WriteFile(path+"-wal", wal, 0o600)); err != nil {
			t.Fatal(err)
		}
		again := openAt(t, dir)
		report, err := again.AuditLog(testMAC).Verify(t.Context())
		if err := firstError(err, again.Check(t.Context())); err != nil || len(report.Faults) > 0 || report.Events != 200 {
			t.Fatalf("%d pages: %+v, %v", pages, report, err)
		}
		again.Close()
	}
}
