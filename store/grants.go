package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Grants that have not ended, oldest first. Empty client or connection match all.
func (db *DB) Grants(ctx context.Context, o auth.Owner, client, connection string, now time.Time) (all []auth.Grant, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		all, err = grants(ctx, q, o, client, connection, now)
		return err
	})
	return all, err
}

func grants(ctx context.Context, q querier, o auth.Owner, client, connection string, now time.Time) (all []auth.Grant, err error) {
	if connection == "" {
		all, err = collect(ctx, q, scanGrant, `SELECT org, user_id, id, client, connection, kind, access, methods, paths, hosts, until, created_at, origin, client_name
			FROM grants WHERE org = $1 AND user_id = $2 AND ($3 = '' OR client = $3) AND (until = 0 OR until > $4)
			ORDER BY created_at, id`, o.Org, o.User, client, ms(now))
	} else {
		all, err = collect(ctx, q, scanGrant, `SELECT org, user_id, id, client, connection, kind, access, methods, paths, hosts, until, created_at, origin, client_name
			FROM grants WHERE org = $1 AND user_id = $2 AND connection = $3 AND ($4 = '' OR client = $4) AND (until = 0 OR until > $5)
			ORDER BY created_at, id`, o.Org, o.User, connection, client, ms(now))
	}
	return slices.DeleteFunc(all, func(g auth.Grant) bool { return g.Until.Equal(over) }), err
}

// Granted gives an owner's connections and what client may do with them. One connection to the
// database answers both questions: with more callers than there are of those, every turn is a wait.
func (db *DB) Granted(ctx context.Context, o auth.Owner, client, provider, account string, now time.Time) ([]auth.Connection, []auth.Grant, error) {
	known, err := recall(db, &db.known.granted, slotOf(o), grantedKey{o, client, provider, account}, func() (g granted, err error) {
		err = db.read(ctx, func(ctx context.Context, q querier) error {
			g.grants = nil
			if g.connections, err = connections(ctx, q, o, provider, account); err != nil || len(g.connections) == 0 {
				return err
			}
			only := "" // of several, all
			if len(g.connections) == 1 {
				only = g.connections[0].ID
			}
			g.grants, err = grants(ctx, q, o, client, only, now)
			return err
		})
		return g, err
	})
	found, all := known.at(now)
	return found, all, err
}

type grantedKey struct {
	owner                     auth.Owner
	client, provider, account string
}

type granted struct {
	connections []auth.Connection
	grants      []auth.Grant
}

// at gives what is the caller's own to change. A grant may have ended since it was read.
func (g granted) at(now time.Time) (found []auth.Connection, all []auth.Grant) {
	found = slices.Clone(g.connections)
	for i := range found {
		c := &found[i]
		c.Scopes, c.Hosts, c.Vars = slices.Clone(c.Scopes), slices.Clone(c.Hosts), maps.Clone(c.Vars)
		c.Salt, c.Sealed, c.Refresh.Answer = slices.Clone(c.Salt), slices.Clone(c.Sealed), slices.Clone(c.Refresh.Answer)
	}
	for _, one := range g.grants {
		if one.Until.IsZero() || ms(one.Until) > ms(now) {
			all = append(all, one)
		}
	}
	return found, all
}

func scanGrant(s scanner) (g auth.Grant, err error) {
	var methods, paths, hosts string
	var until, created int64
	err = s.Scan(&g.Owner.Org, &g.Owner.User, &g.ID, &g.Client, &g.Connection, &g.Kind, &g.Access, &methods, &paths, &hosts, &until, &created, &g.Origin, &g.ClientName)
	if err != nil {
		return g, err
	}
	g.Until, g.CreatedAt = at(until), at(created)
	var damage [3]error
	g.Methods, damage[0] = unlist(methods)
	g.Paths, damage[1] = unlist(paths)
	g.Hosts, damage[2] = unlist(hosts)
	if firstError(damage[:]...) != nil { // what it was for is not known any more
		g.Until = over
	}
	return g, nil
}

// over is the end of a grant that allows nothing.
var over = at(1)

// AddGrant adds g; auth.ErrNotFound when the owner has no such connection or it is
// revoked, auth.ErrConflict when the id is taken.
func (db *DB) AddGrant(ctx context.Context, g auth.Grant) error {
	return db.writeOf(ctx, g.Owner, func(ctx context.Context, q querier) error {
		return insertGrant(ctx, q, g)
	})
}

// endGrantsOfAnother takes back what was said of the account that c had before.
func endGrantsOfAnother(ctx context.Context, q querier, c *auth.Connection) error {
	_, err := q.exec(ctx, `DELETE FROM grants WHERE org = $1 AND user_id = $2 AND connection = $3
		AND EXISTS (SELECT 1 FROM connections WHERE org = $1 AND user_id = $2 AND id = $3 AND (account <> $4 OR created_at <> $5))`,
		c.Owner.Org, c.Owner.User, c.ID, c.Account, ms(c.CreatedAt))
	return err
}

// endWholeGrants makes room for g, which says anew what its client may do with the connection on the whole.
func endWholeGrants(ctx context.Context, q querier, g auth.Grant) error {
	_, err := q.exec(ctx, `DELETE FROM grants WHERE org = $1 AND user_id = $2 AND connection = $3 AND client = $4
		AND kind = 'use' AND methods IN ('', '[]') AND paths IN ('', '[]') AND hosts IN ('', '[]')`,
		g.Owner.Org, g.Owner.User, g.Connection, g.Client)
	return err
}

func insertGrant(ctx context.Context, q querier, g auth.Grant) error {
	c, err := connection(ctx, q, g.Owner, g.Connection)
	if err != nil {
		return err
	}
	if c.State == auth.Revoked {
		return auth.ErrNotFound
	}
	_, err = q.exec(ctx, `INSERT INTO grants (org, user_id, id, client, connection, kind, access, methods, paths, hosts, until, created_at, origin, client_name)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		g.Owner.Org, g.Owner.User, g.ID, g.Client, g.Connection, g.Kind, g.Access, list(g.Methods), list(g.Paths), list(g.Hosts), ms(g.Until), ms(g.CreatedAt), g.Origin, g.ClientName)
	if isTaken(err) {
		return auth.ErrConflict
	}
	return err
}

// EndGrant deletes a grant.
func (db *DB) EndGrant(ctx context.Context, o auth.Owner, id string) error {
	return db.mustWriteOf(ctx, o, func(ctx context.Context, q querier) error {
		return change(ctx, q, auth.ErrNotFound, `DELETE FROM grants WHERE org = $1 AND user_id = $2 AND id = $3`, o.Org, o.User, id)
	})
}
