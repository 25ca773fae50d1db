package store

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"time"
)

// Process is one that uses this store now.
type Process struct {
	Holder    string
	URL       string // where it serves pages and callbacks; "" when it does not
	StartedAt time.Time
	SeenAt    time.Time
}

// silence after which a process is taken for gone where no lock file tells.
const silence = 30 * time.Second

// enroll gives this process a name, with SQLite a locked file of that name in
// holders/: it is free as soon as the process is gone, however it went. What
// earlier processes left is cleared away.
func (db *DB) enroll(ctx context.Context) error {
	db.id = rand.Text()
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

// bury ends what a process held: its leases lapse, its row and its file go.
func (db *DB) bury(ctx context.Context, holder string) error {
	err := db.write(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.exec(ctx, `UPDATE connections SET lease_until = 0, lease_holder = '' WHERE lease_holder = $1 AND lease_holder <> ''`, holder); err != nil {
			return err
		}
		_, err := q.exec(ctx, `DELETE FROM processes WHERE holder = $1`, holder)
		return err
	})
	if err == nil && db.file != nil {
		os.Remove(db.holderFile(holder))
	}
	return err
}

// Announce notes that this process is here and where it serves, "" for nowhere.
// Call it again every few seconds: without a lock file 30 s of silence mean gone.
func (db *DB) Announce(ctx context.Context, url string) error {
	now := db.now()
	return db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `INSERT INTO processes (holder, url, started_at, seen_at) VALUES ($1, $2, $3, $3)
			ON CONFLICT (holder) DO UPDATE SET url = excluded.url, seen_at = excluded.seen_at`, db.id, url, ms(now))
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM processes WHERE seen_at < $1`, ms(now.Add(-24*time.Hour)))
		return err
	})
}

// Processes lists those that are alive, the longest here first.
func (db *DB) Processes(ctx context.Context) (alive []Process, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		all, err := collect(ctx, q, func(s scanner) (p Process, err error) {
			var started, seen int64
			err = s.Scan(&p.Holder, &p.URL, &started, &seen)
			p.StartedAt, p.SeenAt = at(started), at(seen)
			return p, err
		}, `SELECT holder, url, started_at, seen_at FROM processes ORDER BY started_at, holder`)
		alive = nil
		for _, p := range all {
			here, known := db.living(p.Holder)
			if here || !known && db.now().Sub(p.SeenAt) < silence {
				alive = append(alive, p)
			}
		}
		return err
	})
	return alive, err
}
