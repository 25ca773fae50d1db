package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/store"
)

// backup writes a consistent copy of the store while it is in use. The key is not in it.
func backup(ctx context.Context, s *settings, args []string) error {
	if len(args) != 1 {
		return usagef("backup takes the file to write")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	path, err := filepath.Abs(args[0])
	if err != nil {
		return err
	}
	if err := h.db.Backup(ctx, path); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s holds everything but the master key. Keep %s apart from it; both are needed to restore.\n", args[0], s.keyURL())
	return nil
}

// restore puts a backup in the place of the store. It never overwrites one, and it
// proves that the key opens the copy before it leaves it there.
func restore(ctx context.Context, s *settings, args []string) (err error) {
	if len(args) != 1 {
		return usagef("restore takes the backup file")
	}
	path, ok := strings.CutPrefix(s.storeURL(), "sqlite:")
	if !ok {
		return usagef("restore works on a SQLite store; PostgreSQL has pg_restore")
	}
	// A log of changes that is left behind would be played into the backup.
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is in the way: end all latchpost processes, move the store and the files beside it (-wal, -shm) away, then try again", path+suffix)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := copyFile(args[0], path); err != nil {
		return fmt.Errorf("restore: %w; name the file that latchpost backup wrote", err)
	}
	defer func() {
		if err != nil {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				_ = os.Remove(path + suffix)
			}
		}
	}()
	keep, err := setAside(filepath.Join(s.data, "audit.anchor"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keep(err != nil)) }()
	h, err := open(ctx, s)
	if errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("%s is damaged or no backup of a store; name the file that latchpost backup wrote", args[0])
	}
	if err != nil {
		return err
	}
	defer h.Close()
	if err := errors.Join(h.db.Check(ctx), h.db.Restored(ctx)); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "The backup is in place and its key fits. Sign-ins, approvals and sessions that were open when it was made have to be started again.")
	return nil
}

// setAside hides the anchor of the store that was there: it says what the record held
// at the end, and the backup is from before. It comes back when the restore fails.
func setAside(anchor string) (end func(back bool) error, err error) {
	aside := anchor + ".before-restore"
	err = os.Rename(anchor, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return func(bool) error { return nil }, nil
	}
	return func(back bool) error {
		if back {
			return os.Rename(aside, anchor)
		}
		return os.Remove(aside)
	}, err
}

func copyFile(from, to string) error {
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
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		_ = os.Remove(to)
	}
	return err
}

func rotateFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.newKey, "new-key", "", "`url` of the master key to change to; a file or keyring entry is made when it is not there")
}

// rotateKey wraps the data keys with another master key, while the store is in use.
// Interrupted, it is run again with the same flags.
func rotateKey(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 || s.newKey == "" {
		return usagef("rotate-key takes --new-key, and --key for the one in use")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	next, err := seal.OpenKEK(ctx, s.newKey)
	if errors.Is(err, seal.ErrNoKey) {
		next, err = seal.CreateKEK(ctx, s.newKey)
	}
	if err != nil {
		return err
	}
	if err := h.box.Rewrap(ctx, next); err != nil {
		return fmt.Errorf("%w; run the same command again to go on", err)
	}
	fmt.Fprintf(s.out, "Key %s opens the store now. Start latchpost with --key %s from here on, and keep the old key as long as you keep backups made with it.\n", next.ID(), s.newKey)
	return nil
}
