package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// AddApproval adds a, or makes a the equal one that waits already: same client,
// connection, kind and digest. That one is asked for the reason that a has: what the
// client may do can have changed since it was asked first.
func (db *DB) AddApproval(ctx context.Context, a *auth.Approval, limit int) (existing bool, err error) {
	var equal *auth.Approval
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		equal = nil
		waiting, err := approvals(ctx, q, a.Owner, auth.Waiting, a.CreatedAt)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if w.Client == a.Client && w.Connection == a.Connection && w.Kind == a.Kind && bytes.Equal(w.Digest, a.Digest) {
				equal = &w
				if w.Why == a.Why {
					return nil
				}
				w.Why = a.Why
				_, err = q.exec(ctx, `UPDATE approvals SET why = $4 WHERE org = $1 AND user_id = $2 AND id = $3`, w.Owner.Org, w.Owner.User, w.ID, w.Why)
				return err
			}
		}
		if len(waiting) >= limit {
			return auth.ErrLimit
		}
		_, err = q.exec(ctx, `INSERT INTO approvals (org, user_id, id, client, verified, connection, provider, account, kind, digest, method, url,
			preview, body_digest, why, state, once, created_at, expires_at, decided_at, client_name)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
			a.Owner.Org, a.Owner.User, a.ID, a.Client, a.Verified, a.Connection, a.Provider, a.Account, a.Kind, a.Digest, a.Method, a.URL,
			a.Preview, a.BodyDigest, a.Why, a.State, a.Once, ms(a.CreatedAt), ms(a.ExpiresAt), ms(a.DecidedAt), a.ClientName)
		if isTaken(err) {
			return auth.ErrConflict
		}
		return err
	})
	if err == nil && equal != nil {
		*a = *equal
		return true, nil
	}
	return false, err
}

// Approval by id.
func (db *DB) Approval(ctx context.Context, o auth.Owner, id string) (a *auth.Approval, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		a, err = approval(ctx, q, o, id)
		return err
	})
	return a, err
}

func approval(ctx context.Context, q querier, o auth.Owner, id string) (*auth.Approval, error) {
	return first(ctx, q, scanApproval, `SELECT org, user_id, id, client, verified, connection, provider, account, kind, digest, method, url,
		preview, body_digest, why, state, once, created_at, expires_at, decided_at, client_name
		FROM approvals WHERE org = $1 AND user_id = $2 AND id = $3`, o.Org, o.User, id)
}

// Approvals in one state, those that wait only until they expire, newest first.
func (db *DB) Approvals(ctx context.Context, o auth.Owner, s auth.ApprovalState, now time.Time) (all []auth.Approval, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = approvals(ctx, q, o, s, now)
		return err
	})
	return all, err
}

func approvals(ctx context.Context, q querier, o auth.Owner, s auth.ApprovalState, now time.Time) ([]auth.Approval, error) {
	after := int64(-1)
	if s == auth.Waiting {
		after = ms(now)
	}
	return collect(ctx, q, scanApproval, `SELECT org, user_id, id, client, verified, connection, provider, account, kind, digest, method, url,
		preview, body_digest, why, state, once, created_at, expires_at, decided_at, client_name
		FROM approvals WHERE org = $1 AND user_id = $2 AND state = $3 AND expires_at > $4
		ORDER BY created_at DESC, id`, o.Org, o.User, s, after)
}

func scanApproval(s scanner) (a auth.Approval, err error) {
	var created, expires, decided int64
	err = s.Scan(&a.Owner.Org, &a.Owner.User, &a.ID, &a.Client, &a.Verified, &a.Connection, &a.Provider, &a.Account, &a.Kind, &a.Digest, &a.Method, &a.URL,
		&a.Preview, &a.BodyDigest, &a.Why, &a.State, &a.Once, &created, &expires, &decided, &a.ClientName)
	a.CreatedAt, a.ExpiresAt, a.DecidedAt = at(created), at(expires), at(decided)
	return a, err
}

// Decide moves a waiting approval to s. auth.ErrExpired when it is too late,
// auth.ErrNotFound when the connection of g is gone, auth.ErrConflict when what is
// approved has become another account's.
func (db *DB) Decide(ctx context.Context, o auth.Owner, id string, s auth.ApprovalState, once bool, g *auth.Grant, now time.Time) error {
	return db.writeOf(ctx, o, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE approvals SET state = $4, once = $5, decided_at = $6
			WHERE org = $1 AND user_id = $2 AND id = $3 AND state = 'waiting' AND expires_at > $6`, o.Org, o.User, id, s, once, ms(now))
		if err == errNone {
			a, err := approval(ctx, q, o, id)
			if err != nil {
				return err
			}
			if a.State == auth.Waiting {
				return auth.ErrExpired
			}
			return auth.ErrUsed
		}
		if err != nil || s != auth.Approved {
			return err
		}
		if err := sameAccount(ctx, q, o, id); err != nil || g == nil {
			return err
		}
		if g.Owner != o {
			return errors.New("a grant goes with its own owner's approval")
		}
		return insertGrant(ctx, q, *g)
	})
}

// sameAccount is auth.ErrConflict when the connection of an approval has another account than it had when the owner was
// asked, which may be called the same. It is looked at beside the change: a sign-in may come between any question and its answer.
func sameAccount(ctx context.Context, q querier, o auth.Owner, id string) error {
	a, err := approval(ctx, q, o, id)
	if err != nil {
		return err
	}
	c, err := connection(ctx, q, o, a.Connection)
	if err == nil && !a.IsFor(c) {
		err = auth.ErrConflict
	}
	return err
}

// Spend takes an approval that was given for one call, in its time.
func (db *DB) Spend(ctx context.Context, o auth.Owner, client, connection string, digest []byte, now time.Time) (id string, err error) {
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		spent, err := first(ctx, q, func(s scanner) (id string, err error) { return id, s.Scan(&id) },
			`UPDATE approvals SET state = 'spent'
			WHERE org = $1 AND user_id = $2 AND state = 'approved' AND id = (SELECT id FROM approvals
				WHERE org = $1 AND user_id = $2 AND client = $3 AND connection = $4 AND digest = $5
				AND state = 'approved' AND once AND expires_at > $6 ORDER BY created_at, id LIMIT 1)
			RETURNING id`, o.Org, o.User, client, connection, digest, ms(now))
		if err == nil {
			id = *spent
		}
		return err
	})
	return id, err
}
