package store

import (
	"context"

	"github.com/latchpost/latchpost/auth"
)

// Holdings says how much an owner has here.
type Holdings struct {
	Owner       auth.Owner
	Connections int // without revoked ones
	Tokens      int // expired ones too
}

// Owners names everybody who has something here, the operator's own apps left out. It is the one method that
// looks across owners for their names, for the operator at the command line; what is theirs is then read with
// theirs alone. It reads every row, so it is nothing for each request.
func (db *DB) Owners(ctx context.Context) (all []Holdings, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = collect(ctx, q, func(s scanner) (h Holdings, err error) {
			return h, s.Scan(&h.Owner.Org, &h.Owner.User, &h.Connections, &h.Tokens)
		}, `SELECT org, user_id, SUM(connected), SUM(issued) FROM (
			SELECT org, user_id, 1 AS connected, 0 AS issued FROM connections WHERE state <> 'revoked'
			UNION ALL SELECT org, user_id, 0, 1 FROM tokens
			UNION ALL SELECT org, user_id, 0, 0 FROM grants
			UNION ALL SELECT org, user_id, 0, 0 FROM apps
			UNION ALL SELECT org, user_id, 0, 0 FROM requests
			UNION ALL SELECT org, user_id, 0, 0 FROM sessions) AS held
			WHERE user_id <> '' GROUP BY org, user_id ORDER BY org, user_id`)
		return err
	})
	return all, err
}
