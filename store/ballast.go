package store

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const ballastSize = 16 << 20

func (db *DB) ballastSize() int64 {
	if db.opt.Ballast == 0 {
		return ballastSize
	}
	return db.opt.Ballast
}

// ReleaseBallast deletes the ballast in data directory dir and gives the bytes that
// became free, 0 when there was none. It needs no open store: with a full disk a
// store that is not open already cannot be opened.
func ReleaseBallast(dir string) (freed int64, err error) {
	path := filepath.Join(dir, "ballast")
	freed = size(path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return freed, nil
}

// spendBallast frees the ballast for writes that take rights away. The others are
// refused until it lies there again.
func (db *DB) spendBallast() bool {
	freed, err := ReleaseBallast(db.dir)
	if err != nil || freed == 0 {
		return false
	}
	db.file.spent.Store(true)
	db.log().Error("the disk is full; the ballast was released so that revoking works; make room", "freed", freed)
	return true
}

// layBallast writes the ballast when it is not there and the disk has room for
// much more. Random bytes, because a file system may compress or leave out others.
func (db *DB) layBallast() error {
	want := db.ballastSize()
	path := filepath.Join(db.dir, "ballast")
	if want < 0 || size(path) == want {
		return nil
	}
	if free, err := freeSpace(db.dir); err != nil || free < 4*want {
		return err
	}
	if err := writeFile(path, io.LimitReader(rand.Reader, want)); err != nil { // not held in memory: most processes are small
		return err
	}
	db.file.spent.Store(false)
	return nil
}

// writeFile replaces the file at path as a whole: after a crash it is the old or the new one.
func writeFile(path string, data io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = io.Copy(f, data)
	if err := firstError(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}
