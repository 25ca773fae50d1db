package store

import (
	"context"
	"database/sql"
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
	var how *sql.TxOptions
	if db.pg != nil {
		how = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	tx, err := db.pool.BeginTx(ctx, how)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return db.file.explain(err)
	}
	return nil
}
