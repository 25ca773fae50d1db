package store

import (
	"context"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// SpendTicket notes that a ticket was used, and forgets those that have ended.
// auth.ErrUsed when it was used before, by whatever process of this store.
func (db *DB) SpendTicket(ctx context.Context, serial string, until time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.exec(ctx, `DELETE FROM tickets WHERE expires_at <= $1`, ms(db.now())); err != nil {
			return err
		}
		return change(ctx, q, auth.ErrUsed, `INSERT INTO tickets (serial, expires_at) VALUES ($1, $2)
			ON CONFLICT (serial) DO NOTHING`, serial, ms(until))
	})
}
