package store

import "context"

// Restored ends, in a store that was just put back, what was good for one time or a short time when the copy was made. It may have
// been used since: a sign-in finished, a link opened, an approval spent. Leases are of a machine that may not be this one.
func (db *DB) Restored(ctx context.Context) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		for _, query := range []string{
			`UPDATE requests SET expires_at = 1, moves = moves + 1 WHERE state IN ('created', 'confirmed', 'redirected', 'claimed', 'held')`,
			`UPDATE approvals SET state = 'spent' WHERE state = 'waiting' OR state = 'approved' AND once`,
			`DELETE FROM sessions`,
			`DELETE FROM owner_links`,
			`UPDATE connections SET lease_holder = '', lease_until = 0`,
		} {
			if _, err := q.exec(ctx, query); err != nil {
				return err
			}
		}
		return nil
	})
}
