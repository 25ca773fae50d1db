package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	sqlite3 "modernc.org/sqlite/lib"
)

// notOurs says, of an error of opening the store at path, whether it comes from whose the files are or from their modes. What the
// system and SQLite say of that (permission denied, unable to open, read-only) names neither.
func (db *DB) notOurs(path string, err error) error {
	code := sqliteCode(err) & 0xff
	if !errors.Is(err, fs.ErrPermission) && code != sqlite3.SQLITE_CANTOPEN && code != sqlite3.SQLITE_READONLY && code != sqlite3.SQLITE_PERM {
		return err
	}
	if _, outside := os.Lstat(db.dir); errors.Is(outside, fs.ErrPermission) {
		return because{fmt.Sprintf("%s is in a directory that %s may not enter: run latchpost as the user to whom it belongs, or name another directory with --data", db.dir, userName(os.Geteuid())), err}
	}
	holders := filepath.Join(db.dir, "holders")
	for _, place := range []string{db.dir, filepath.Dir(path), path, path + "-wal", path + "-shm", filepath.Join(db.dir, "create.lock"), holders} {
		info, statErr := os.Lstat(place)
		if statErr != nil {
			continue
		}
		need := fs.FileMode(0o600)
		if info.IsDir() {
			need = 0o700
		}
		uid, known := ownerOf(info)
		switch {
		case known && uid != os.Geteuid():
			owner, us := userName(uid), userName(os.Geteuid())
			return because{fmt.Sprintf("%s belongs to %s and latchpost runs as %s: run it as %s, or give it to %s (chown -R)", place, owner, us, owner, us), err}
		case info.Mode().Perm()&need == 0 || info.IsDir() && info.Mode().Perm()&0o100 == 0:
			return because{fmt.Sprintf("%s may not be used by its own owner (mode %04o): run chmod %o %s", place, info.Mode().Perm(), need, place), err}
		}
	}
	return err
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "user " + strconv.Itoa(uid)
}

// because is an error in words that say all of it.
type because struct {
	says string
	error
}

func (b because) Error() string { return b.says }
func (b because) Unwrap() error { return b.error }
