package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations gives the statements that bring a schema to version 1, to 2, and so on.
func migrations() (all []string, err error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, string(text))
	}
	return all, nil
}

// migrate brings the schema to the newest version in one transaction that no
// other process can be in at the same time. A schema that is newer than this
// program is refused and left alone.
func (db *DB) migrate(ctx context.Context) error {
	all, err := migrations()
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
		if have > len(all) {
			return newerSchema(have, len(all))
		}
		for version := have + 1; version <= len(all); version++ {
			if _, err := q.exec(ctx, all[version-1]); err != nil {
				return fmt.Errorf("migration to schema %d: %w", version, err)
			}
			if _, err := q.exec(ctx, `INSERT INTO migrations (version, applied_at) VALUES ($1, $2)`, version, ms(time.Now())); err != nil {
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
	all, err := migrations()
	if err != nil {
		return err
	}
	if have > len(all) {
		return newerSchema(have, len(all))
	}
	if have < len(all) {
		return fmt.Errorf("the store has schema %d and needs %d: start latchpost once where it can be written", have, len(all))
	}
	return nil
}
