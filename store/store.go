// Package store keeps everything Latchpost has to remember, in one SQLite file or
// in PostgreSQL, with one SQL text for both. Start at Open; *DB then implements
// every store interface of package auth and seal.KeyStore. A method reads through
// db.read, or changes rows in one transaction through db.write, with its whole SQL
// in sight; what is asked before every call is remembered (memory.go) until a process
// changes it (changes.go). Writes to SQLite are committed in groups (group.go): one fsync for all
// that wait. Nothing here knows a key: what is secret comes sealed.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/seal"
)

// Options say where the store is.
type Options struct {
	// URL is sqlite:/path/latchpost.db (made when it is not there) or postgres://...
	URL string
	// Dir is the data directory: made 0700 when it is not there. It holds the lock files of the
	// processes and the anchor of the audit log. "" with SQLite: where the file is;
	// "" with PostgreSQL: no anchor.
	Dir string
	// ReadOnly opens a SQLite file that cannot be written, on a read-only disk too; every write fails with ErrReadOnly.
	ReadOnly bool
	// UnsafePlaintext allows PostgreSQL on another host without TLS.
	UnsafePlaintext bool
	// Ballast is the size of the file that is kept beside the SQLite file, to be deleted when the disk is full.
	// 0 = 16 MiB, negative = none.
	Ballast int64
	Now     func() time.Time // nil: time.Now, and for leases in PostgreSQL its own clock
	Log     *slog.Logger     // nil discards
}

// DB is the store. Safe for concurrent use.
type DB struct {
	opt   Options
	dir   string
	id    string      // of this process in this store
	file  *sqliteFile // nil with PostgreSQL
	pg    *postgres   // nil with SQLite
	group *group      // nil when read-only
	lock  *os.File    // locked as long as this process lives; SQLite only

	declared []string // by Declare
	touch    touched
	known    struct { // what was read lately
		tokens   memory[string, *Token]
		granted  memory[grantedKey, granted]
		standing memory[standingKey, standing]
	}
	stop   context.CancelFunc
	tasks  sync.WaitGroup
	logsMu sync.Mutex
	logs   []*Log
}

var (
	_ auth.ConnectionStore = (*DB)(nil)
	_ auth.RefreshStore    = (*DB)(nil)
	_ auth.RequestStore    = (*DB)(nil)
	_ auth.PendingStore    = (*DB)(nil)
	_ auth.GrantStore      = (*DB)(nil)
	_ auth.ApprovalStore   = (*DB)(nil)
	_ auth.AppStore        = (*DB)(nil)
	_ auth.RevocationStore = (*DB)(nil)
	_ seal.KeyStore        = (*DB)(nil)
	_ auth.AuditLog        = (*Log)(nil)
)

// Open opens the store, makes it when it is not there, and migrates it. What is
// damaged, newer than this program or another program's is refused and left as it is.
func Open(ctx context.Context, opt Options) (*DB, error) {
	if err := CheckURL(opt.URL); err != nil {
		return nil, err
	}
	db := &DB{opt: opt, dir: opt.Dir, id: rand.Text()}
	db.known.granted.tells = db.tellStanding
	path, file := strings.CutPrefix(opt.URL, "sqlite:")
	var err error
	if !file {
		err = db.openPostgres(ctx)
	} else if path, err = filepath.Abs(path); err == nil {
		err = db.openSQLite(ctx, path)
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// CheckURL reports whether a store can be at such a URL, without looking for one.
func CheckURL(text string) error {
	const use = "use sqlite:/path/latchpost.db or postgres://user@host/database"
	u, err := url.Parse(text)
	switch {
	case err != nil: // it may hold a password
		return errors.New("store URL: not a URL; " + use)
	case u.Scheme == "postgres" || u.Scheme == "postgresql":
		return nil
	case u.Scheme != "sqlite":
		return fmt.Errorf("store URL: scheme %q is not known; %s", u.Scheme, use)
	case text == "sqlite:":
		return errors.New("store URL: no path; use sqlite:/path/latchpost.db")
	}
	return nil
}

// Close writes what is queued and ends. Leases of this process are free afterwards. Where another process keeps the file
// locked it gives up after seconds.
func (db *DB) Close() error {
	if db.stop != nil {
		db.stop()
		db.tasks.Wait()
	}
	if db.group != nil {
		ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
		defer cancel()
		if db.file != nil {
			db.file.ends.Store(true)
		}
		db.release(ctx)
		db.group.close()
	}
	var err error
	if db.pg != nil {
		err = db.pg.pool.Close()
	} else {
		failed, gone := db.group != nil && db.group.failed() != nil, db.group != nil && db.file.gone()
		if failed && !gone {
			_ = db.file.reopen() // for the next process
		}
		err = db.file.close(failed || gone) // what lies there now is not ours to fold in
	}
	if db.lock != nil {
		err = firstError(err, db.lock.Close())
	}
	return err
}

// release gives up what this process holds, so that others need not wait for it.
func (db *DB) release(ctx context.Context) {
	if err := db.noteUses(ctx); err != nil {
		db.log().Warn("times of use not noted", "error", err)
	}
	for _, l := range db.audits() {
		if err := firstError(l.spread(ctx), l.release(ctx)); err != nil {
			db.log().Warn("audit log not released", "error", err)
		}
	}
	if err := db.bury(ctx, db.id); err != nil {
		db.log().Warn("leases not released", "error", err)
	}
}

// Holder names this process in leases.
func (db *DB) Holder() string { return db.id }

func (db *DB) now() time.Time {
	if db.opt.Now != nil {
		return db.opt.Now()
	}
	return time.Now()
}

func (db *DB) log() *slog.Logger {
	if db.opt.Log != nil {
		return db.opt.Log
	}
	return slog.New(slog.DiscardHandler)
}

// read runs fn on committed rows. fn may run twice.
func (db *DB) read(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	if db.pg != nil {
		return db.pg.read(ctx, fn)
	}
	return db.file.explain(db.file.readers.use(ctx, func(c *sqliteConn) error { return fn(ctx, c) }))
}

// write runs fn in one transaction; it is on disk when write returns nil. fn may run
// more than once, and sees the rows as if it were alone. ctx counts until fn starts.
func (db *DB) write(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return db.put(ctx, &job{run: fn, slot: everyone})
}

// writeOf is write for a change of one owner's rows: what is remembered of the others stands.
func (db *DB) writeOf(ctx context.Context, o auth.Owner, fn func(ctx context.Context, q querier) error) error {
	return db.put(ctx, &job{run: fn, slot: slotOf(o)})
}

// mustWrite and mustWriteOf are for what cannot wait: taking rights away, and keeping a token
// that was rotated. They work on a full disk too, on the room that the ballast kept, and are
// tried once more on a disk that has failed.
func (db *DB) mustWrite(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return db.mustPut(ctx, &job{run: fn, slot: everyone})
}

func (db *DB) mustWriteOf(ctx context.Context, o auth.Owner, fn func(ctx context.Context, q querier) error) error {
	return db.mustPut(ctx, &job{run: fn, slot: slotOf(o)})
}

func (db *DB) put(ctx context.Context, j *job) error {
	switch {
	case db.group == nil:
		return auth.ErrConfig.Say("Latchpost's store cannot be written, so nothing can be connected, allowed or ended; the operator has to make its directory writable").Because(errOpenedToRead)
	case db.pg != nil:
		err := db.pg.write(ctx, j.run)
		db.group.note(err)
		return db.explain(err)
	case db.spent():
		return ErrFull
	}
	return db.file.explain(db.group.do(ctx, j))
}

func (db *DB) mustPut(ctx context.Context, j *job) error {
	err := db.put(ctx, j)
	if db.file != nil && (errors.Is(err, ErrBroken) || isFull(err) && db.spendBallast()) {
		return db.file.explain(db.group.do(ctx, &job{run: j.run, slot: j.slot, mends: true}))
	}
	return err
}

// Failed gives ErrGone when the file is not there any more, ErrFull, ErrLocked, ErrUnwritable and ErrSilent when the last write found no room, not
// its turn, no server that writes or none that answers, and ErrBroken when the disk has failed a write. Then only what mustWrite writes is tried, and a note now and then, on
// files opened anew, until one such write is on disk. Rows can still be read.
func (db *DB) Failed() error {
	switch {
	case db.group == nil:
		return nil
	case db.file == nil: // PostgreSQL
	case db.file.gone():
		return ErrGone
	case db.spent():
		return ErrFull
	}
	if why := db.group.refused.Load(); why != nil {
		return db.explain(*why)
	}
	return db.explain(db.group.failed())
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
