package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// alone runs fn in one transaction, while nobody else writes to the tables. A SQLite file that can only be read is
// read as it is at one time.
func (db *DB) alone(ctx context.Context, tables []table, fn func(q querier) error) error {
	var failed, err error
	run := func(q querier) error { failed = fn(q); return failed }
	switch {
	case db.pg != nil:
		err = db.pg.alone(ctx, tables, run)
	case db.group == nil:
		err = db.snapshot(ctx, run)
	default:
		err = db.file.explain(db.group.do(ctx, &job{run: func(_ context.Context, q querier) error { return run(q) }, slot: everyone}))
	}
	if failed != nil {
		return failed
	}
	return err
}

// unused refuses while another process has the store open: it would go on with it. One that ends just now is waited for.
func (db *DB) unused(ctx context.Context) error {
	for try := 0; ; try++ {
		n, err := db.others(ctx)
		if err != nil || n == 0 {
			return err
		}
		if try == 10 {
			where := "those that MCP hosts started, too"
			if db.file != nil {
				where += " (fuser -v " + db.file.path + " names them)"
			}
			if db.pg != nil {
				where = "on all machines; pg_stat_activity names them as latchpost/…"
			}
			return fmt.Errorf("other latchpost processes use this store (%d): end them all, %s, then try again", n, where)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// others counts the processes that have the store open, without this one: by their lock files, or by the names of
// their connections (PostgreSQL).
func (db *DB) others(ctx context.Context) (n int, err error) {
	if db.pg != nil {
		err = db.read(ctx, func(ctx context.Context, q querier) error {
			found, err := first(ctx, q, func(s scanner) (n int, err error) { return n, s.Scan(&n) }, `SELECT COUNT(DISTINCT application_name) FROM pg_stat_activity
				WHERE datname = current_database() AND application_name LIKE 'latchpost/%' AND application_name NOT LIKE $1`, pgName(db.id)+"%")
			if err == nil {
				n = *found
			}
			return err
		})
		return n, err
	}
	entries, err := os.ReadDir(filepath.Join(db.dir, "holders"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for _, e := range entries {
		if alive, _ := db.living(e.Name()); alive && e.Name() != db.id {
			n++
		}
	}
	return n, err
}

// empty refuses a store that has rows.
func empty(ctx context.Context, q querier, tables []table) error {
	var rows []string
	for _, t := range tables {
		n, err := first(ctx, q, func(s scanner) (n int64, err error) { return n, s.Scan(&n) }, `SELECT COUNT(*) FROM `+t.name)
		if err != nil {
			return err
		}
		if *n > 0 {
			rows = append(rows, fmt.Sprint(t.name, " ", *n))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return fmt.Errorf("the new store is not empty (%s). What a migration that was cut off had written is undone by itself, so this is another store, or one that is whole: look with latchpost doctor, or name an empty one", strings.Join(rows, ", "))
}
