package store

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// A store that is closed leaves no goroutine behind, whatever it was doing.
func TestCloseEndsGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	use := func() {
		t.Helper()
		db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
		if err != nil {
			t.Fatal(err)
		}
		write(t, db.AuditLog(testMAC), 3)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	use() // what is started once for the process is there now
	before := runtime.NumGoroutine()
	for range 10 {
		use()
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
