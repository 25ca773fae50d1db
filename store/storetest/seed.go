package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// SeedProvider is the provider of every connection that Seed makes.
const SeedProvider = "github"

// SeedOwner is the n-th owner that Seed makes.
func SeedOwner(n int) auth.Owner { return auth.Owner{Org: "seed", User: fmt.Sprint("user-", n)} }

// Seed fills db with n owners who have one connection each, with a sealed credential
// of 1 KB. It takes about a second for 20,000.
func Seed(t testing.TB, db *store.DB, n int) {
	t.Helper()
	sealed := make([]byte, 1024)
	all := make([]auth.Connection, 0, 1000)
	for i := range n {
		c := NewConnection(SeedOwner(i), SeedProvider, "me")
		c.Salt, c.Sealed = sealed[:32], sealed
		if all = append(all, *c); len(all) == cap(all) || i == n-1 {
			must(t, db.Import(context.Background(), all...))
			all = all[:0]
		}
	}
}
