package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Reserve keeps the place of a store in data directory dir until what it gives is closed: nobody makes a store there or restores
// one meanwhile, but waits.
func Reserve(dir string) (io.Closer, error) {
	if err := privateDir(dir, false); err != nil {
		return nil, err
	}
	return lockFile(filepath.Join(dir, "create.lock"))
}

// CopyBackup copies a backup to a file that is not there yet, for its owner alone.
func CopyBackup(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is a directory", from))
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	adopt(out)
	_, err = io.Copy(out, in)
	if err = firstError(err, out.Sync(), out.Close()); err != nil {
		os.Remove(to)
	}
	return err
}

// Instate gives a store that nobody has open its name, for good. What it was changed by since it was copied is in the file itself: a log of
// changes that waits beside it would stay behind.
func Instate(from, to string) error {
	if wal := from + "-wal"; size(wal) > 0 {
		return fmt.Errorf("changes wait in %s: see who has it open (fuser -v), then try again", wal)
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

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
