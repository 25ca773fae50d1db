package store_test

import (
	"path/filepath"
	"testing"

	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

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
