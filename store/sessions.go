package store

import (
	"context"
	"errors"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// AddSession keeps a browser session of an owner by its hash, and forgets those that have ended.
func (db *DB) AddSession(ctx context.Context, hash []byte, o auth.Owner, expires time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.exec(ctx, `DELETE FROM sessions WHERE expires_at <= $1`, ms(db.now())); err != nil {
			return err
		}
		return change(ctx, q, auth.ErrConflict, `INSERT INTO sessions (hash, org, user_id, expires_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (hash) DO NOTHING`, hash, o.Org, o.User, ms(expires))
	})
}

// Session gives the owner of a living session; auth.ErrNotFound when there is none.
func (db *DB) Session(ctx context.Context, hash []byte) (o auth.Owner, expires time.Time, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		found, err := first(ctx, q, scanOwned, `SELECT org, user_id, expires_at FROM sessions
			WHERE hash = $1 AND expires_at > $2`, hash, ms(db.now()))
		if err == nil {
			o, expires = found.owner, found.expires
		}
		return err
	})
	return o, expires, err
}

// DeleteSession ends a session; one that is not there is no error, and no write either: strangers make cookies up.
func (db *DB) DeleteSession(ctx context.Context, hash []byte) error {
	if _, _, err := db.Session(ctx, hash); errors.Is(err, auth.ErrNotFound) {
		return nil
	}
	return db.mustWrite(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `DELETE FROM sessions WHERE hash = $1`, hash)
		return err
	})
}

// DeleteSessions ends all sessions of an owner, and the links that could begin one, and gives how many sessions there were. It
// reads all of them: sessions live for hours.
func (db *DB) DeleteSessions(ctx context.Context, o auth.Owner) (n int64, err error) {
	err = db.mustWrite(ctx, func(ctx context.Context, q querier) error {
		if n, err = q.exec(ctx, `DELETE FROM sessions WHERE org = $1 AND user_id = $2`, o.Org, o.User); err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM owner_links WHERE org = $1 AND user_id = $2`, o.Org, o.User)
		return err
	})
	return n, err
}

// AddOwnerLink keeps a one-time link by its hash, and forgets those that have ended.
func (db *DB) AddOwnerLink(ctx context.Context, hash []byte, o auth.Owner, expires time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.exec(ctx, `DELETE FROM owner_links WHERE expires_at <= $1`, ms(db.now())); err != nil {
			return err
		}
		return change(ctx, q, auth.ErrConflict, `INSERT INTO owner_links (hash, org, user_id, expires_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (hash) DO NOTHING`, hash, o.Org, o.User, ms(expires))
	})
}

// TakeOwnerLink gives the owner of a link, once; auth.ErrNotFound when it was used, has ended, or never was. Only one that is
// there is a write: strangers make codes up.
func (db *DB) TakeOwnerLink(ctx context.Context, hash []byte) (o auth.Owner, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		_, err := first(ctx, q, scanOwned, `SELECT org, user_id, expires_at FROM owner_links WHERE hash = $1`, hash)
		return err
	})
	if errors.Is(err, auth.ErrNotFound) {
		return o, err
	}
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		found, err := first(ctx, q, scanOwned, `DELETE FROM owner_links WHERE hash = $1 AND expires_at > $2
			RETURNING org, user_id, expires_at`, hash, ms(db.now()))
		if err == nil {
			o = found.owner
		}
		return err
	})
	return o, err
}

type owned struct {
	owner   auth.Owner
	expires time.Time
}

func scanOwned(s scanner) (o owned, err error) {
	var expires int64
	err = s.Scan(&o.owner.Org, &o.owner.User, &expires)
	o.expires = at(expires)
	return o, err
}
