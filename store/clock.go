package store

import (
	"context"
	"time"
)

// clock is the time that leases count in. The processes of a SQLite file share
// one host; those of PostgreSQL share its clock, unless Options.Now is set.
func (db *DB) clock(ctx context.Context, q querier) (time.Time, error) {
	if db.pg == nil || db.opt.Now != nil {
		return db.now(), nil
	}
	now, err := first(ctx, q, func(s scanner) (v int64, err error) { return v, s.Scan(&v) },
		`SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`)
	if err != nil {
		return time.Time{}, err
	}
	return at(*now), nil
}

// snapshot runs fn on the rows as they all were at one time.
func (db *DB) snapshot(ctx context.Context, fn func(q querier) error) error {
	if db.pg != nil {
		return db.pg.snapshot(ctx, fn)
	}
	return db.file.explain(db.file.readers.use(ctx, func(c *sqliteConn) error {
		if _, err := c.exec(ctx, `BEGIN`); err != nil {
			return err
		}
		defer c.exec(ctx, `ROLLBACK`)
		return fn(c)
	}))
}
