package store

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// enroll makes, with SQLite, a locked file of this process's name in holders/: it is free as soon as the process is gone, however it went. What
// earlier processes left is cleared away.
func (db *DB) enroll(ctx context.Context) error {
	if db.file == nil {
		return nil
	}
	dir := filepath.Join(db.dir, "holders")
	if err := makeDir(dir); err != nil {
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

// Declare tells the other processes on a file something about this one, a line each, for as long as it lives. It replaces what was
// declared before.
func (db *DB) Declare(lines []string) error {
	db.declared = slices.Clone(lines)
	if db.lock == nil {
		return nil
	}
	if err := db.lock.Truncate(0); err != nil {
		return err
	}
	_, err := db.lock.WriteAt([]byte(strings.Join(lines, "\n")), 0)
	return err
}

// Declared is what the living processes on the file have declared, this one first, nothing twice. With PostgreSQL a process
// knows of itself only.
func (db *DB) Declared() []string {
	all := slices.Clone(db.declared)
	if db.lock == nil {
		return all
	}
	entries, err := os.ReadDir(filepath.Dir(db.holderFile(db.id)))
	if err != nil {
		return all
	}
	for _, e := range entries {
		if alive, _ := db.living(e.Name()); !alive {
			continue
		}
		text, err := os.ReadFile(db.holderFile(e.Name()))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !slices.Contains(all, line) {
				all = append(all, line)
			}
		}
	}
	return all
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
