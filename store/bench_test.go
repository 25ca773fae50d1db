package store_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

func benchStore(b *testing.B) *store.DB {
	dir := filepath.Join(b.TempDir(), "data")
	db, err := store.Open(b.Context(), store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

// BenchmarkRead is what get_credential and call_api read first, at a random owner.
func BenchmarkRead(b *testing.B) {
	for _, rows := range []int{1_000, 100_000, 1_000_000} {
		if testing.Short() && rows > 1000 {
			continue
		}
		db := benchStore(b)
		storetest.Seed(b, db, rows)
		read := func(b *testing.B) {
			all, err := db.Connections(context.Background(), storetest.SeedOwner(mathrand.N(rows)), storetest.SeedProvider, "")
			if err != nil || len(all) != 1 {
				b.Error(len(all), err)
			}
		}
		b.Run(fmt.Sprintf("rows=%d/callers=1", rows), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				read(b)
			}
		})
		b.Run(fmt.Sprintf("rows=%d/callers=16", rows), func(b *testing.B) {
			sixteen(b, func() { read(b) })
		})
	}
}

// BenchmarkAppend is a durable audit record, alone and with sixteen callers whose
// records share commits, against a commit each.
func BenchmarkAppend(b *testing.B) {
	db := benchStore(b)
	log := db.AuditLog(storetest.MAC)
	appendOne := func() {
		err := log.Append(context.Background(), auth.Event{
			ID: rand.Text(), At: time.Now(), Owner: auth.Local, Client: "agent", Kind: "call", Provider: "github", Connection: "c", Decision: "allow",
			Detail: map[string]string{"host": "api.github.com", "method": "GET", "path": "/user"},
		})
		if err != nil {
			b.Error(err)
		}
	}
	b.Run("callers=1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			appendOne()
		}
	})
	b.Run("callers=16", func(b *testing.B) { sixteen(b, appendOne) })
	b.Run("callers=16/commit-each", func(b *testing.B) {
		var one sync.Mutex
		sixteen(b, func() {
			one.Lock()
			defer one.Unlock()
			appendOne()
		})
	})
}

// sixteen runs b.N times f in sixteen goroutines.
func sixteen(b *testing.B, f func()) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				f()
			}
		})
	}
	wg.Wait()
}
