package store

import "context"

// Meta gives a value that is kept under name; auth.ErrNotFound when there is none.
func (db *DB) Meta(ctx context.Context, name string) (value string, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		found, err := first(ctx, q, func(s scanner) (v string, err error) { return v, s.Scan(&v) },
			`SELECT value FROM meta WHERE name = $1`, name)
		if err == nil {
			value = *found
		}
		return err
	})
	return value, err
}

// SetMeta keeps value under name.
func (db *DB) SetMeta(ctx context.Context, name, value string) error {
	return db.write(ctx, func(ctx context.Context, q querier) error { return setMeta(ctx, q, name, value) })
}

func setMeta(ctx context.Context, q querier, name, value string) error {
	_, err := q.exec(ctx, `INSERT INTO meta (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
