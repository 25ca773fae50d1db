package store

import (
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// Room is what the disk of a SQLite store has left.
type Room struct {
	Free    int64 // bytes
	Ballast bool  // lies there whole
	Short   bool  // there is too little for the ballast, or for much else beside it
}

// Room looks at the disk of the store's file; PostgreSQL has its own.
func (db *DB) Room() (r Room, err error) {
	if r.Free, err = freeSpace(filepath.Dir(db.file.path)); err != nil {
		return r, err
	}
	want := db.ballastSize()
	r.Ballast = want > 0 && size(ballastOf(db.file.path)) == want
	r.Short = r.Free < want || !r.Ballast && r.Free < roomFor(want)
	return r, nil
}

// trialSize is more than SQLite finds in the pages that it has already.
const trialSize = 256 << 10

// Try writes to see whether that works: a file, which is removed again, because the files that are there may have room when the
// disk has none; and a row, because those may belong to somebody else.
func (db *DB) Try(ctx context.Context) error {
	if db.file != nil {
		if err := tryDisk(filepath.Dir(db.file.path)); err != nil {
			return readOnlyDir(err)
		}
	}
	return db.SetMeta(ctx, triedAt, strconv.FormatInt(ms(db.now()), 10))
}

func tryDisk(dir string) error {
	f, err := os.CreateTemp(dir, "trial-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.CopyN(f, rand.Reader, trialSize) // what is all zeros may take no room
	return firstError(err, f.Sync(), f.Close())
}
