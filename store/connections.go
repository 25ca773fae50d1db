package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Connections of an owner, ordered by provider and account.
func (db *DB) Connections(ctx context.Context, o auth.Owner, provider, account string) (all []auth.Connection, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		all, err = connections(ctx, q, o, provider, account)
		return err
	})
	return all, err
}

func connections(ctx context.Context, q querier, o auth.Owner, provider, account string) ([]auth.Connection, error) {
	switch {
	case provider == "":
		return collect(ctx, q, scanConnection, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
			salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
			lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
			FROM connections WHERE org = $1 AND user_id = $2 AND ($3 = '' OR account = $3) AND state <> 'revoked'
			ORDER BY provider, account`, o.Org, o.User, account)
	case account == "":
		return collect(ctx, q, scanConnection, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
			salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
			lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
			FROM connections WHERE org = $1 AND user_id = $2 AND provider = $3 AND state <> 'revoked'
			ORDER BY account`, o.Org, o.User, provider)
	default: // at most one row, straight from the index
		return collect(ctx, q, scanConnection, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
			salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
			lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
			FROM connections WHERE org = $1 AND user_id = $2 AND provider = $3 AND account = $4 AND state <> 'revoked'`,
			o.Org, o.User, provider, account)
	}
}

// Connection by id, revoked ones too.
func (db *DB) Connection(ctx context.Context, o auth.Owner, id string) (c *auth.Connection, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		c, err = connection(ctx, q, o, id)
		return err
	})
	return c, err
}

func connection(ctx context.Context, q querier, o auth.Owner, id string) (*auth.Connection, error) {
	return first(ctx, q, scanConnection, `SELECT org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
		salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at,
		lease_holder, lease_until, fence, dead_version, attempted_at, attempts, answer, failures, next_try_at
		FROM connections WHERE org = $1 AND user_id = $2 AND id = $3`, o.Org, o.User, id)
}

// Standing is the state and the generation of a connection, revoked ones too, and whether a grant on it has not ended. It
// is asked before every call, when the rows as a whole have been read already.
func (db *DB) Standing(ctx context.Context, o auth.Owner, id, grant string, now time.Time) (state auth.State, version int64, granted bool, err error) {
	s, err := recall(db, &db.known.standing, slotOf(o), standingKey{rowKey{o, id}, grant}, func() (s standing, err error) {
		err = db.read(ctx, func(ctx context.Context, q querier) error {
			found, err := first(ctx, q, func(row scanner) (s standing, err error) { return s, row.Scan(&s.state, &s.version, &s.until) },
				`SELECT state, version, COALESCE((SELECT until FROM grants WHERE org = $1 AND user_id = $2 AND id = $4 AND connection = $3), -1)
				FROM connections WHERE org = $1 AND user_id = $2 AND id = $3`, o.Org, o.User, id, grant)
			if err == nil {
				s = *found
			}
			return err
		})
		return s, err
	})
	return s.state, s.version, err == nil && (s.until == 0 || s.until > ms(now)), err
}

type standing struct {
	state   auth.State
	version int64
	until   int64 // of the grant; 0 without end, -1 when there is none
}

type standingKey struct {
	rowKey
	grant string
}

// tellStanding remembers what the rows that Granted has read say of it: it is asked of the same connection and one of the
// grants right after.
func (db *DB) tellStanding(r remembered[granted]) {
	for _, c := range r.value.connections {
		for _, g := range r.value.grants {
			if g.Connection == c.ID {
				db.known.standing.keep(standingKey{rowKey{c.Owner, c.ID}, g.ID}, remembered[standing]{standing{c.State, c.Version, ms(g.Until)}, r.as, r.until})
			}
		}
	}
}

// rowKey names a row of an owner.
type rowKey struct {
	owner auth.Owner
	id    string
}

func (k rowKey) compare(other rowKey) int {
	return cmp.Or(cmp.Compare(k.owner.Org, other.owner.Org), cmp.Compare(k.owner.User, other.owner.User), cmp.Compare(k.id, other.id))
}

func scanConnection(s scanner) (c auth.Connection, err error) {
	var scopes, hosts, vars string
	var expires, refreshExpires, issued, created, updated, used, until, attempted, next int64
	r := &c.Refresh
	err = s.Scan(&c.Owner.Org, &c.Owner.User, &c.ID, &c.Provider, &c.Account, &c.AccountID, &c.Method, &c.State, &c.Cause, &scopes, &hosts, &vars, &c.Bind,
		&c.Salt, &c.Sealed, &c.Version, &expires, &refreshExpires, &issued, &created, &updated, &used,
		&r.Holder, &until, &r.Fence, &r.DeadVersion, &attempted, &r.Attempts, &r.Answer, &r.Failures, &next)
	if err != nil {
		return c, err
	}
	c.ExpiresAt, c.RefreshExpiresAt, c.IssuedAt = at(expires), at(refreshExpires), at(issued)
	c.CreatedAt, c.UpdatedAt, c.LastUsedAt = at(created), at(updated), at(used)
	r.Until, r.AttemptedAt, r.NextTryAt = at(until), at(attempted), at(next)
	var damage [3]error
	c.Scopes, damage[0] = unlist(scopes)
	c.Hosts, damage[1] = unlist(hosts)
	c.Vars, damage[2] = undict(vars)
	if firstError(damage[:]...) != nil && c.State != auth.Revoked { // the person can mend it by signing in
		c.State, c.Cause = auth.NeedsReauth, auth.CauseDamaged
	}
	return c, nil
}

// insertConnection adds a first generation; auth.ErrConflict when the id or the label is taken.
func insertConnection(ctx context.Context, q querier, c *auth.Connection) error {
	_, err := q.exec(ctx, `INSERT INTO connections (org, user_id, id, provider, account, account_id, method, state, cause, scopes, hosts, vars, bind,
		salt, sealed, version, expires_at, refresh_expires_at, issued_at, created_at, updated_at, last_used_at, dead_version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`,
		c.Owner.Org, c.Owner.User, c.ID, c.Provider, c.Account, c.AccountID, c.Method, c.State, c.Cause, list(c.Scopes), list(c.Hosts), dict(c.Vars), c.Bind,
		c.Salt, c.Sealed, c.Version, ms(c.ExpiresAt), ms(c.RefreshExpiresAt), ms(c.IssuedAt), ms(c.CreatedAt), ms(c.UpdatedAt), ms(c.LastUsedAt), c.Refresh.DeadVersion)
	if isTaken(err) {
		return auth.ErrConflict
	}
	return err
}

// replaceConnection writes c over the generation before it and clears what the refresh
// protocol kept; auth.ErrConflict when another generation stands there, when it is
// revoked, or when the label is taken.
func replaceConnection(ctx context.Context, q querier, c *auth.Connection) error {
	err := change(ctx, q, auth.ErrConflict, `UPDATE connections SET account = $4, account_id = $5, method = $6, state = $7, cause = $8,
		scopes = $9, hosts = $10, vars = $11, bind = $12, salt = $13, sealed = $14, version = $15,
		expires_at = $16, refresh_expires_at = $17, issued_at = $18, updated_at = $19, created_at = $20, dead_version = $21,
		lease_holder = '', lease_until = 0, attempted_at = 0, attempts = 0, answer = NULL, failures = 0, next_try_at = 0
		WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $15 - 1 AND state <> 'revoked'`,
		c.Owner.Org, c.Owner.User, c.ID, c.Account, c.AccountID, c.Method, c.State, c.Cause,
		list(c.Scopes), list(c.Hosts), dict(c.Vars), c.Bind, c.Salt, c.Sealed, c.Version,
		ms(c.ExpiresAt), ms(c.RefreshExpiresAt), ms(c.IssuedAt), ms(c.UpdatedAt), ms(c.CreatedAt), c.Refresh.DeadVersion)
	if isTaken(err) {
		return auth.ErrConflict
	}
	return err
}

// SetState changes state and cause. A revoked connection stays revoked: auth.ErrConflict.
func (db *DB) SetState(ctx context.Context, o auth.Owner, id string, version int64, s auth.State, cause string) error {
	return db.writeOf(ctx, o, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE connections SET state = $5, cause = $6, updated_at = $7
			WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $4 AND state <> 'revoked'`,
			o.Org, o.User, id, version, s, cause, ms(db.now()))
		return whyNone(ctx, q, err, o, id)
	})
}

// SaveSealed replaces Sealed and ExpiresAt and counts c.Version up, in the row and in c.
// Seal for c.Version+1.
func (db *DB) SaveSealed(ctx context.Context, c *auth.Connection) error {
	err := db.writeOf(ctx, c.Owner, func(ctx context.Context, q querier) error {
		err := change(ctx, q, errNone, `UPDATE connections SET sealed = $5, expires_at = $6, version = version + 1, updated_at = $7
			WHERE org = $1 AND user_id = $2 AND id = $3 AND version = $4 AND state <> 'revoked'`,
			c.Owner.Org, c.Owner.User, c.ID, c.Version, c.Sealed, ms(c.ExpiresAt), ms(db.now()))
		return whyNone(ctx, q, err, c.Owner, c.ID)
	})
	if err == nil {
		c.Version++
	}
	return err
}

// errNone is turned into what it means by whyNone.
var errNone = auth.ErrConflict.Say("no row")

// whyNone tells a connection that moved on from one that is not there.
func whyNone(ctx context.Context, q querier, err error, o auth.Owner, id string) error {
	if err != errNone {
		return err
	}
	if _, err := connection(ctx, q, o, id); err != nil {
		return err
	}
	return auth.ErrConflict
}

// touched remembers which connections were noted in the current minute, and which of them
// are still to be written.
type touched struct {
	mu     sync.Mutex
	minute time.Time
	ids    map[rowKey]bool
	due    map[rowKey]time.Time
}

// Touch notes the minute of use, once a minute for each connection; it is written within a
// second. A connection that is not there is no error.
func (db *DB) Touch(_ context.Context, o auth.Owner, id string, at time.Time) error {
	if db.group == nil {
		return nil
	}
	t, key := &db.touch, rowKey{o, id}
	t.mu.Lock()
	defer t.mu.Unlock()
	if minute := at.Truncate(time.Minute); !t.minute.Equal(minute) {
		t.minute, t.ids = minute, map[rowKey]bool{}
	}
	if t.ids[key] {
		return nil
	}
	t.ids[key] = true
	if t.due == nil {
		t.due = map[rowKey]time.Time{}
	}
	t.due[key] = t.minute
	return nil
}

const touchedRows = 64 // in one transaction

// noteUses writes what Touch was told. Nothing is read anew for it: a time of use may be told late.
func (db *DB) noteUses(ctx context.Context) error {
	db.touch.mu.Lock()
	due := db.touch.due
	db.touch.due = nil
	db.touch.mu.Unlock()
	inOrder := slices.SortedFunc(maps.Keys(due), rowKey.compare) // or two machines could wait for each other's rows
	for some := range slices.Chunk(inOrder, touchedRows) {
		err := db.put(ctx, &job{slot: nobodys, run: func(ctx context.Context, q querier) error {
			for _, key := range some {
				_, err := q.exec(ctx, `UPDATE connections SET last_used_at = $4
					WHERE org = $1 AND user_id = $2 AND id = $3 AND last_used_at < $4`, key.owner.Org, key.owner.User, key.id, ms(due[key]))
				if err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
