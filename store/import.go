package store

import (
	"context"

	"github.com/latchpost/latchpost/auth"
)

// Import inserts connections as they are, all in one transaction: for tests and
// benchmarks. auth.ErrConflict when an id or a label is taken, and then none is
// inserted. What the refresh protocol keeps is not taken along.
func (db *DB) Import(ctx context.Context, all ...auth.Connection) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		for i := range all {
			if err := insertConnection(ctx, q, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
}
