package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// CreateRequest adds r, or makes r the equal request that is open already. That one has the reason of r then, which
// can have changed since it was made.
func (db *DB) CreateRequest(ctx context.Context, r *auth.Request, limit int) (existing bool, err error) {
	var equal *auth.Request
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		equal = nil
		open, err := openRequests(ctx, q, r.Owner)
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(o auth.Request) bool { return !o.ExpiresAt.After(r.CreatedAt) })
		for _, o := range open {
			if o.SameWish(r) {
				equal = &o
				if o.Reason == r.Reason {
					return nil
				}
				o.Reason = r.Reason
				if err := moveRequest(ctx, q, &o, o.State); err != nil {
					return err
				}
				o.Moves++
				return nil
			}
		}
		if len(open) >= limit {
			return auth.ErrLimit
		}
		return insertRequest(ctx, q, r)
	})
	if err == nil && equal != nil {
		*r = *equal
		return true, nil
	}
	return false, err
}

func insertRequest(ctx context.Context, q querier, r *auth.Request) error {
	_, err := q.exec(ctx, `INSERT INTO requests (org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
		state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28)`,
		r.Owner.Org, r.Owner.User, r.ID, r.Client, r.Verified, r.Provider, r.Method, r.Account, list(r.Scopes), r.Reason, r.MatchCode, r.Renews,
		r.State, r.Cause, r.Browser, r.StateHash, r.Access, dict(r.Vars), r.Private, r.UserCode, r.VerifyURL, ms(r.NextPollAt), r.Connection,
		ms(r.CreatedAt), ms(r.UpdatedAt), ms(r.ExpiresAt), r.Moves, r.ClientName)
	if isTaken(err) {
		return auth.ErrConflict
	}
	return err
}

// Request by id alone.
func (db *DB) Request(ctx context.Context, id string) (r *auth.Request, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		r, err = first(ctx, q, scanRequest, `SELECT org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name
			FROM requests WHERE id = $1`, id)
		return err
	})
	return r, err
}

// RequestByState finds a request by the hash of its OAuth state.
func (db *DB) RequestByState(ctx context.Context, stateHash []byte) (r *auth.Request, err error) {
	if len(stateHash) == 0 {
		return nil, auth.ErrNotFound
	}
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		r, err = first(ctx, q, scanRequest, `SELECT org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name
			FROM requests WHERE state_hash = $1`, stateHash)
		return err
	})
	return r, err
}

// LastSignIn finds the newest request that was stored in a connection.
func (db *DB) LastSignIn(ctx context.Context, o auth.Owner, connection string) (r *auth.Request, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		r, err = first(ctx, q, scanRequest, `SELECT org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name
			FROM requests WHERE org = $1 AND user_id = $2 AND connection = $3 AND state = 'stored' ORDER BY updated_at DESC, id LIMIT 1`, o.Org, o.User, connection)
		return err
	})
	return r, err
}

func scanRequest(s scanner) (r auth.Request, err error) {
	var scopes, vars string
	var poll, created, updated, expires int64
	err = s.Scan(&r.Owner.Org, &r.Owner.User, &r.ID, &r.Client, &r.Verified, &r.Provider, &r.Method, &r.Account, &scopes, &r.Reason, &r.MatchCode, &r.Renews,
		&r.State, &r.Cause, &r.Browser, &r.StateHash, &r.Access, &vars, &r.Private, &r.UserCode, &r.VerifyURL, &poll, &r.Connection, &created, &updated, &expires, &r.Moves, &r.ClientName)
	if err != nil {
		return r, err
	}
	r.NextPollAt, r.CreatedAt, r.UpdatedAt, r.ExpiresAt = at(poll), at(created), at(updated), at(expires)
	var damage [2]error
	r.Scopes, damage[0] = unlist(scopes)
	r.Vars, damage[1] = undict(vars)
	if firstError(damage[:]...) != nil && !r.State.Over() {
		r.State, r.Cause = auth.Failed, auth.CauseDamaged
	}
	return r, nil
}

// MoveRequest writes r whole if its row stands in one of from (at most five), and nobody wrote it since r was read. All
// that changes a request counts in moves.
func (db *DB) MoveRequest(ctx context.Context, r *auth.Request, from ...auth.RequestState) error {
	write := db.write
	if r.State.Over() { // ending a request has to work on a full disk
		write = db.mustWrite
	}
	err := write(ctx, func(ctx context.Context, q querier) error {
		return moveRequest(ctx, q, r, from...)
	})
	if err == nil {
		r.Moves++
	}
	return err
}

func moveRequest(ctx context.Context, q querier, r *auth.Request, from ...auth.RequestState) error {
	if len(from) == 0 || len(from) > 5 {
		return errors.New("a request moves from one to five states")
	}
	var in [5]auth.RequestState
	for i := range in {
		in[i] = from[min(i, len(from)-1)]
	}
	err := change(ctx, q, errNone, `UPDATE requests SET client = $4, verified = $5, provider = $6, method = $7, account = $8, scopes = $9, reason = $10,
		match_code = $11, renews = $12, state = $13, cause = $14, browser = $15, state_hash = $16, access = $17, vars = $18, private = $19,
		user_code = $20, verify_url = $21, next_poll_at = $22, connection = $23, updated_at = $24, expires_at = $25, client_name = $32, moves = moves + 1
		WHERE org = $1 AND user_id = $2 AND id = $3 AND state IN ($26, $27, $28, $29, $30) AND moves = $31`,
		r.Owner.Org, r.Owner.User, r.ID, r.Client, r.Verified, r.Provider, r.Method, r.Account, list(r.Scopes), r.Reason,
		r.MatchCode, r.Renews, r.State, r.Cause, r.Browser, r.StateHash, r.Access, dict(r.Vars), r.Private,
		r.UserCode, r.VerifyURL, ms(r.NextPollAt), r.Connection, ms(r.UpdatedAt), ms(r.ExpiresAt),
		in[0], in[1], in[2], in[3], in[4], r.Moves, r.ClientName)
	if err != errNone {
		if isTaken(err) {
			return auth.ErrConflict
		}
		return err
	}
	_, err = first(ctx, q, func(s scanner) (n int, err error) { return n, s.Scan(&n) },
		`SELECT 1 FROM requests WHERE org = $1 AND user_id = $2 AND id = $3`, r.Owner.Org, r.Owner.User, r.ID)
	if err != nil {
		return err
	}
	return auth.ErrConflict
}

// CompleteRequest stores what a sign-in brought. It moves r, which may stand in any
// open state, to Stored; auth.ErrConflict when r is over, or was written since it was read.
func (db *DB) CompleteRequest(ctx context.Context, r *auth.Request, c *auth.Connection, g []auth.Grant) error {
	stored := *r
	stored.State, stored.Connection, stored.Private = auth.Stored, c.ID, nil
	err := db.writeOf(ctx, r.Owner, func(ctx context.Context, q querier) error {
		if err := moveRequest(ctx, q, &stored, auth.Claimed, auth.Held, auth.Redirected, auth.Confirmed, auth.Created); err != nil {
			return err
		}
		if c.Version == 1 {
			if err := insertConnection(ctx, q, c); err != nil {
				return err
			}
		} else {
			if err := endGrantsOfAnother(ctx, q, c); err != nil {
				return err
			}
			if err := replaceConnection(ctx, q, c); err != nil {
				return err
			}
		}
		for _, one := range g {
			if err := endWholeGrants(ctx, q, one); err != nil {
				return err
			}
			if err := insertGrant(ctx, q, one); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		stored.Moves++
		*r = stored
	}
	return err
}

// OpenRequests of an owner, newest first.
func (db *DB) OpenRequests(ctx context.Context, o auth.Owner) (open []auth.Request, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		open, err = openRequests(ctx, q, o)
		return err
	})
	return open, err
}

func openRequests(ctx context.Context, q querier, o auth.Owner) ([]auth.Request, error) {
	return collect(ctx, q, scanRequest, `SELECT org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
		state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name
		FROM requests WHERE org = $1 AND user_id = $2 AND state IN ('created', 'confirmed', 'redirected', 'claimed', 'held')
		ORDER BY created_at DESC, id`, o.Org, o.User)
}

// DuePolls gives requests to poll, each to one caller only.
func (db *DB) DuePolls(ctx context.Context, now time.Time, hold time.Duration, limit int) (due []auth.Request, err error) {
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		due, err = collect(ctx, q, scanRequest, `UPDATE requests SET next_poll_at = $2, moves = moves + 1
			WHERE next_poll_at > 0 AND next_poll_at <= $1 AND id IN (SELECT id FROM requests
				WHERE next_poll_at > 0 AND next_poll_at <= $1 AND expires_at > $1 AND state IN ('confirmed', 'redirected') ORDER BY next_poll_at LIMIT $3)
			RETURNING org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name`,
			ms(now), ms(now.Add(hold)), limit)
		return err
	})
	return slices.DeleteFunc(due, func(r auth.Request) bool { return r.State.Over() }), err
}

// ExpireRequests ends what nobody will end any more and forgets what ended long ago, approvals and grants too. It takes
// some hundred rows of a kind at most: it runs every few seconds, and nobody's write should wait long for it.
func (db *DB) ExpireRequests(ctx context.Context, now, stuck, old time.Time, most int) (ended []auth.Request, err error) {
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		late, err := collect(ctx, q, scanRequest, `UPDATE requests SET state = 'expired', private = NULL, next_poll_at = 0, updated_at = $1, moves = moves + 1
			WHERE id IN (SELECT id FROM requests WHERE expires_at <= $1 AND state IN ('created', 'confirmed', 'redirected', 'held') ORDER BY expires_at LIMIT 200)
			OR id IN (SELECT id FROM requests WHERE expires_at > $1 AND state IN ('created', 'confirmed', 'redirected', 'held') ORDER BY expires_at DESC LIMIT 1000 OFFSET $2)
			RETURNING org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name`, ms(now), most)
		if err != nil {
			return err
		}
		lost, err := collect(ctx, q, scanRequest, `UPDATE requests SET state = 'failed', cause = 'unknown_outcome', next_poll_at = 0, updated_at = $1, moves = moves + 1
			WHERE id IN (SELECT id FROM requests WHERE state = 'claimed' AND updated_at < $2 ORDER BY updated_at LIMIT 200)
			OR id IN (SELECT id FROM requests WHERE state = 'claimed' AND updated_at > $3 ORDER BY updated_at DESC LIMIT 200)
			RETURNING org, user_id, id, client, verified, provider, method, account, scopes, reason, match_code, renews,
			state, cause, browser, state_hash, access, vars, private, user_code, verify_url, next_poll_at, connection, created_at, updated_at, expires_at, moves, client_name`, ms(now), ms(stuck), ms(now.Add(auth.LongestWait)))
		if err != nil {
			return err
		}
		ended = append(late, lost...)
		_, err = q.exec(ctx, `DELETE FROM requests WHERE id IN (SELECT id FROM requests
			WHERE updated_at < $1 AND state IN ('stored', 'failed', 'declined', 'expired') ORDER BY updated_at LIMIT 200)`, ms(old))
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM approvals WHERE (org, user_id, id) IN (SELECT org, user_id, id FROM approvals
			WHERE expires_at < $1 ORDER BY expires_at LIMIT 200)`, ms(old))
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM grants WHERE (org, user_id, id) IN (SELECT org, user_id, id FROM grants
			WHERE until <> 0 AND until < $1 ORDER BY until LIMIT 200)`, ms(old))
		return err
	})
	return ended, err
}

// DueRefreshes gives connections to refresh ahead, the most urgent first.
func (db *DB) DueRefreshes(ctx context.Context, now, lapsed, soon, fading, usedAfter time.Time, limit int) (due []auth.Connection, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		due, err = collect(ctx, q, scanConnection, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
			salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
			lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
			FROM connections WHERE state IN ('active', 'expiring', 'provider_down') AND method NOT IN ('browser', 'api_key')
			AND dead_version <> version AND (next_try_at <= $1 OR next_try_at >= $6) AND (lease_until <= $1 OR lease_until >= $6) AND (
				expires_at <> 0 AND expires_at > $2 AND expires_at < $3 AND last_used_at > $4
				OR refresh_expires_at <> 0 AND refresh_expires_at > $2 AND refresh_expires_at < $7
					AND (refresh_expires_at < $3 OR (refresh_expires_at - $1) * 4 < $1 - issued_at)
				OR state = 'provider_down' AND next_try_at <= $1 AND expires_at < $3 AND last_used_at > $4)
			ORDER BY CASE WHEN refresh_expires_at <> 0 AND refresh_expires_at < $7 THEN 0 ELSE 1 END, expires_at LIMIT $5`, ms(now), ms(lapsed), ms(soon), ms(usedAfter), limit, ms(now.Add(auth.LongestWait)), ms(fading))
		return err
	})
	return due, err
}

// DueProbes takes browser sessions and pasted keys that nobody has looked at since before. Most of the time
// there are none: it looks for them without holding anybody's write up.
func (db *DB) DueProbes(ctx context.Context, now, before time.Time, limit int) (due []auth.Connection, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		_, err := first(ctx, q, func(s scanner) (id string, err error) { return id, s.Scan(&id) }, `SELECT id FROM connections
			WHERE method IN ('browser', 'api_key') AND state IN ('active', 'expiring', 'provider_down') AND updated_at < $1 LIMIT 1`, ms(before))
		return err
	})
	if errors.Is(err, auth.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		due, err = collect(ctx, q, scanConnection, `UPDATE connections SET updated_at = $1
			WHERE updated_at < $2 AND (org, user_id, id) IN (SELECT org, user_id, id FROM connections
				WHERE method IN ('browser', 'api_key') AND state IN ('active', 'expiring', 'provider_down') AND updated_at < $2 ORDER BY updated_at LIMIT $3)
			RETURNING org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
			salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
			lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at`, ms(now), ms(before), limit)
		return err
	})
	return due, err
}
