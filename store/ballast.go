package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const ballastSize = 16 << 20

// ballastOf is the ballast of the store at path: on the same disk, where the data directory need not be.
func ballastOf(path string) string { return filepath.Join(filepath.Dir(path), "ballast") }

// roomFor is how much has to be free for a ballast of want bytes to be laid.
func roomFor(want int64) int64 { return 4 * want }

func (db *DB) ballastSize() int64 {
	if db.opt.Ballast == 0 {
		return ballastSize
	}
	return db.opt.Ballast
}

// ReleaseBallast deletes the ballast of the SQLite file that url names and gives the bytes that
// became free, 0 when there was none; then every write may use the room. It needs no open store: with a full disk a
// store that is not open already cannot be opened.
func ReleaseBallast(url string) (freed int64, err error) {
	path, file := strings.CutPrefix(url, "sqlite:")
	if !file {
		return 0, nil
	}
	path = ballastOf(path)
	freed = size(path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return freed, nil
}

// spendBallast frees the ballast for writes that take rights away. The others are
// refused until it lies there again. What is left of it is an empty file, by which every process on the store knows.
func (db *DB) spendBallast() bool {
	path := ballastOf(db.file.path)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if info.Size() > 0 {
		if err := os.Truncate(path, 0); err != nil {
			return false
		}
		db.log().Error("the disk is full; the ballast was released so that revoking works; make room", "freed", info.Size())
	}
	db.file.ballastSeen.Store(0)
	return true
}

// spent reports whether a process gave the ballast up: then only mustWrite may write.
func (db *DB) spent() bool {
	if db.ballastSize() < 0 {
		return false
	}
	info, err := os.Lstat(ballastOf(db.file.path))
	return err == nil && info.Size() == 0
}

// spentLately is spent for what is written many thousand times a second: that it is given up may be noticed 10 ms late.
func (db *DB) spentLately() bool {
	now, looked := time.Since(processStart), &db.file.ballastSeen
	if at := looked.Load(); at > 0 && now-time.Duration(at) < 10*time.Millisecond {
		return false
	}
	if db.spent() {
		looked.Store(0)
		return true
	}
	looked.Store(int64(now))
	return false
}

var processStart = time.Now()

// layBallast writes the ballast when it is not there and the disk has room for
// much more; else the error says so. Random bytes, because a file system may compress or leave out others.
func (db *DB) layBallast() error {
	want := db.ballastSize()
	path := ballastOf(db.file.path)
	if want < 0 || size(path) == want {
		return nil
	}
	dir := filepath.Dir(path)
	if free, err := freeSpace(dir); err != nil {
		return err
	} else if free < roomFor(want) {
		return fmt.Errorf("less than %d MiB is free on the disk of %s: make room, or nothing can be revoked once it is full", roomFor(want)>>20, dir)
	}
	return writeFile(path, io.LimitReader(rand.Reader, want)) // not held in memory: most processes are small
}

// writeFile replaces the file at path as a whole: after a crash it is the old or the new one.
func writeFile(path string, data io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	adopt(f)
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
