package store

import (
	"context"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// AcquireRefresh takes the lease of generation version. A holder that is dead, by
// its lock file (SQLite) or by its time, gives way at once.
func (db *DB) AcquireRefresh(ctx context.Context, o auth.Owner, id string, version int64, ttl time.Duration) (c *auth.Connection, taken bool, err error) {
	// Those who wait ask again and again: a plain read turns most of them away.
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		now, err := db.clock(ctx, q)
		if err != nil {
			return err
		}
		if c, err = connection(ctx, q, o, id); err != nil {
			return err
		}
		taken = db.mayRefresh(c, version, now)
		return nil
	})
	if err != nil || !taken {
		return c, false, err
	}
	taken, dead := false, ""
	err = db.writeOf(ctx, o, func(ctx context.Context, q querier) error {
		taken = false
		now, err := db.clock(ctx, q)
		if err != nil {
			return err
		}
		if c, err = connection(ctx, q, o, id); err != nil {
			return err
		}
		if !db.mayRefresh(c, version, now) {
			return nil
		}
		dead = c.Refresh.Holder
		c.Refresh.Holder, c.Refresh.Until = db.id, at(ms(now.Add(ttl)))
		c.Refresh.AttemptedAt = at(ms(now))
		c.Refresh.Attempts++
		c.Refresh.Fence++
		taken = true
		return change(ctx, q, auth.ErrConflict, `UPDATE connections SET lease_holder = $5, lease_until = $6, attempted_at = $7, attempts = $8, fence = $9
			WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $4`,
			o.Org, o.User, id, version, db.id, ms(c.Refresh.Until), ms(now), c.Refresh.Attempts, c.Refresh.Fence)
	})
	if err != nil {
		return nil, false, err
	}
	if taken && db.gone(dead) {
		err = db.bury(ctx, dead)
	}
	return c, taken, err
}

// mayRefresh reports whether this process may refresh generation version of c now.
func (db *DB) mayRefresh(c *auth.Connection, version int64, now time.Time) bool {
	r := c.Refresh
	if c.State == auth.Revoked || c.Version != version || r.DeadVersion == version || r.Waits(now) {
		return false
	}
	ahead := r.Until.Sub(now) > auth.LongestWait // a lease is seconds: the clock was ahead then
	return r.Holder == "" || !r.Until.After(now) || ahead || db.gone(r.Holder)
}

// RenewRefresh prolongs the lease that fence numbers.
func (db *DB) RenewRefresh(ctx context.Context, o auth.Owner, id string, fence int64, ttl time.Duration) error {
	return db.writeOf(ctx, o, func(ctx context.Context, q querier) error {
		now, err := db.clock(ctx, q)
		if err != nil {
			return err
		}
		err = change(ctx, q, errNone, `UPDATE connections SET lease_until = $6
			WHERE org = $1 AND user_id = $2 AND id = $3 AND fence = $4 AND lease_holder = $5 AND state <> 'revoked'`,
			o.Org, o.User, id, fence, db.id, ms(now.Add(ttl)))
		return whyNone(ctx, q, err, o, id)
	})
}

// KeepAnswer stores the sealed answer beside generation version; auth.ErrConflict
// when another generation stands there or the connection is revoked. It works on a
// full disk: the answer may be the only copy of a rotated token.
func (db *DB) KeepAnswer(ctx context.Context, o auth.Owner, id string, version int64, answer []byte) error {
	return db.mustWriteOf(ctx, o, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE connections SET answer = $5
			WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $4 AND state <> 'revoked'`, o.Org, o.User, id, version, answer)
		return whyNone(ctx, q, err, o, id)
	})
}

// CommitRefresh writes generation c.Version over the one before, on a full disk too.
func (db *DB) CommitRefresh(ctx context.Context, c *auth.Connection) error {
	return db.mustWriteOf(ctx, c.Owner, func(ctx context.Context, q querier) error {
		return replaceConnection(ctx, q, c)
	})
}

// FailRefresh notes a failure while generation version stands; auth.ErrConflict
// otherwise, and when fence is no longer the newest. With f.Unknown the kept answer
// of this generation stays.
func (db *DB) FailRefresh(ctx context.Context, o auth.Owner, id string, version, fence int64, f auth.RefreshFailure) error {
	return db.writeOf(ctx, o, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE connections SET state = $6, cause = $7, updated_at = $8, failures = failures + 1, next_try_at = $9,
			dead_version = CASE WHEN $10 THEN version ELSE dead_version END,
			attempts = CASE WHEN $11 THEN attempts ELSE 0 END,
			answer = CASE WHEN $11 THEN answer ELSE NULL END,
			lease_holder = '', lease_until = 0, attempted_at = 0
			WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $4 AND fence = $5 AND state <> 'revoked'`,
			o.Org, o.User, id, version, fence, f.State, f.Cause, ms(db.now()), ms(f.NextTryAt), f.Dead, f.Unknown)
		return whyNone(ctx, q, err, o, id)
	})
}
