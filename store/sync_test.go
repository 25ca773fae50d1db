package store

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/latchpost/latchpost/auth"
)

// faultySync stands between SQLite and the files of one directory, and fails fsync as a broken disk does.
type faultySync struct {
	dir   string
	file  atomic.Pointer[string] // the end of the name of the file whose next sync fails
	after atomic.Int64           // syncs of that file since it failed

	open func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	sync func(tls *libc.TLS, file uintptr, flags int32) int32
	mu   sync.Mutex
	name map[uintptr]string // of each open file in dir
	// SQLite keeps the addresses of these, which the collector does not see.
	opening  func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32
	syncing  func(*libc.TLS, uintptr, int32) int32
	failures atomic.Int64
}

// newFaultySync is on until the test ends.
func newFaultySync(t *testing.T, dir string) *faultySync {
	t.Helper()
	tls := libc.NewTLS()
	t.Cleanup(tls.Close)
	f := &faultySync{dir: dir, name: map[uintptr]string{}}
	vfs := pointee[sqlite3.Tsqlite3_vfs](sqlite3.Xsqlite3_vfs_find(tls, 0))
	original := vfs.FxOpen
	f.open = *(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&struct{ uintptr }{original}))
	f.opening, f.syncing = f.xOpen, f.xSync
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
	f.sync = *(*func(*libc.TLS, uintptr, int32) int32)(unsafe.Pointer(&struct{ uintptr }{methods.FxSync}))
	methods.FxSync = *(*uintptr)(unsafe.Pointer(&f.syncing))
	opened.FpMethods = address
	f.name[file] = libc.GoString(name)
	return code
}

func (f *faultySync) xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f.mu.Lock()
	name, sync := f.name[file], f.sync
	f.mu.Unlock()
	if broken := f.file.Load(); broken != nil && strings.HasSuffix(name, *broken) {
		if f.failures.CompareAndSwap(0, 1) {
			return sqlite3.SQLITE_IOERR_FSYNC
		}
		f.after.Add(1)
	}
	return sync(tls, file, flags)
}

// pointee is what lies at an address of SQLite's.
func pointee[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// breaks lets the next fsync of a file whose name ends so fail, once.
func (f *faultySync) breaks(end string) { f.file.Store(&end) }

// ST-031: after one failed fsync nobody knows what is on the disk, and the kernel answers the next one as if all
// were well. So the write is not acknowledged, nothing is written by this process any more, not even what is written
// on a full disk, and the handle is not synced again. What was acknowledged is there for the next process.
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
	for range 8 {
		writers.Go(func() {
			for n := range 500 {
				id := rand.Text()
				if n == 5 {
					disk.breaks("-wal")
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
		"revoke":  db.RevokeConnection(t.Context(), auth.Local, "c", nil),
		"failed":  db.Failed(),
		"checkpoint": func() error {
			if err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil || disk.after.Load() != 0 {
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
	db.Close()

	next := openAt(t, dir)
	for _, id := range acked {
		if _, err := next.Meta(t.Context(), id); err != nil {
			t.Errorf("%s was acknowledged: %v", id, err)
		}
	}
	report, err := next.AuditLog(testMAC).Verify(t.Context())
	if err := errors.Join(err, next.Check(t.Context())); err != nil || len(report.Faults) > 0 || report.Events < int64(len(acked)) {
		t.Errorf("%d acknowledged; the next process finds %+v, %v", len(acked), report, err)
	}
	write(t, next.AuditLog(testMAC), 1)
}

// ST-031: the same when the database file itself cannot be synced, while the log of changes is moved into it.
func TestFailedSyncOfCheckpoint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	disk := newFaultySync(t, dir)
	db := openAt(t, dir)
	db.stop()
	db.tasks.Wait()
	l := db.AuditLog(testMAC)
	write(t, l, 20)
	disk.breaks("latchpost.db")
	if err := db.checkpoint(t.Context(), "PASSIVE"); !isIOError(err) {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), auth.Event{ID: "x", Owner: auth.Local}); !errors.Is(err, ErrBroken) || disk.after.Load() != 0 {
		t.Errorf("a write after it: %v, %d syncs", err, disk.after.Load())
	}
	db.Close()
	report, err := openAt(t, dir).AuditLog(testMAC).Verify(t.Context())
	if err != nil || len(report.Faults) > 0 || report.Events != 20 {
		t.Errorf("the next process finds %+v, %v", report, err)
	}
}
