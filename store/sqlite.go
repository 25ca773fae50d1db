package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	engine "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
	"zombiezen.com/go/sqlite"
)

// applicationID marks a SQLite file as ours, in bytes 68 to 71: "LPST".
const applicationID = 0x4c505354

// sqliteFile is the SQLite side of a DB: connections that read, one that writes, one
// that checkpoints and copies.
type sqliteFile struct {
	path    string
	is      os.FileInfo // of path when it was opened
	readers *conns
	writer  *sqliteConn             // the group's alone; nil when read-only
	keeper  *conns                  // one; nil when read-only
	changes atomic.Pointer[changes] // nil: nothing is remembered
	ends    atomic.Bool             // nobody waits long any more
	waits   func()                  // told once of a lock that others keep for waitShown
	waited  atomic.Bool             // waits was called since the last transaction began
	index   *os.File                // of the WAL; nil until rewind needs it
	// ballastSeen is when the ballast was last seen to be whole, since processStart; 0 is never.
	ballastSeen atomic.Int64
}

// Settings of every connection, and of those that write. A lost commit can lose a
// rotated refresh token, so synchronous is FULL; an autocheckpoint in the writer
// costs 26 ms at the 99th percentile (measured), so the keeper does it, long before.
var (
	everyPragma = []string{"foreign_keys = 1", "synchronous = FULL", "secure_delete = 1", "trusted_schema = 0"}
	toWrite     = settings{
		flags: sqlite.OpenReadWrite, checked: true,
		pragmas: slices.Concat([]string{"page_size = 8192", "journal_mode = WAL"}, everyPragma, []string{"wal_autocheckpoint = 4000", "journal_size_limit = 67108864"}),
	}
	toRead = settings{
		flags: sqlite.OpenReadOnly, checked: true,
		pragmas: slices.Concat(everyPragma, []string{"query_only = 1", "cache_size = -2000"}),
	}
	// asItStands reads a file without a lock and without one beside it.
	asItStands = settings{flags: sqlite.OpenReadOnly, query: "immutable=1"}
)

// required is what a connection must answer; a setting that was ignored is noticed
// when the connection is made.
var required = []struct {
	pragma string
	is     any
}{
	{"journal_mode", "wal"},
	{"synchronous", int64(2)},
	{"foreign_keys", int64(1)},
	{"secure_delete", int64(1)},
	{"trusted_schema", int64(0)},
	{"busy_timeout", busyTimeout.Milliseconds()},
}

func (c *sqliteConn) check() error {
	for _, r := range required {
		v, err := c.pragma(r.pragma)
		if err != nil {
			return err
		}
		if v != r.is {
			return fmt.Errorf("sqlite: %s is %v on a new connection, which would not keep data safe", r.pragma, v)
		}
	}
	return nil
}

// prepareProcess is for the engine, before the first file is opened: closing any descriptor of
// a file would drop its POSIX locks. Where there are no others (not Linux), nothing here opens a file by hand.
var prepareProcess = sync.OnceFunc(func() { _, _ = engine.OFDLocking(true) })

// openSQLite opens the file at path. Until it is known to be ours it is not touched.
func (db *DB) openSQLite(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store %s: %w", path, db.notOurs(path, explainOpen(err)))
		}
	}()
	if err := db.preparePlace(ctx, path); err != nil {
		return err
	}
	if err := checkOurs(path); err != nil {
		return err
	}
	db.file = &sqliteFile{path: path}
	if db.opt.ReadOnly {
		return db.openReadOnly(ctx)
	}
	if err := db.openFile(ctx); err != nil {
		db.abandon()
		return err
	}
	db.keep()
	return nil
}

func (db *DB) openFile(ctx context.Context) (err error) {
	f := db.file
	if f.is, err = os.Stat(f.path); err != nil {
		return err
	}
	f.waits = func() { db.log().Warn("waiting: another process keeps " + filepath.Base(f.path) + " locked") }
	if f.writer, err = openConn(f.path, toWrite); err != nil {
		return err
	}
	f.keeper = newConns(f.path, toWrite, 1)
	f.readers = newConns(f.path, toRead, readers())
	db.group = newGroup(f.begin, isIOError, f.reopen)
	if err := db.migrate(ctx); err != nil {
		return err
	}
	db.countChanges()
	return db.enroll(ctx)
}

// readers is how many connections read: more than there are cores would let one that was
// preempted hold the lock.
func readers() int { return max(2, runtime.GOMAXPROCS(0)) }

// abandon closes what openFile had opened when it failed.
func (db *DB) abandon() {
	failed := false
	db.file.ends.Store(true)
	if db.group != nil {
		db.group.close()
		failed = db.group.failed() != nil
	}
	db.file.close(failed)
	if db.lock != nil {
		db.lock.Close()
	}
}

// openReadOnly opens the readers alone. On a disk that cannot be written SQLite
// cannot make its shared memory; then the file is read as it stands, if nothing
// is waiting in its WAL.
func (db *DB) openReadOnly(ctx context.Context) (err error) {
	for _, query := range []string{"", asItStands.query} {
		how := toRead
		how.query, how.checked = query, false // such a file has no journal
		db.file.readers = newConns(db.file.path, how, readers())
		var have int
		err = db.file.readers.use(ctx, func(c *sqliteConn) error {
			have, err = schemaVersion(ctx, c)
			return err
		})
		if err == nil {
			return db.checkSchema(have)
		}
		db.file.readers.close()
		if code := sqliteCode(err); code&0xff != sqlite3.SQLITE_CANTOPEN && code&0xff != sqlite3.SQLITE_READONLY && code&0xff != sqlite3.SQLITE_IOERR {
			return err
		}
		if size(db.file.path+"-wal") > 0 {
			return fmt.Errorf("changes wait in %s-wal and the directory cannot be written; make it writable, or copy both files to a place that is", db.file.path)
		}
	}
	return err
}

// close ends the readers first, so that the last one that writes can fold the WAL into the file. After a failed
// fsync it must not: the next process reads the WAL anew, all of it.
func (f *sqliteFile) close(failed bool) error {
	writers := func() error {
		var errs [3]error
		if f.keeper != nil {
			errs[0] = f.keeper.close()
		}
		if f.writer != nil {
			errs[1] = f.writer.Close()
		}
		if counts := f.changes.Swap(nil); counts != nil {
			errs[2] = counts.close()
		}
		return firstError(errs[:]...)
	}
	if failed { // one that only reads is last
		_ = f.readers.use(context.Background(), func(c *sqliteConn) error { _, err := c.pragma("schema_version"); return err })
		return firstError(writers(), f.readers.close())
	}
	var err error
	if f.readers != nil {
		err = f.readers.close()
	}
	return firstError(err, writers())
}

// reopen is for the group, after a failed fsync: what SQLite and the kernel hold in memory may not be on the
// disk, and a second fsync would not say so. What was committed lies in the WAL by an fsync of its own; all of it is
// written into the file anew, and synced. The new connection is there before the old one goes, which would else fold in what
// it takes for the rest.
func (f *sqliteFile) reopen() error {
	if f.gone() {
		return ErrGone
	}
	ctx := context.Background()
	fresh, err := openConn(f.path, toWrite)
	if err != nil {
		return err
	}
	_ = f.writer.Close()
	f.writer = fresh
	f.keeper.renew()
	tx, err := f.begin(ctx)
	if err != nil {
		return err
	}
	if err := firstError(f.rewind(), tx.Rollback()); err != nil {
		return err
	}
	_, err = fresh.exec(ctx, `PRAGMA wal_checkpoint(PASSIVE)`)
	return err
}

// sqliteTx is the transaction of the writer's connection. It notes whose rows were changed, so
// that all processes forget what they remember of them.
type sqliteTx struct {
	*sqliteConn
	counts  *changes
	slot    int // of the job that runs
	changed []int
}

func (t *sqliteTx) of(slot int) { t.slot = slot }

func (t *sqliteTx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	n, err := t.sqliteConn.exec(ctx, text, args...)
	if n > 0 && changesRemembered(text) {
		t.note()
	}
	return n, err
}

func (t *sqliteTx) query(ctx context.Context, text string, args ...any) (rows, error) {
	r, err := t.sqliteConn.query(ctx, text, args...)
	if err == nil && changesRemembered(text) { // with RETURNING
		r = changing{r, t}
	}
	return r, err
}

type changing struct {
	rows
	tx *sqliteTx
}

func (c changing) Next() bool {
	more := c.rows.Next()
	if more {
		c.tx.note()
	}
	return more
}

func (t *sqliteTx) note() {
	if t.slot != nobodys && !slices.Contains(t.changed, t.slot) {
		t.changed = append(t.changed, t.slot)
	}
}

// gone reports whether the file at path is another one than was opened, or none.
func (f *sqliteFile) gone() bool {
	is, err := os.Stat(f.path)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(is, f.is)
}

// waitShown is how long a person wonders what is going on.
const waitShown = 2 * time.Second

// begin is for the group. Behind another process's large transaction the busy
// timeout can pass; then it waits on.
func (f *sqliteFile) begin(ctx context.Context) (transaction, error) {
	if f.gone() {
		return nil, ErrGone
	}
	wait := time.AfterFunc(waitShown, func() {
		if f.waits != nil && f.waited.CompareAndSwap(false, true) {
			f.waits()
		}
	})
	defer wait.Stop()
	for try := 0; ; try++ {
		_, err := f.writer.exec(ctx, `BEGIN IMMEDIATE`)
		if err == nil {
			f.waited.Store(false)
			return &sqliteTx{sqliteConn: f.writer, counts: f.changes.Load()}, nil
		}
		if !isLocked(err) || try == 5 || f.ends.Load() {
			return nil, err
		}
	}
}

// Commit counts the changes as begun first. After an error nobody knows what stands, and they
// stay so: nothing is remembered until the next writer has come to its end.
func (t *sqliteTx) Commit() error {
	if t.counts == nil || len(t.changed) == 0 {
		_, err := t.exec(context.Background(), `COMMIT`)
		return err
	}
	begun := t.counts.begin(t.changed)
	if _, err := t.exec(context.Background(), `COMMIT`); err != nil {
		return err
	}
	t.counts.end(t.changed, begun)
	return nil
}

func (t *sqliteTx) Rollback() error {
	_, err := t.exec(context.Background(), `ROLLBACK`)
	return err
}

// keep starts what a SQLite file needs now and then. Close waits for it.
func (db *DB) keep() {
	ctx, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.tasks.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		var k keeper
		for {
			select {
			case <-tick.C:
				k.tick(ctx, db)
			case <-ctx.Done():
				return
			}
		}
	})
}

// sqliteCode is SQLite's extended result code: 0 for nil, 1 for what is no error of SQLite's.
func sqliteCode(err error) int { return int(sqlite.ErrCode(err)) }

func isFull(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_IOERR_SHMSIZE || errors.Is(err, ErrFull)
}

// isLocked says that another process was not done with its write.
func isLocked(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY }

// isIOError says that what reached the disk is unknown (a failed fsync): the same
// handle must not go on as if nothing had happened.
func isIOError(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_IOERR && !isFull(err) }

// isTaken says that a row with this key is there already.
func isTaken(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || pgCode(err) == "23505"
}

func isNotADatabase(err error) bool {
	return sqliteCode(err) == sqlite3.SQLITE_NOTADB || err != nil && strings.Contains(err.Error(), "file is not a database")
}
