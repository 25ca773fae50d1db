package store

import (
	"context"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// RevokeConnection ends a connection here, in one transaction. The deleted bytes
// are overwritten in the file (secure_delete), and once the WAL is folded in they
// are nowhere any more. auth.ErrConflict when rev is of another generation.
func (db *DB) RevokeConnection(ctx context.Context, o auth.Owner, id string, rev *auth.Revocation) error {
	version := int64(0)
	if rev != nil {
		version = rev.Version
	}
	return db.mustWriteOf(ctx, o, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE connections SET state = 'revoked', cause = '', updated_at = $4, salt = NULL, sealed = NULL, answer = NULL,
			lease_holder = '', lease_until = 0, attempted_at = 0
			WHERE org = $1 AND user_id = $2 AND id = $3 AND state <> 'revoked' AND ($5 = 0 OR version = $5)`, o.Org, o.User, id, ms(db.now()), version)
		if err == errNone {
			c, err := connection(ctx, q, o, id)
			if err == nil && c.State != auth.Revoked {
				err = auth.ErrConflict
			}
			return err
		}
		if err != nil {
			return err
		}
		if _, err := q.exec(ctx, `DELETE FROM grants WHERE org = $1 AND user_id = $2 AND connection = $3`, o.Org, o.User, id); err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM approvals
			WHERE org = $1 AND user_id = $2 AND connection = $3 AND state IN ('waiting', 'approved')`, o.Org, o.User, id)
		if err != nil || rev == nil {
			return err
		}
		return insertRevocation(ctx, q, *rev)
	})
}

// AddRevocation keeps a token that has to be revoked at its provider.
func (db *DB) AddRevocation(ctx context.Context, rev auth.Revocation) error {
	return db.mustWrite(ctx, func(ctx context.Context, q querier) error {
		return insertRevocation(ctx, q, rev)
	})
}

func insertRevocation(ctx context.Context, q querier, r auth.Revocation) error {
	_, err := q.exec(ctx, `INSERT INTO revocations (org, user_id, id, provider, connection, method, vars, bind, attempts, next_try_at, created_at, salt, sealed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		r.Owner.Org, r.Owner.User, r.ID, r.Provider, r.Connection, r.Method, dict(r.Vars), r.Bind, r.Attempts, ms(r.NextTryAt), ms(r.CreatedAt), r.Salt, r.Sealed)
	if isTaken(err) {
		return auth.ErrConflict
	}
	return err
}

// wrongClock is longer than a revocation ever waits. One that would was put off while the clock was wrong.
const wrongClock = 12 * time.Hour

// DueRevocations gives revocations to try now, each to one caller only. Attempts
// counts this one.
func (db *DB) DueRevocations(ctx context.Context, now time.Time, hold time.Duration, limit int) (due []auth.Revocation, err error) {
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.exec(ctx, `UPDATE revocations SET next_try_at = $1 WHERE next_try_at > $2`, ms(now), ms(now.Add(wrongClock))); err != nil {
			return err
		}
		due, err = collect(ctx, q, scanRevocation, `UPDATE revocations SET next_try_at = $2, attempts = attempts + 1
			WHERE next_try_at <= $1 AND id IN (SELECT id FROM revocations WHERE next_try_at <= $1 ORDER BY next_try_at LIMIT $3)
			RETURNING org, user_id, id, provider, connection, method, vars, bind, attempts, next_try_at, created_at, salt, sealed`,
			ms(now), ms(now.Add(hold)), limit)
		return err
	})
	return due, err
}

func scanRevocation(s scanner) (r auth.Revocation, err error) {
	var vars string
	var next, created int64
	err = s.Scan(&r.Owner.Org, &r.Owner.User, &r.ID, &r.Provider, &r.Connection, &r.Method, &vars, &r.Bind, &r.Attempts, &next, &created, &r.Salt, &r.Sealed)
	if err != nil {
		return r, err
	}
	r.NextTryAt, r.CreatedAt = at(next), at(created)
	r.Vars, _ = undict(vars) // damaged, it does not go out, is tried again, and told when it is given up
	return r, nil
}

// EndRevocation forgets a revocation, or with next set tries it again then.
func (db *DB) EndRevocation(ctx context.Context, id string, next time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		if next.IsZero() {
			return change(ctx, q, auth.ErrNotFound, `DELETE FROM revocations WHERE id = $1`, id)
		}
		return change(ctx, q, auth.ErrNotFound, `UPDATE revocations SET next_try_at = $2 WHERE id = $1`, id, ms(next))
	})
}
