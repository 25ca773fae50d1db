package store

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
)

// enroll makes, with SQLite, a locked file of this process's name in holders/: it is free as soon as the process is gone, however it went. What
// earlier processes left is cleared away.
func (db *DB) enroll(ctx context.Context) error {
	if db.file == nil {
		return nil
	}
	dir := filepath.Join(db.dir, "holders")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return readOnlyDir(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if db.gone(e.Name()) {
			if err := db.bury(ctx, e.Name()); err != nil {
				return err
			}
		}
	}
	// A newcomer that looks between the making and the locking takes the file for a
	// dead one's and deletes it; the name is in no row yet, so another one will do.
	for {
		path := db.holderFile(db.id)
		if db.lock, err = lockFile(path); err != nil {
			return err
		}
		if same(db.lock, path) {
			return nil
		}
		db.lock.Close()
		db.id = rand.Text()
	}
}

func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func (db *DB) holderFile(holder string) string {
	return filepath.Join(db.dir, "holders", filepath.Base(holder))
}

// living reports whether a holder is alive. On another host, or without its
// file, nobody knows.
func (db *DB) living(holder string) (alive, known bool) {
	if db.file == nil || holder == "" {
		return false, false
	}
	return locked(db.holderFile(holder))
}

func (db *DB) gone(holder string) bool {
	alive, known := db.living(holder)
	return known && !alive
}

// bury ends what a process held: its leases lapse, its file goes.
func (db *DB) bury(ctx context.Context, holder string) error {
	err := db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `UPDATE connections SET lease_until = 0, lease_holder = '' WHERE lease_holder = $1 AND lease_holder <> ''`, holder)
		return err
	})
	if err == nil && db.file != nil {
		os.Remove(db.holderFile(holder))
	}
	return err
}
