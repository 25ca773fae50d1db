package store

import (
	"errors"
	"fmt"
	"slices"

	sqlite3 "modernc.org/sqlite/lib"
)

var (
	// ErrFull says that the disk is full. Nothing is written; rows can still be read.
	ErrFull = errors.New("the disk is full: make room on it, or run latchpost doctor --release-ballast, then try again")
	// ErrDamaged says that the file is not, or not any more, a sound store. It is left as it is.
	ErrDamaged = errors.New("the file is damaged or no database: keep a copy of it, then restore a backup with latchpost restore")
	// ErrReadOnly says that the file or its directory cannot be written.
	ErrReadOnly = errors.New("the store is read-only: nothing can be released, granted or connected until its directory can be written")
	// ErrForeign says that the file is another program's.
	ErrForeign = errors.New("this is another program's database: name another file with --store")
	// ErrGone says that the file is not where it was opened: what is written to it is lost when the process ends.
	ErrGone = errors.New("the store's file was deleted, moved or replaced while it was in use, so nothing can be released, granted or connected: put it back, or end all latchpost processes and start them again")
	// ErrBroken says that a write failed on the way to the disk, or was not tried because one before it had.
	ErrBroken = errors.New("the disk failed during a write, so nothing can be released, granted or connected until one succeeds: look at the disk (dmesg); latchpost goes on by itself")
	// ErrUnwritable says that PostgreSQL answers but takes no writes.
	ErrUnwritable = errors.New("PostgreSQL takes no writes, because it is a standby, was made read-only or has no room left, so nothing can be released, granted or connected until it does: look at the server; of several in the URL, target_session_attrs=read-write finds the one that takes them")
	// ErrSilent says that PostgreSQL has not answered.
	ErrSilent = errors.New("PostgreSQL has not answered for 15 seconds, so nothing can be released, granted or connected until it does: look at the server and the network between; latchpost goes on by itself")
	// ErrLocked says that another process has not let go of the file's lock for writing.
	ErrLocked = errors.New("another process keeps the store's file locked, so nothing can be released, granted or connected until it lets go: see who has the file open (fuser -v) and end that one, or let it go on if it was stopped")
)

// explain puts a sentence for people before what the database says.
func (db *DB) explain(err error) error {
	switch {
	case db.file != nil:
		return db.file.explain(err)
	case isUnwritable(err):
		return fmt.Errorf("%w (%w)", ErrUnwritable, err)
	}
	return err
}

// explain puts a sentence for people before what SQLite says.
func (f *sqliteFile) explain(err error) error {
	code := sqliteCode(err)
	if code == 0 || told(err) {
		return err
	}
	switch {
	case isFull(err):
		return fmt.Errorf("%w (%w)", ErrFull, err)
	case isNotADatabase(err) || code&0xff == sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	case code&0xff == sqlite3.SQLITE_READONLY || code&0xff == sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	case isLocked(err):
		return fmt.Errorf("%w (%w)", ErrLocked, err)
	case code&0xff == sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w (%w)", ErrBroken, err)
	}
	return err
}

// told reports whether there is a sentence for people before err already.
func told(err error) bool {
	return slices.ContainsFunc([]error{ErrFull, ErrDamaged, ErrReadOnly, ErrLocked, ErrBroken, ErrGone}, func(says error) bool { return errors.Is(err, says) })
}

// errOpenedToRead is ErrReadOnly behind a sentence that says what that means.
var errOpenedToRead error = openedToRead{}

type openedToRead struct{}

func (openedToRead) Error() string { return "it was opened for reading only" }
func (openedToRead) Unwrap() error { return ErrReadOnly }

func explainOpen(err error) error { return (*sqliteFile)(nil).explain(err) }
