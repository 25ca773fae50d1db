package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Backup writes a consistent copy to path, which must not be there yet, while
// others read and write. The copy is mode 0600 and holds no master key. It is
// PATH.unfinished until it is whole; the next backup takes over what a killed one left
// there. With PostgreSQL it refuses: pg_dump does that.
func (db *DB) Backup(ctx context.Context, path string) error {
	if db.pg != nil {
		return errors.New("backup is for a SQLite store; with PostgreSQL use pg_dump")
	}
	if db.uses(path) {
		return fmt.Errorf("%s is a name that the store uses itself; name another file", path)
	}
	unfinished := path + ".unfinished"
	f, err := openUnfinished(unfinished)
	if err != nil {
		return fmt.Errorf("backup: %w; name a file in a directory that is there and can be written", err)
	}
	defer f.Close() // no other backup may take the name before this one has left it
	if _, err = os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is there already; name a new file", path)
	} else if err = db.copyTo(ctx, unfinished); err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		os.Remove(unfinished)
		return fmt.Errorf("backup: %w", db.file.explain(err))
	}
	return syncDir(filepath.Dir(path))
}

// uses reports whether path, under whatever name its directory is reached, is one of ours: what lies there is
// deleted or overwritten sooner or later.
func (db *DB) uses(path string) bool {
	in := func(dir string) bool {
		a, err := os.Stat(filepath.Dir(path))
		if err != nil {
			return false
		}
		b, err := os.Stat(dir)
		return err == nil && os.SameFile(a, b)
	}
	if in(filepath.Join(db.dir, "holders")) {
		return true
	}
	if _, ours := besideFile[filepath.Base(path)]; ours && (in(db.dir) || in(filepath.Dir(db.file.path))) {
		return true
	}
	rest, ours := strings.CutPrefix(filepath.Base(path), filepath.Base(db.file.path))
	return ours && in(filepath.Dir(db.file.path)) && slices.Contains([]string{"-wal", "-shm", "-journal", "-changes", ".new", ".new-wal", ".new-shm", ".restoring", ".restoring-wal", ".restoring-shm", ".restoring-changes"}, rest)
}

func (db *DB) copyTo(ctx context.Context, path string) error {
	// Not the writer's connection: VACUUM INTO only reads, the writer goes on.
	copier := db.file.keeper
	if copier == nil { // read-only, when a copy elsewhere is needed most; but what the readers must not write is the copy, too
		how := db.file.readers.how
		how.pragmas = everyPragma
		copier = newConns(db.file.path, how, 1)
		defer copier.close()
	}
	err := copier.use(ctx, func(c *sqliteConn) error {
		_, err := c.exec(ctx, `VACUUM INTO $1`, path)
		return err
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := firstError(f.Sync(), f.Close()); err != nil {
		return err
	}
	c, err := openConn(path, asItStands)
	if err != nil {
		return err
	}
	return firstError(quickCheck(ctx, c), c.Close()) // whose indexes were just made
}

// Check reads the whole store and says what is damaged, an index that does not agree with its table, too; for doctor. What is inside
// sealed values only opening them shows.
func (db *DB) Check(ctx context.Context) error {
	if db.pg != nil {
		return db.pg.pool.PingContext(ctx)
	}
	return db.file.explain(db.file.readers.use(ctx, func(c *sqliteConn) error { return fullCheck(ctx, c) }))
}

func quickCheck(ctx context.Context, c *sqliteConn) error {
	return sound(collect(ctx, c, scanFault, `PRAGMA quick_check(1)`))
}

// fullCheck compares the indexes with their tables besides, which takes several times as long.
func fullCheck(ctx context.Context, c *sqliteConn) error {
	return sound(collect(ctx, c, scanFault, `PRAGMA integrity_check(1)`))
}

func scanFault(s scanner) (fault string, err error) { return fault, s.Scan(&fault) }

// sound reads what one of SQLite's checks has found.
func sound(faults []string, err error) error {
	if err != nil {
		return err
	}
	if len(faults) == 1 && faults[0] == "ok" {
		return nil
	}
	return fmt.Errorf("%w (%v)", ErrDamaged, faults)
}
