package store

import (
	"context"

	"github.com/latchpost/latchpost/auth/seal"
)

// Keys returns every data key, the oldest first.
func (db *DB) Keys(ctx context.Context) (all []seal.Key, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = collect(ctx, q, func(s scanner) (k seal.Key, err error) {
			var created int64
			err = s.Scan(&k.ID, &k.KEK, &k.Wrapped, &created, &k.Primary)
			k.CreatedAt = at(created)
			return k, err
		}, `SELECT id, kek, wrapped, created_at, main FROM keys ORDER BY created_at, id`)
		return err
	})
	return all, err
}

// AddKey inserts k; seal.ErrKeyExists when its id is taken.
func (db *DB) AddKey(ctx context.Context, k seal.Key) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		err := change(ctx, q, seal.ErrKeyExists, `INSERT INTO keys (id, kek, wrapped, created_at, main) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO NOTHING`, k.ID, k.KEK, k.Wrapped, ms(k.CreatedAt), k.Primary)
		if err != nil || !k.Primary {
			return err
		}
		_, err = q.exec(ctx, `UPDATE keys SET main = FALSE WHERE id <> $1`, k.ID)
		return err
	})
}

// RewrapKey changes what wraps data key id, if that is still fromKEK.
func (db *DB) RewrapKey(ctx context.Context, id, fromKEK string, k seal.Key) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		return change(ctx, q, seal.ErrKeyChanged, `UPDATE keys SET kek = $3, wrapped = $4 WHERE id = $1 AND kek = $2`, id, fromKEK, k.KEK, k.Wrapped)
	})
}
