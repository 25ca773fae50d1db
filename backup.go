package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
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

// besideStore are the endings of the files that SQLite and we keep beside a store's.
var besideStore = []string{"", "-wal", "-shm", "-changes"}

// restore puts a backup in the place of the store. It never overwrites one. The copy has another name until the key has
// opened it and what was good once has ended in it: killed at any moment, restore leaves no store, or one that is whole.
func restore(ctx context.Context, s *settings, args []string) error {
	if len(args) != 1 {
		return usagef("restore takes the backup file")
	}
	path, ok := strings.CutPrefix(s.storeURL(), "sqlite:")
	if !ok {
		return usagef("restore works on a SQLite store; PostgreSQL has pg_restore")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	lock, err := store.Reserve(s.data)
	if err != nil {
		return err
	}
	defer lock.Close()
	// A log of changes that is left behind would be played into the backup.
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if _, err := os.Lstat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is in the way: end all latchpost processes, move the store and the files beside it (-wal, -shm) away, then try again", path+suffix)
		}
	}
	copied := path + ".restoring"
	remove := func() {
		for _, suffix := range besideStore {
			_ = os.Remove(copied + suffix)
		}
	}
	remove() // what a restore that was killed has left
	defer remove()
	if err := store.CopyBackup(args[0], copied); err != nil {
		return fmt.Errorf("restore: %w; name the file that latchpost backup wrote", err)
	}
	if err := s.prepareRestored(ctx, copied); errors.Is(err, store.ErrDamaged) {
		return fmt.Errorf("%s is damaged or no backup of a store; name the file that latchpost backup wrote", args[0])
	} else if err != nil {
		return err
	}
	if err := store.Instate(copied, path); err != nil {
		return err
	}
	// The anchor says what the record of the store before held at the end, and the backup is from before that.
	if err := os.Remove(filepath.Join(s.data, "audit.anchor")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the backup is in place, but the anchor of the store before it is still there: %w; delete it", err)
	}
	fmt.Fprintln(s.out, "The backup is in place and its key fits. Sign-ins, approvals and sessions that were open when it was made have to be started again.")
	return nil
}

// prepareRestored proves that the copy at path is whole and that the key opens it, and ends what must not be good again.
func (s *settings) prepareRestored(ctx context.Context, path string) error {
	there := *s
	there.store = "sqlite:" + path
	h, err := open(ctx, &there)
	if err != nil {
		return err
	}
	return errors.Join(cmp.Or(h.db.Check(ctx), h.db.Restored(ctx)), h.Close())
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
	next := h.keys.next
	if next == nil {
		if next, err = seal.CreateKEK(ctx, s.newKey); err != nil {
			return err
		}
	}
	if next.ID() == h.keys.used.ID() {
		return errors.New("that is the key in use; nothing was changed: name another one with --new-key")
	}
	if err := h.box.Rewrap(ctx, next); err != nil {
		return fmt.Errorf("%w; run the same command again to go on", err)
	}
	fmt.Fprintf(s.out, "Key %s opens the store now. Start latchpost with --key %s from here on, and keep the old key as long as you keep backups made with it.\n", next.ID(), s.newKey)
	return nil
}
