package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func migrateFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.to, "to", "", "`url` of the store to move to, as for --store; it must be empty or not be there yet")
}

// migrate moves everything to another store, under the same key. The store that was in use is only read.
func migrate(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 || s.to == "" {
		return usagef("migrate takes --to, and --store for the store that is in use")
	}
	log, err := s.logger()
	if err != nil {
		return err
	}
	db, _, err := openStore(ctx, s, log)
	if err != nil {
		return err
	}
	defer db.Close()
	box, _, err := openBox(ctx, s, db)
	if err != nil {
		return err
	}
	opt := store.Options{URL: s.to, UnsafePlaintext: s.unsafeStore, Log: log, Ballast: -1}
	if path, ok := strings.CutPrefix(s.to, "sqlite:"); !ok {
		opt.Dir = s.data // else where the file is
	} else if path, err = filepath.Abs(path); err == nil {
		opt.URL = "sqlite:" + path
	}
	done, err := db.Transfer(ctx, opt, box.MAC("audit"), func(v auth.Sealed) error {
		plain, err := box.Open(v.Place, v.Value)
		clear(plain)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range done.Tables {
		fmt.Fprintf(s.out, "%-14s %d\n", t.Table, t.Rows)
	}
	fmt.Fprintf(s.out, "\nEvery row of %s is in %s, the same on both sides. All %d sealed values open there with the key in use.\n", s.shownStore(), shown(opt.URL), done.Sealed)
	if n := len(done.Record.Faults); n > 0 {
		fmt.Fprintf(s.out, "The record has the %d faults that it had before; latchpost audit verify names them.\n", n)
	} else {
		fmt.Fprintf(s.out, "The record verifies there: %d events.\n", done.Record.Events)
	}
	use := "--store " + opt.URL
	if shown(opt.URL) != opt.URL {
		use = "the URL that you gave to --to as --store"
	}
	fmt.Fprintf(s.out, `
Start latchpost with %s, and with --key %s, from here on, everywhere: in services and in the entries of your MCP hosts.
The old store is as it was. Let no latchpost start with it again: what one of the two renews or revokes, the other one does not know.
Move it out of the way, and delete it when the new one has a backup of its own.
`, use, s.keyURL())
	return nil
}
