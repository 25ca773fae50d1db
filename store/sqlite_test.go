package store_test

import (
	"path/filepath"
	"testing"

	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// The suite tries AU-007 (log injection), ST-026 (SQL injection) and ST-027 (isolation
// of owners), beside what every store must do.
func TestSQLite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	storetest.Run(t, func(t *testing.T) *store.DB {
		db, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	})
}

// ST-026, for whatever anybody is called.
func FuzzInject(f *testing.F) {
	for _, s := range storetest.Nasty {
		f.Add(s)
	}
	dir := f.TempDir()
	db, err := store.Open(f.Context(), store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	f.Fuzz(func(t *testing.T, s string) { storetest.Inject(t, db, s) })
}
