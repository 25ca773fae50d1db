package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// sqliteConn is one connection to a SQLite file, with the statements that were
// prepared on it. One goroutine at a time. It speaks to SQLite without database/sql,
// which would cost a point read three times as much (docs/performance.md).
type sqliteConn struct {
	*sqlite.Conn
	prepared map[string]*sqlite.Stmt
	dir      string // of the file
	age      int64  // of its conns when it was opened
}

// settings of a connection.
type settings struct {
	flags   sqlite.OpenFlags
	query   string   // of the file's URI
	pragmas []string // in order: the page size counts only before the file is made
	checked bool     // the connection is refused if it does not answer what required says
}

const busyTimeout = 5 * time.Second

// openConn opens the file at path, which must be there.
func openConn(path string, how settings) (_ *sqliteConn, err error) {
	prepareProcess()
	uri := url.URL{Scheme: "file", Path: path, RawQuery: how.query}
	conn, err := sqlite.OpenConn(uri.String(), how.flags|sqlite.OpenURI)
	if err != nil {
		return nil, err
	}
	c := &sqliteConn{Conn: conn, dir: filepath.Dir(path), prepared: map[string]*sqlite.Stmt{}}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	c.SetBusyTimeout(busyTimeout)
	for _, p := range how.pragmas {
		if _, err := c.exec(context.Background(), "PRAGMA "+p); err != nil {
			return nil, err
		}
	}
	if how.checked {
		err = c.check()
	}
	return c, err
}

// pragma asks for one setting.
func (c *sqliteConn) pragma(name string) (any, error) {
	v, err := first(context.Background(), c, func(s scanner) (v any, err error) { return v, s.Scan(&v) }, "PRAGMA "+name)
	if err != nil {
		return nil, err
	}
	return *v, nil
}

// exec runs one statement, or without arguments several, and gives how many rows
// the last one changed.
func (c *sqliteConn) exec(_ context.Context, text string, args ...any) (int64, error) {
	if len(args) == 0 && strings.ContainsRune(text, ';') {
		return 0, sqlitex.ExecScript(c.Conn, text)
	}
	stmt, err := c.bound(text, args)
	if err != nil {
		return 0, err
	}
	for more := true; more; {
		if more, err = stmt.Step(); err != nil {
			return 0, c.full(err)
		}
	}
	return int64(c.Changes()), stmt.Reset()
}

// query begins a statement that gives rows. They must be closed before the same text runs again.
func (c *sqliteConn) query(_ context.Context, text string, args ...any) (rows, error) {
	stmt, err := c.bound(text, args)
	if err != nil {
		return nil, err
	}
	return &sqliteRows{stmt: stmt, conn: c}, nil
}

// bound is the statement for text, prepared once, with its arguments. To SQLite $1 is a
// name like any other: it numbers them as they come in the text.
func (c *sqliteConn) bound(text string, args []any) (*sqlite.Stmt, error) {
	stmt := c.prepared[text]
	if stmt == nil {
		var err error
		if stmt, err = c.Prepare(text); err != nil {
			return nil, err
		}
		c.prepared[text] = stmt // preparing again would clear what is bound, for which SQLite plans anew
	}
	if want := stmt.BindParamCount(); want != len(args) {
		return nil, fmt.Errorf("sqlite: %d arguments for a statement that takes %d", len(args), want)
	}
	for i := range args {
		name := stmt.BindParamName(i + 1)
		n, err := strconv.Atoi(strings.TrimPrefix(name, "$"))
		if err != nil || n < 1 || n > len(args) {
			return nil, fmt.Errorf("sqlite: there is no argument %s", name)
		}
		if err := bind(stmt, i+1, args[n-1]); err != nil {
			return nil, err
		}
	}
	return stmt, nil
}

// bind puts an argument in its place. Text that PostgreSQL would refuse is refused here too.
func bind(stmt *sqlite.Stmt, i int, arg any) error {
	switch v := arg.(type) {
	case string:
		if unclean(v) {
			return errUnstorable
		}
		stmt.BindText(i, v)
	case int64:
		stmt.BindInt64(i, v)
	case int:
		stmt.BindInt64(i, int64(v))
	case bool:
		stmt.BindBool(i, v)
	case []byte:
		if v == nil {
			stmt.BindNull(i)
			break
		}
		stmt.BindBytes(i, v)
	default: // a string with a name of its own, such as auth.State
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String {
			return bind(stmt, i, v.String())
		}
		return fmt.Errorf("sqlite: argument %d is a %T, which has no column type", i, arg)
	}
	return nil
}

// sqliteRows are the rows of a statement that runs.
type sqliteRows struct {
	stmt *sqlite.Stmt
	conn *sqliteConn
	over bool // a further step would run the statement again
	err  error
}

func (r *sqliteRows) Next() bool {
	if r.over {
		return false
	}
	more, err := r.stmt.Step()
	r.over, r.err = !more, r.conn.full(err)
	return more
}

func (r *sqliteRows) Err() error   { return r.err }
func (r *sqliteRows) Close() error { return r.stmt.Reset() }

// Scan copies the columns of the row. A value of another type than the column's says
// that somebody else wrote it: an error, like NULL where none can be.
func (r *sqliteRows) Scan(dest ...any) error {
	if n := r.stmt.ColumnCount(); n != len(dest) {
		return fmt.Errorf("sqlite: %d places for %d columns", len(dest), n)
	}
	for i, d := range dest {
		if err := column(r.stmt, i, d); err != nil {
			return err
		}
	}
	return nil
}

func column(stmt *sqlite.Stmt, i int, dest any) error {
	have := stmt.ColumnType(i)
	want := sqlite.TypeInteger
	switch d := dest.(type) {
	case *string:
		want = sqlite.TypeText
		*d = stmt.ColumnText(i)
	case *int64:
		*d = stmt.ColumnInt64(i)
	case *int:
		*d = stmt.ColumnInt(i)
	case *bool:
		*d = stmt.ColumnBool(i)
	case *[]byte:
		if *d = nil; have == sqlite.TypeNull {
			return nil
		}
		want = sqlite.TypeBlob
		*d = make([]byte, stmt.ColumnLen(i))
		stmt.ColumnBytes(i, *d)
	case *any:
		if have == sqlite.TypeInteger {
			*d = stmt.ColumnInt64(i)
			break
		}
		want = sqlite.TypeText
		*d = stmt.ColumnText(i)
	default:
		v := reflect.ValueOf(dest).Elem()
		if v.Kind() != reflect.String {
			return fmt.Errorf("sqlite: column %d does not go into a %T", i, dest)
		}
		want = sqlite.TypeText
		v.SetString(stmt.ColumnText(i))
	}
	if have != want {
		return fmt.Errorf("sqlite: column %d is %s, not %s", i, have, want)
	}
	return nil
}

// conns are up to n connections to a file, opened when they are first needed.
type conns struct {
	path string
	how  settings
	free chan *sqliteConn // nil stands for one that is not open yet
	age  atomic.Int64
	over sync.Once
}

func newConns(path string, how settings, n int) *conns {
	p := &conns{path: path, how: how, free: make(chan *sqliteConn, n)}
	for range n {
		p.free <- nil
	}
	return p
}

// use lends fn a connection. ctx counts until there is one.
func (p *conns) use(ctx context.Context, fn func(c *sqliteConn) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *sqliteConn
	select {
	case lent, open := <-p.free:
		if !open {
			return errClosed
		}
		c = lent
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { p.free <- c }()
	age := p.age.Load()
	if c != nil && c.age != age {
		_ = c.Close()
		c = nil
	}
	if c == nil {
		if c, err = openConn(p.path, p.how); err != nil {
			return err
		}
		c.age = age
	}
	return fn(c)
}

// renew has every connection opened again before its next use.
func (p *conns) renew() { p.age.Add(1) }

// close waits for those that are lent.
func (p *conns) close() (err error) {
	p.over.Do(func() {
		for range cap(p.free) {
			if c := <-p.free; c != nil {
				err = errors.Join(err, c.Close())
			}
		}
		close(p.free)
	})
	return err
}
