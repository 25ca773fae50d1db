package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// held is what a model says of one owner at one moment.
type held struct {
	connections map[string]string // generation and sealed secret by id
	grants      map[string]string // connection by id
}

func (h held) String() string { return fmt.Sprint(h.connections, h.grants) }

// ST-022: a backup that is made while somebody connects, renews, grants and revokes is the store as it was at one moment while the
// backup was made, with all of each change or nothing.
func TestBackupIsOneMoment(t *testing.T) {
	ctx, dirs := t.Context(), t.TempDir()
	open := func(dir string) (*store.DB, error) {
		return store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	}
	db, err := open(filepath.Join(dirs, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	within := 0 // backups that changes went on during
	checks := flag.Lookup("rapid.checks").Value
	defer checks.Set(checks.String())
	if err := checks.Set("25"); err != nil { // each opens a store
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		owner := storetest.NewOwner()
		moments := []held{{map[string]string{}, map[string]string{}}} // after each change
		var changes []func() error
		kinds := rapid.SampledFrom([]string{"connect", "connect", "renew", "renew", "grant", "revoke"})
		for _, what := range append([]string{"connect"}, rapid.SliceOfN(kinds, 5, 20).Draw(t, "changes")...) {
			now := moments[len(moments)-1]
			now = held{maps.Clone(now.connections), maps.Clone(now.grants)}
			id, sealed, grant := fmt.Sprintf("%s %02d", owner.User, len(moments)), rand.Text(), auth.Grant{ID: rand.Text(), Owner: owner, Client: "agent", Kind: auth.Use, CreatedAt: storetest.Now}
			if what != "connect" {
				if len(now.connections) == 0 {
					continue
				}
				id = rapid.SampledFrom(slices.Sorted(maps.Keys(now.connections))).Draw(t, "which")
			}
			grant.Connection = id
			switch what {
			case "connect":
				now.connections[id], now.grants[grant.ID] = "1 "+sealed, id
				changes = append(changes, func() error {
					c, r := storetest.NewConnection(owner, "p", id), storetest.NewRequest(owner, "p")
					c.ID, c.Sealed, r.Account = id, []byte(sealed), id
					if _, err := db.CreateRequest(ctx, r, 1000); err != nil {
						return err
					}
					return db.CompleteRequest(ctx, r, c, []auth.Grant{grant})
				})
			case "renew":
				var version int64
				fmt.Sscan(now.connections[id], &version)
				now.connections[id] = fmt.Sprint(version+1, " ", sealed)
				changes = append(changes, func() error {
					return db.SaveSealed(ctx, &auth.Connection{ID: id, Owner: owner, Version: version, Sealed: []byte(sealed), ExpiresAt: storetest.Now})
				})
			case "grant":
				now.grants[grant.ID] = id
				changes = append(changes, func() error { return db.AddGrant(ctx, grant) })
			case "revoke":
				delete(now.connections, id)
				maps.DeleteFunc(now.grants, func(_, of string) bool { return of == id })
				changes = append(changes, func() error { return db.RevokeConnection(ctx, owner, id, nil) })
			}
			moments = append(moments, now)
		}
		var made atomic.Int64
		begin, ended := make(chan struct{}), make(chan error, 1)
		at := rapid.IntRange(0, len(changes)-1).Draw(t, "the backup begins after")
		go func() {
			for i, change := range changes {
				if i == at {
					close(begin)
				}
				if err := change(); err != nil {
					ended <- fmt.Errorf("change %d: %w", i, err)
					return
				}
				made.Add(1)
			}
			ended <- nil
		}()
		select {
		case <-begin:
		case err := <-ended:
			t.Fatal(err)
		}
		dir := filepath.Join(dirs, rand.Text())
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		before := made.Load()
		err := db.Backup(ctx, filepath.Join(dir, "latchpost.db"))
		after := made.Load() + 1 // one more may be in the store, and not be told yet
		if err := errors.Join(err, <-ended); err != nil {
			t.Fatal(err)
		}
		if after-1 > before {
			within++
		}
		copied, err := open(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(ctx, copied, owner)
		if err := errors.Join(err, copied.Close(), os.RemoveAll(dir)); err != nil {
			t.Fatal(err)
		}
		for _, m := range moments[before:min(after+1, int64(len(moments)))] {
			if got.String() == m.String() {
				return
			}
		}
		t.Fatalf("the backup has %s, which is no moment from %d to %d of %v", got, before, after, moments)
	})
	if within == 0 {
		t.Error("nothing was changed during any of the backups")
	}
}

func read(ctx context.Context, db *store.DB, o auth.Owner) (held, error) {
	h := held{map[string]string{}, map[string]string{}}
	connections, err := db.Connections(ctx, o, "", "")
	if err != nil {
		return h, err
	}
	for _, c := range connections {
		h.connections[c.ID] = fmt.Sprint(c.Version, " ", string(c.Sealed))
	}
	grants, err := db.Grants(ctx, o, "", "", storetest.Now)
	for _, g := range grants {
		h.grants[g.ID] = g.Connection
	}
	return h, err
}
