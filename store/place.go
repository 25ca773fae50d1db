package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/latchpost/latchpost/auth"
)

// preparePlace makes the directories and the file when they are not there, and
// refuses places that others could read or have prepared: looser modes, symlinks.
func (db *DB) preparePlace(ctx context.Context, path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() { // before anything is said about the directory that it lies in
		return fmt.Errorf("%s is a directory; name the file, such as %s", path, filepath.Join(path, "latchpost.db"))
	}
	if db.dir == "" {
		db.dir = filepath.Dir(path)
	}
	if err := privateDir(db.dir, db.opt.ReadOnly); err != nil {
		return err
	}
	if err := privateDir(filepath.Dir(path), db.opt.ReadOnly); err != nil {
		return err
	}
	if !db.opt.ReadOnly {
		if err := firstError(tighten(db.dir), tighten(filepath.Dir(path))); err != nil {
			return err
		}
	}
	if err := privateFiles(path, db.opt.ReadOnly); !errors.Is(err, fs.ErrNotExist) || db.opt.ReadOnly {
		return err
	}
	// Two processes may start at once: one makes the file, the other finds it.
	lock, err := lockFile(filepath.Join(db.dir, "create.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := privateFiles(path, false); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return createFile(ctx, path)
}

// privateDir makes dir, or checks that it belongs to nobody else. An empty one
// is taken over; one with files in it was perhaps meant for something else.
func privateDir(dir string, readOnly bool) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) && !readOnly {
		return os.MkdirAll(dir, 0o700)
	}
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; name the directory itself", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !looser(info, 0o700):
		return nil
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 && !readOnly {
		return os.Chmod(dir, 0o700)
	}
	return fmt.Errorf("others may enter %s (mode %04o); if it holds nothing else, run: chmod 700 %s", dir, info.Mode().Perm(), dir)
}

// besideFile is what else is ours in the data directory, or beside the file, with its mode.
var besideFile = map[string]fs.FileMode{anchorFile: 0o600, anchorFile + ".lock": 0o600, "create.lock": 0o600, "ballast": 0o600, "holders": 0o700}

// tighten corrects looser modes of what else is ours in dir, where nobody else could have come.
func tighten(dir string) error {
	for name, mode := range besideFile {
		path := filepath.Join(dir, name)
		if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink != 0 || !looser(info, mode) {
			continue // not there, or not ours: whoever opens it says so
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

// privateFiles checks the database and the files beside it; fs.ErrNotExist when
// there is no database. A looser mode is corrected.
func privateFiles(path string, readOnly bool) error {
	for _, suffix := range []string{"-wal", "-shm", "-changes", ""} {
		info, err := os.Lstat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix != "":
			continue
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file; name the file itself, not a link to it", path+suffix)
		case suffix == "" && info.Size() == 0:
			return ErrDamaged
		case looser(info, 0o600) && !readOnly:
			if err := os.Chmod(path+suffix, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// createFile makes an empty store. It gets its name only when it is whole, so a
// file that is found later and is not whole has been damaged. SQLite gives the
// files beside it the same mode.
func createFile(ctx context.Context, path string) error {
	if _, err := os.Lstat(path + "-wal"); err == nil { // it would be played into the new file
		return fmt.Errorf("the file is gone, but changes to it wait in %s-wal: put the file back, or move that one away too", path)
	}
	unfinished := path + ".new"
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(unfinished + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(unfinished, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return readOnlyDir(err)
	}
	adopt(f) // SQLite gives the files beside it the owner of this one
	if err := f.Close(); err != nil {
		return err
	}
	c, err := openConn(unfinished, toWrite)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, fmt.Sprintf(`PRAGMA application_id = %d`, applicationID))
	if err := firstError(err, c.Close()); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// pageSize of our files, in bytes.
const pageSize = 8192

// checkOurs reads the mark in the file's header, without a lock or a file beside it.
func checkOurs(path string) error {
	// SQLite notices whole pages that are missing. Part of one may be, when the machine
	// stopped while the WAL was folded in; then the WAL has it still.
	if size(path)%pageSize != 0 && size(path+"-wal") == 0 {
		return ErrDamaged
	}
	how := asItStands
	if size(path+"-wal") > 0 {
		// While the WAL is folded in, and after a stop in the midst of it, the header counts pages that
		// only the WAL has yet. For the mark alone SQLite may pass over that.
		how.pragmas = []string{"writable_schema = 1"}
	}
	c, err := openConn(path, how)
	if err != nil {
		return err
	}
	defer c.Close()
	id, err := c.pragma("application_id")
	if errors.Is(err, auth.ErrNotFound) {
		return ErrDamaged
	}
	if err == nil && id != int64(applicationID) {
		return ErrForeign
	}
	return err
}

// readOnlyDir turns the errors of a directory that cannot be written into ErrReadOnly.
func readOnlyDir(err error) error {
	if told(err) {
		return err
	}
	if errors.Is(err, fs.ErrPermission) || isReadOnlyFS(err) {
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	if isNoSpace(err) {
		return fmt.Errorf("%w (%w)", ErrFull, err)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return firstError(d.Sync(), d.Close())
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
