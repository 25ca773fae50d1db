package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to the newest version in one transaction that no
// other process can be in at the same time. A schema that is newer than this
// program is refused and left alone.
func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	// Through the group, whose transactions see what was committed while they waited
	// for the lock; the serializable ones of db.write would not.
	return db.group.do(ctx, &job{run: func(ctx context.Context, q querier) error {
		if db.pg != nil {
			if _, err := q.exec(ctx, `SELECT pg_advisory_xact_lock(5503017)`); err != nil {
				return err
			}
		}
		if _, err := q.exec(ctx, `CREATE TABLE IF NOT EXISTS migrations (version BIGINT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)`); err != nil {
			return err
		}
		have, err := schemaVersion(ctx, q)
		if err != nil {
			return err
		}
		if have > len(files) {
			return newerSchema(have, len(files))
		}
		for i, name := range files[have:] {
			text, err := migrations.ReadFile(name)
			if err != nil {
				return err
			}
			if _, err := q.exec(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			_, err = q.exec(ctx, `INSERT INTO migrations (version, applied_at) VALUES ($1, $2)`, have+i+1, ms(time.Now()))
			if err != nil {
				return err
			}
		}
		return nil
	}})
}

func schemaVersion(ctx context.Context, q querier) (int, error) {
	version, err := first(ctx, q, func(s scanner) (v int, err error) {
		return v, s.Scan(&v)
	}, `SELECT COALESCE(MAX(version), 0) FROM migrations`)
	if err != nil {
		return 0, err
	}
	return *version, nil
}

func newerSchema(have, known int) error {
	return fmt.Errorf("the store has schema %d, this program knows %d: it was used by a newer latchpost; start that one, or restore a backup from before", have, known)
}

// checkSchema refuses a file that this program cannot read as it is.
func (db *DB) checkSchema(have int) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if have > len(files) {
		return newerSchema(have, len(files))
	}
	if have < len(files) {
		return fmt.Errorf("the store has schema %d and needs %d: start latchpost once where it can be written", have, len(files))
	}
	return nil
}
