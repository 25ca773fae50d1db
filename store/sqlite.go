package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// applicationID marks a SQLite file as ours, in bytes 68 to 71: "LPST".
const applicationID = 0x4c505354

// sqliteFile is the SQLite side of a DB: one connection that writes, one that
// checkpoints and copies. The readers are DB.pool.
type sqliteFile struct {
	path   string
	writer *sql.DB
	conn   *sql.Conn   // the one of writer; the group's alone
	writes *statements // prepared on conn
	keeper *sql.DB
	spent  atomic.Bool // the ballast was given up: only mustWrite may write
}

// Settings of every connection, and of writers. perf.md has the measurements: a
// lost commit can lose a rotated refresh token, so synchronous is FULL; an
// autocheckpoint in the writer would cost 26 ms at the 99th percentile.
const (
	everyDSN  = "_busy_timeout=5000&_foreign_keys=1&_synchronous=FULL&_dqs=0&_pragma=secure_delete(1)&_pragma=trusted_schema(0)"
	writerDSN = everyDSN + "&_journal_mode=WAL&_txlock=immediate&_defensive=1&_pragma=page_size(8192)&_pragma=wal_autocheckpoint(4000)&_pragma=journal_size_limit(67108864)"
	readerDSN = everyDSN + "&mode=ro&_query_only=1&_pragma=cache_size(-2000)"
)

// required is what every connection must answer; a driver that ignores a
// setting is noticed when the connection is made.
var required = []struct {
	pragma string
	is     func(v any) bool
}{
	{"journal_mode", func(v any) bool { return v == "wal" }},
	{"synchronous", func(v any) bool { return v == int64(2) }},
	{"foreign_keys", func(v any) bool { return v == int64(1) }},
	{"secure_delete", func(v any) bool { return v == int64(1) }},
	{"trusted_schema", func(v any) bool { return v == int64(0) }},
	{"busy_timeout", func(v any) bool { n, ok := v.(int64); return ok && n > 0 }},
}

// checked is a connector whose connections are checked against required.
type checked struct{ driver.Connector }

func (c checked) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range required {
		v, err := pragma(ctx, conn, r.pragma)
		if err == nil && !r.is(v) {
			err = fmt.Errorf("sqlite: %s is %v on a new connection, which would not keep data safe", r.pragma, v)
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

func pragma(ctx context.Context, conn driver.Conn, name string) (any, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	v := make([]driver.Value, 1)
	if err := rows.Next(v); err != nil {
		return nil, err
	}
	return v[0], nil
}

var prepareProcess = sync.OnceFunc(func() {
	// Closing any descriptor of the file would drop POSIX locks; where there are no
	// others (not Linux), nothing here opens the file by hand.
	_, _ = sqlite.OFDLocking(true)
	sqlite.StrictPragmas(true)
})

// sqlitePool opens path with settings and at most n connections, which stay.
func sqlitePool(path, settings string, n int, wrap func(driver.Connector) driver.Connector) (*sql.DB, error) {
	prepareProcess()
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: path}).String() + "?" + settings)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(wrap(connector))
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	return pool, nil
}

func withChecks(c driver.Connector) driver.Connector    { return checked{c} }
func withoutChecks(c driver.Connector) driver.Connector { return c }

// openSQLite opens the file at path. Until it is known to be ours it is not touched.
func (db *DB) openSQLite(ctx context.Context, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store %s: %w", path, explainOpen(err))
		}
	}()
	if err := db.preparePlace(ctx, path); err != nil {
		return err
	}
	if err := checkOurs(ctx, path); err != nil {
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
	if f.writer, err = sqlitePool(f.path, writerDSN, 1, withChecks); err != nil {
		return err
	}
	if f.keeper, err = sqlitePool(f.path, writerDSN, 1, withChecks); err != nil {
		return err
	}
	// A pool larger than the cores lets a preempted reader hold the lock (perf.md 1.3).
	if db.pool, err = sqlitePool(f.path, readerDSN, max(2, runtime.GOMAXPROCS(0)), withChecks); err != nil {
		return err
	}
	if f.conn, err = f.writer.Conn(ctx); err != nil {
		return err
	}
	f.writes = &statements{prepare: f.conn.PrepareContext}
	db.group = newGroup(f.begin, isIOError)
	db.rows = &statements{prepare: db.pool.PrepareContext}
	if err := db.migrate(ctx); err != nil {
		return err
	}
	return db.enroll(ctx)
}

// abandon closes what openFile had opened when it failed.
func (db *DB) abandon() {
	if db.group != nil {
		db.group.close()
	}
	if db.pool != nil {
		db.pool.Close()
	}
	db.file.close()
	if db.lock != nil {
		db.lock.Close()
	}
}

// openReadOnly opens the readers alone. On a disk that cannot be written SQLite
// cannot make its shared memory; then the file is read as it stands, if nothing
// is waiting in its WAL.
func (db *DB) openReadOnly(ctx context.Context) (err error) {
	for _, how := range []string{"", "&immutable=1"} {
		if db.pool, err = sqlitePool(db.file.path, readerDSN+how, max(2, runtime.GOMAXPROCS(0)), withoutChecks); err != nil {
			return err
		}
		db.rows = &statements{prepare: db.pool.PrepareContext}
		var have int
		if have, err = schemaVersion(ctx, db.rows); err == nil {
			return db.checkSchema(have)
		}
		db.pool.Close()
		if code := sqliteCode(err); code&0xff != sqlite3.SQLITE_CANTOPEN && code&0xff != sqlite3.SQLITE_READONLY && code&0xff != sqlite3.SQLITE_IOERR {
			return err
		}
		if size(db.file.path+"-wal") > 0 {
			return fmt.Errorf("changes wait in %s-wal and the directory cannot be written; make it writable, or copy both files to a place that is", db.file.path)
		}
	}
	return err
}

// close ends the connections that write; the readers must be closed already, so
// that the last one can fold the WAL into the file.
func (f *sqliteFile) close() error {
	var errs [3]error
	if f.keeper != nil {
		errs[0] = f.keeper.Close()
	}
	if f.conn != nil {
		f.writes.close() // a connection with open statements would not end, nor tell
		errs[1] = f.conn.Close()
	}
	if f.writer != nil {
		errs[2] = f.writer.Close()
	}
	return firstError(errs[:]...)
}

// sqliteTx is the transaction of the writer's connection.
type sqliteTx struct{ *statements }

// begin is for the group. Behind another process's large transaction the busy
// timeout can pass; then it waits on.
func (f *sqliteFile) begin(ctx context.Context) (transaction, error) {
	for try := 0; ; try++ {
		_, err := f.writes.ExecContext(ctx, `BEGIN IMMEDIATE`)
		if err == nil {
			return sqliteTx{f.writes}, nil
		}
		if sqliteCode(err)&0xff != sqlite3.SQLITE_BUSY || try == 5 {
			return nil, err
		}
	}
}

func (t sqliteTx) Commit() error {
	_, err := t.ExecContext(context.Background(), `COMMIT`)
	return err
}

func (t sqliteTx) Rollback() error {
	_, err := t.ExecContext(context.Background(), `ROLLBACK`)
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

func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func isFull(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_IOERR_SHMSIZE || errors.Is(err, ErrFull)
}

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
