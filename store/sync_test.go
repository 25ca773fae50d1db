package store

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/latchpost/latchpost/auth"
)

// faultySync stands between SQLite and the files of one directory: it fails fsync as a broken disk does, and
// knows what is on that disk. As Linux does, it forgets with a failed fsync whatever had been written since the one before,
// though it can still be read.
type faultySync struct {
	dir   string
	file  atomic.Pointer[string] // the end of the name of the file whose syncs fail
	left  atomic.Int64           // how many more of them
	quota atomic.Bool            // writes to the WAL are refused, as by a quota
	after atomic.Int64           // syncs of that file that went well, since the first failure

	open     func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	write    func(tls *libc.TLS, file, data uintptr, n int32, at int64) int32
	truncate func(tls *libc.TLS, file uintptr, size int64) int32
	sync     func(tls *libc.TLS, file uintptr, flags int32) int32
	mu       sync.Mutex
	name     map[uintptr]string // of each open file in dir
	disk     map[string]*onDisk
	// SQLite keeps the addresses of these, which the collector does not see.
	opening    func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	writing    func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	truncating func(*libc.TLS, uintptr, int64) int32
	syncing    func(*libc.TLS, uintptr, int32) int32
	failures   atomic.Int64
}

// onDisk is a file as it is after a power cut.
type onDisk struct {
	data    []byte
	changes []written // since the last fsync
}

// written is a write, or with nil data a truncation.
type written struct {
	at   int64
	data []byte
}

func (d *onDisk) settle() {
	for _, c := range d.changes {
		end := c.at + int64(len(c.data))
		if c.data == nil && end < int64(len(d.data)) {
			d.data = d.data[:end]
		}
		if grow := end - int64(len(d.data)); grow > 0 {
			d.data = append(d.data, make([]byte, grow)...)
		}
		copy(d.data[c.at:], c.data)
	}
	d.changes = nil
}

// faulty opens a store on such a disk. Its keeper rests: the test takes its turns.
func faulty(t *testing.T, dir string) (*faultySync, *DB) {
	t.Helper()
	disk := newFaultySync(t, dir)
	db := openAt(t, dir)
	db.stop()
	db.tasks.Wait()
	return disk, db
}

// newFaultySync is on until the test ends.
func newFaultySync(t *testing.T, dir string) *faultySync {
	t.Helper()
	tls := libc.NewTLS()
	t.Cleanup(tls.Close)
	f := &faultySync{dir: dir, name: map[uintptr]string{}, disk: map[string]*onDisk{}}
	vfs := pointee[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	original := vfs.FxOpen
	f.open = function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](original)
	f.opening, f.writing, f.truncating, f.syncing = f.xOpen, f.xWrite, f.xTruncate, f.xSync
	vfs.FxOpen = *(*uintptr)(unsafe.Pointer(&f.opening))
	t.Cleanup(func() { vfs.FxOpen = original; runtime.KeepAlive(f) })
	return f
}

func (f *faultySync) xOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	code := f.open(tls, vfs, name, file, flags, outFlags)
	if code != sqlite3.SQLITE_OK || name == 0 || !strings.HasPrefix(libc.GoString(name), f.dir) {
		return code
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	// Each file has methods of its own: those of a journal differ from those of the database.
	opened := pointee[sqlite3.Tsqlite3_file](file)
	address := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
	methods := pointee[sqlite3.Tsqlite3_io_methods](address)
	*methods = *pointee[sqlite3.Tsqlite3_io_methods](opened.FpMethods)
	f.write = function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](methods.FxWrite)
	f.truncate = function[func(*libc.TLS, uintptr, int64) int32](methods.FxTruncate)
	f.sync = function[func(*libc.TLS, uintptr, int32) int32](methods.FxSync)
	methods.FxWrite = *(*uintptr)(unsafe.Pointer(&f.writing))
	methods.FxTruncate = *(*uintptr)(unsafe.Pointer(&f.truncating))
	methods.FxSync = *(*uintptr)(unsafe.Pointer(&f.syncing))
	opened.FpMethods = address
	f.name[file] = libc.GoString(name)
	if data, _ := os.ReadFile(f.name[file]); f.disk[f.name[file]] == nil || len(data) == 0 { // or deleted and made again
		f.disk[f.name[file]] = &onDisk{data: data}
	}
	return code
}

func (f *faultySync) xWrite(tls *libc.TLS, file, data uintptr, n int32, at int64) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.disk[f.name[file]]
	if f.quota.Load() && strings.HasSuffix(f.name[file], "-wal") {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	d.changes = append(d.changes, written{at, slices.Clone(unsafe.Slice(pointee[byte](data), n))})
	return f.write(tls, file, data, n, at)
}

func (f *faultySync) xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.disk[f.name[file]]
	d.changes = append(d.changes, written{at: size})
	return f.truncate(tls, file, size)
}

func (f *faultySync) xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.disk[f.name[file]]
	if broken := f.file.Load(); broken != nil && strings.HasSuffix(f.name[file], *broken) {
		if f.left.Add(-1) >= 0 {
			f.failures.Add(1)
			d.changes = nil
			return sqlite3.SQLITE_IOERR_FSYNC
		}
		f.after.Add(1)
	}
	d.settle()
	return f.sync(tls, file, flags)
}

// pointee is what lies at an address of SQLite's.
func pointee[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// function is the Go function at an address of SQLite's.
func function[F any](address uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{address})) }

// breaks lets the next syncs of a file whose name ends so fail.
func (f *faultySync) breaks(end string, times int64) {
	f.left.Store(times)
	f.file.Store(&end)
}

// afterPowerCut opens what is on the disk, elsewhere.
func (f *faultySync) afterPowerCut(t *testing.T) *DB {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, d := range f.disk {
		if base := filepath.Base(name); size(name) > 0 && (base == "latchpost.db" || base == "latchpost.db-wal") {
			if err := os.WriteFile(filepath.Join(dir, base), d.data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return openAt(t, dir)
}

// ST-031: after a failed fsync nobody knows what is on the disk, and the kernel answers the next one as if all
// were well. So the write is not acknowledged, nothing is released or renewed, and the handle is not synced again. What takes
// rights away is tried on files opened anew, and when it is on disk the store is whole again. What was
// acknowledged is there for the next process, and after a power cut.
func TestFailedSync(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk := newFaultySync(t, dir)
	db := openAt(t, dir)
	l := db.AuditLog(testMAC)
	c := &auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1}
	r := &auth.Request{ID: "r", Owner: auth.Local, State: auth.Created}
	if _, err := db.CreateRequest(t.Context(), r, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.CompleteRequest(t.Context(), r, c, nil); err != nil {
		t.Fatal(err)
	}
	db.stop() // no checkpoint meanwhile
	db.tasks.Wait()
	if err := db.Failed(); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var acked, late []string
	var writers sync.WaitGroup
	breaks := sync.OnceFunc(func() { disk.breaks("-wal", 1) })
	for range 8 {
		writers.Go(func() {
			for n := range 500 {
				id := rand.Text()
				if n == 5 {
					breaks()
				}
				failed := disk.failures.Load() > 0
				err := errors.Join(l.Append(t.Context(), auth.Event{ID: id, Owner: auth.Local, Kind: "call"}), db.SetMeta(t.Context(), id, id))
				if err != nil {
					if !errors.Is(err, ErrBroken) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acked = append(acked, id)
				if failed {
					late = append(late, id)
				}
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	if len(acked) < 8 || len(late) > 0 || disk.after.Load() != 0 {
		t.Errorf("%d writes were acknowledged, %d of them after the failure; the file was synced %d times more", len(acked), len(late), disk.after.Load())
	}
	for what, err := range map[string]error{
		"release": l.Append(t.Context(), auth.Event{ID: "x", Owner: auth.Local}),
		"failed":  db.Failed(),
		"checkpoint": func() error {
			if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil || disk.after.Load() != 0 {
				t.Errorf("checkpoint: %v, %d syncs", err, disk.after.Load())
			}
			return ErrBroken
		}(),
	} {
		if !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, taken, err := db.AcquireRefresh(t.Context(), auth.Local, "c", 1, 1<<40); taken || !errors.Is(err, ErrBroken) {
		t.Errorf("a renewal could begin: %v, %v", taken, err)
	}
	if _, err := db.Connection(t.Context(), auth.Local, "c"); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := errors.Join(db.RevokeConnection(t.Context(), auth.Local, "c", nil), db.Failed()); err != nil {
		t.Errorf("revoking on a disk that failed once: %v", err)
	}
	write(t, l, 1)
	cut := disk.afterPowerCut(t)
	db.Close()
	for what, next := range map[string]*DB{"the next process": openAt(t, dir), "after a power cut": cut} {
		for _, id := range acked {
			if _, err := next.Meta(t.Context(), id); err != nil {
				t.Errorf("%s: %s was acknowledged: %v", what, id, err)
			}
		}
		if c, err := next.Connection(t.Context(), auth.Local, "c"); err != nil || c.State != auth.Revoked {
			t.Errorf("%s: the connection is %+v, %v", what, c, err)
		}
		report, err := next.AuditLog(testMAC).Verify(t.Context())
		if err := errors.Join(err, next.Check(t.Context())); err != nil || len(report.Faults) > 0 || report.Events <= int64(len(acked)) {
			t.Errorf("%s: %d acknowledged, found %+v, %v", what, len(acked), report, err)
		}
		write(t, next.AuditLog(testMAC), 1)
	}
}

// ST-031, ST-011: a disk whose fsyncs fail now and then, of either file, while eight write and the store mends itself, and a
// power cut at the end: everything that was acknowledged is there.
func TestFailedSyncsAndPowerCut(t *testing.T) {
	for round := range 2 {
		dir := filepath.Join(t.TempDir(), "data")
		disk, db := faulty(t, dir)
		l := db.AuditLog(testMAC)
		var acked sync.Map
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for n := range 60 {
					id := rand.Text()
					if err := l.Append(t.Context(), auth.Event{ID: id, Owner: auth.Local, Kind: "call"}); err == nil {
						acked.Store(id, n)
					} else if !errors.Is(err, ErrBroken) {
						t.Error(err)
					}
					if n%20 == 10+round {
						disk.breaks([]string{"-wal", "latchpost.db"}[n/20%2], 1+int64(n%3))
					}
					if n%5 == 0 {
						k := keeper{}
						k.tick(t.Context(), db)
					}
				}
			})
		}
		all.Wait()
		if disk.failures.Load() < 5 {
			t.Errorf("only %d syncs failed", disk.failures.Load())
		}
		cut := disk.afterPowerCut(t)
		events, err := cut.AuditLog(testMAC).Events(t.Context(), auth.Local, auth.EventFilter{Limit: 10000})
		if err != nil {
			t.Fatal(err)
		}
		there := map[string]bool{}
		for _, e := range events {
			there[e.ID] = true
		}
		n := 0
		for id := range acked.Range {
			if n++; !there[id.(string)] {
				t.Errorf("%s was acknowledged and is gone", id)
			}
		}
		report, err := cut.AuditLog(testMAC).Verify(t.Context())
		if err := errors.Join(err, cut.Check(t.Context())); err != nil || len(report.Faults) > 0 || n < 100 {
			t.Errorf("%d acknowledged; found %+v, %v", n, report, err)
		}
		db.Close()
	}
}

// verifyKilled reads a copy of the files as the next process would find them, with what only the kernel has.
func verifyKilled(t *testing.T, dir string) Report {
	t.Helper()
	var files [2][]byte
	for i, name := range []string{"latchpost.db", "latchpost.db-wal"} {
		var err error
		if files[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return verifyCopy(t, files[0], files[1], nil)
}

// verifyCopy opens copies of a store, of its WAL and of its anchor, and reads them whole; nil is a file that is not there.
func verifyCopy(t *testing.T, file, wal, anchor []byte) Report {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "cut")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "latchpost.db")
	for name, data := range map[string][]byte{path: file, path + "-wal": wal, filepath.Join(dir, anchorFile): anchor} {
		if data == nil {
			continue
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db := openAt(t, dir)
	defer db.Close()
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := db.AuditLog(testMAC).Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// ST-031: a disk that fails for longer. Nothing is half done, what was asked for is refused with the reason, the pauses between
// tries grow, and when the disk works again so does the store, by itself, with a note for doctor.
func TestDiskFailsForLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk, db := faulty(t, dir)
	l := db.AuditLog(testMAC)
	write(t, l, 1)
	c := &auth.Connection{ID: "c", Owner: auth.Local, Provider: "p", Account: "a", State: auth.Active, Version: 1}
	r := &auth.Request{ID: "r", Owner: auth.Local, State: auth.Created}
	if _, err := db.CreateRequest(t.Context(), r, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.CompleteRequest(t.Context(), r, c, nil); err != nil {
		t.Fatal(err)
	}
	if at, err := db.FailedAt(t.Context()); !at.IsZero() || err != nil {
		t.Errorf("failed at %v, %v", at, err)
	}
	disk.breaks("-wal", 1<<40)
	if err := l.Append(t.Context(), auth.Event{ID: "x", Owner: auth.Local}); !errors.Is(err, ErrBroken) {
		t.Error(err)
	}
	if err := db.RevokeConnection(t.Context(), auth.Local, "c", nil); !errors.Is(err, ErrBroken) {
		t.Errorf("revoking: %v", err)
	}
	if c, err := db.Connection(t.Context(), auth.Local, "c"); err != nil || c.State != auth.Active {
		t.Errorf("a revocation that failed: %+v, %v", c, err)
	}
	if killed := verifyKilled(t, dir); killed.Events != 1 || len(killed.Faults) > 0 {
		t.Errorf("a process that is killed now leaves %+v", killed)
	}
	var k keeper
	before := disk.failures.Load()
	for range 200 {
		k.tick(t.Context(), db)
	}
	if tries := disk.failures.Load() - before; tries < 7 || tries > 9 {
		t.Errorf("%d tries in 200 seconds", tries)
	}
	disk.breaks("-wal", 0)
	for range slowest {
		k.tick(t.Context(), db)
	}
	if err := errors.Join(db.Failed(), db.RevokeConnection(t.Context(), auth.Local, "c", nil)); err != nil {
		t.Errorf("the disk works again: %v", err)
	}
	write(t, l, 1)
	if at, err := disk.afterPowerCut(t).FailedAt(t.Context()); err != nil || time.Since(at) > time.Minute {
		t.Errorf("failed at %v, %v", at, err)
	}
}

// ST-031: the same when the database file itself cannot be synced, while the log of changes is moved into it. The checkpoint
// before was held up by a reader, so what it had moved lay in the file without an fsync, and went with the one that failed.
func TestFailedSyncOfCheckpoint(t *testing.T) {
	for name, failures := range map[string]int64{"once": 1, "until the next process": 1 << 40, "and no rewinding": 1 << 41} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			disk, db := faulty(t, dir)
			l := db.AuditLog(testMAC)
			write(t, l, 20)
			err := db.snapshot(t.Context(), func(q querier) error {
				if _, err := heads(t.Context(), q, ``); err != nil {
					return err
				}
				write(t, l, 20)
				_, err := db.checkpoint(t.Context(), "PASSIVE")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			disk.breaks("latchpost.db", failures)
			if _, err := db.checkpoint(t.Context(), "PASSIVE"); !isIOError(err) {
				t.Fatal(err)
			}
			if err := l.Append(t.Context(), auth.Event{ID: "x", Owner: auth.Local}); !errors.Is(err, ErrBroken) || disk.after.Load() != 0 {
				t.Errorf("a write after it: %v, %d syncs", err, disk.after.Load())
			}
			events := int64(40)
			if failures == 1 {
				new(keeper).mend(t.Context(), db)
				write(t, l, 1)
				events++
			} else {
				if failures > 1<<40 {
					db.file.index, _ = os.Open(os.DevNull)
					db.file.index.Close()
				}
				if new(keeper).mend(t.Context(), db); db.Failed() == nil {
					t.Error("mended")
				}
				disk.breaks("latchpost.db", 0)
				db.Close()
				db = openAt(t, dir)
			}
			if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil {
				t.Fatal(err)
			}
			cut := disk.afterPowerCut(t)
			db.Close()
			for _, next := range []*DB{cut, openAt(t, dir)} {
				report, err := next.AuditLog(testMAC).Verify(t.Context())
				if err := errors.Join(err, next.Check(t.Context())); err != nil || len(report.Faults) > 0 || report.Events != events {
					t.Errorf("afterwards: %+v, %v", report, err)
				}
			}
		})
	}
}

// ST-020: a quota that is reached is a full disk, and not one that fails: the ballast is released for revoking.
func TestQuota(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk := newFaultySync(t, dir)
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: 1 << 16})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.stop()
	db.tasks.Wait()
	l := db.AuditLog(testMAC)
	write(t, l, 1)
	if err := db.layBallast(); err != nil {
		t.Fatal(err)
	}
	disk.quota.Store(true)
	tried := tryWrite
	defer func() { tryWrite = tried }()
	tryWrite = func(string) error { return &fs.PathError{Op: "write", Path: dir, Err: syscall.EDQUOT} }
	if err := l.Append(t.Context(), auth.Event{ID: "e"}); !errors.Is(err, auth.ErrAudit) || !errors.Is(err, ErrFull) || errors.Is(err, ErrBroken) {
		t.Errorf("a record: %v", err)
	}
	if err := db.EndGrant(t.Context(), auth.Local, "g"); !errors.Is(err, ErrFull) && !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("taking a grant back: %v", err)
	}
	disk.quota.Store(false)
	if err := db.layBallast(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), auth.Event{ID: "e"}); err != nil || db.Failed() != nil {
		t.Errorf("with room again: %v, %v", err, db.Failed())
	}
}
