package store

import (
	"context"

	"github.com/latchpost/latchpost/auth"
)

// App gives the nearest OAuth app: the owner's own, the org's, the operator's.
func (db *DB) App(ctx context.Context, o auth.Owner, provider string) (a *auth.App, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		a, err = first(ctx, q, scanApp, `SELECT org, user_id, provider, id, client_id, bind, created_at, salt, sealed
			FROM apps WHERE provider = $3 AND (org = $1 AND user_id = $2 OR org = $1 AND user_id = '' OR org = '' AND user_id = '')
			ORDER BY user_id DESC, org DESC LIMIT 1`, o.Org, o.User, provider)
		return err
	})
	return a, err
}

// Apps of exactly this owner, ordered by provider.
func (db *DB) Apps(ctx context.Context, o auth.Owner) (all []auth.App, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = collect(ctx, q, scanApp, `SELECT org, user_id, provider, id, client_id, bind, created_at, salt, sealed
			FROM apps WHERE org = $1 AND user_id = $2 OR org = $1 AND user_id = '' OR org = '' AND user_id = ''
			ORDER BY provider, user_id DESC, org DESC`, o.Org, o.User)
		return err
	})
	return all, err
}

func scanApp(s scanner) (a auth.App, err error) {
	var created int64
	err = s.Scan(&a.Owner.Org, &a.Owner.User, &a.Provider, &a.ID, &a.ClientID, &a.Bind, &created, &a.Salt, &a.Sealed)
	a.CreatedAt = at(created)
	return a, err
}

// PutApp adds a, or replaces the owner's app for the same provider.
func (db *DB) PutApp(ctx context.Context, a auth.App) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `INSERT INTO apps (org, user_id, provider, id, client_id, bind, created_at, salt, sealed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (org, user_id, provider) DO UPDATE SET id = excluded.id, client_id = excluded.client_id, bind = excluded.bind,
				created_at = excluded.created_at, salt = excluded.salt, sealed = excluded.sealed`,
			a.Owner.Org, a.Owner.User, a.Provider, a.ID, a.ClientID, a.Bind, ms(a.CreatedAt), a.Salt, a.Sealed)
		return err
	})
}

// DeleteApp deletes the owner's own app; auth.ErrNotFound when there is none.
func (db *DB) DeleteApp(ctx context.Context, o auth.Owner, provider string) error {
	return db.mustWrite(ctx, func(ctx context.Context, q querier) error {
		return change(ctx, q, auth.ErrNotFound, `DELETE FROM apps WHERE org = $1 AND user_id = $2 AND provider = $3`, o.Org, o.User, provider)
	})
}
