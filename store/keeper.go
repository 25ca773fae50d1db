package store

import (
	"context"
)

// idleSeconds without a write before the WAL is cut to nothing.
const idleSeconds = 5

// keeper does, once a second, what would otherwise slow a write down: it gives audit
// events rows of their own, moves the WAL into the file, writes the anchor of the audit log and
// restores the ballast.
type keeper struct {
	commits int64 // of the group when the WAL was last folded in
	idle    int   // seconds since
	seconds int
}

func (k *keeper) tick(ctx context.Context, db *DB) {
	k.seconds++
	for _, l := range db.audits() {
		if err := l.dropAnchor(); err != nil {
			db.log().Warn("audit anchor not written", "error", err)
		}
		if err := l.spread(ctx); err != nil && ctx.Err() == nil && !isFull(err) {
			db.log().Warn("audit events not sorted in", "error", err)
		}
	}
	if err := db.noteUses(ctx); err != nil && ctx.Err() == nil && !isFull(err) {
		db.log().Warn("times of use not noted", "error", err)
	}
	if db.file == nil {
		return
	}
	if counts := db.file.changes.Load(); counts != nil && !counts.stand(db.file.path) {
		db.countChanges() // somebody deleted the file: other processes may count in another one
	}
	if err := k.checkpoint(ctx, db); err != nil && ctx.Err() == nil {
		db.log().Warn("checkpoint", "error", err)
	}
	if k.seconds%60 == 1 {
		if err := db.layBallast(); err != nil {
			db.log().Warn("no ballast for a full disk", "error", err)
		}
	}
}

func (k *keeper) checkpoint(ctx context.Context, db *DB) error {
	if now := db.group.commits.Load(); now != k.commits {
		k.commits, k.idle = now, 0
		return db.checkpoint(ctx, "PASSIVE")
	}
	if k.idle++; k.idle != idleSeconds {
		return nil
	}
	return db.checkpoint(ctx, "TRUNCATE")
}

// checkpoint moves the WAL into the file: PASSIVE waits for nobody and leaves what
// readers still need, TRUNCATE leaves nothing.
func (db *DB) checkpoint(ctx context.Context, how string) error {
	if db.group.failed() != nil {
		return nil // what is in the WAL stays there for the next process
	}
	return db.group.judge(db.file.keeper.use(ctx, func(c *sqliteConn) error {
		_, err := c.exec(ctx, `PRAGMA wal_checkpoint(`+how+`)`)
		return err
	}))
}
