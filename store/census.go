package store

import (
	"context"

	"github.com/latchpost/latchpost/auth"
)

// Census counts what all owners have together. It reads every row, so it is nothing for each request.
type Census struct {
	Connections map[auth.State]int // revoked ones too, until their rows go
	Requests    map[Step]int       // also those that ended lately
}

// Step is a way to sign in and how far a request by it has come.
type Step struct {
	Method string
	State  auth.RequestState
}

// Census takes one.
func (db *DB) Census(ctx context.Context) (*Census, error) {
	c := &Census{}
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		if c.Connections, err = counted(ctx, q, `SELECT state, COUNT(*) FROM connections GROUP BY state`, func(s *auth.State) []any { return []any{s} }); err != nil {
			return err
		}
		c.Requests, err = counted(ctx, q, `SELECT method, state, COUNT(*) FROM requests GROUP BY method, state`, func(s *Step) []any { return []any{&s.Method, &s.State} })
		return err
	})
	return c, err
}

func counted[K comparable](ctx context.Context, q querier, query string, columns func(*K) []any) (map[K]int, error) {
	rows, err := q.query(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[K]int{}
	for rows.Next() {
		var key K
		var n int
		if err := rows.Scan(append(columns(&key), &n)...); err != nil {
			return nil, err
		}
		all[key] = n
	}
	return all, rows.Err()
}
