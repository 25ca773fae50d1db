package storetest

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/store"
)

func testKeys(t *testing.T, db *store.DB) {
	ctx := t.Context()
	k := seal.Key{ID: rand.Text(), KEK: "old", Wrapped: []byte("w"), CreatedAt: Now, Primary: true}
	next := seal.Key{ID: rand.Text(), KEK: "old", Wrapped: []byte("v"), CreatedAt: Now, Primary: true}
	must(t, db.AddKey(ctx, k))
	want(t, db.AddKey(ctx, seal.Key{ID: k.ID, KEK: "thief", Wrapped: []byte("t"), Primary: true}), seal.ErrKeyExists)
	must(t, db.AddKey(ctx, next))
	want(t, db.RewrapKey(ctx, k.ID, "other", seal.Key{KEK: "new", Wrapped: []byte("n")}), seal.ErrKeyChanged)
	must(t, db.RewrapKey(ctx, k.ID, "old", seal.Key{KEK: "new", Wrapped: []byte("n")}))
	want(t, db.RewrapKey(ctx, k.ID, "old", seal.Key{KEK: "new", Wrapped: []byte("n")}), seal.ErrKeyChanged)
	all, err := db.Keys(ctx)
	must(t, err)
	all = slices.DeleteFunc(all, func(x seal.Key) bool { return x.ID != k.ID && x.ID != next.ID })
	k.KEK, k.Wrapped, k.Primary = "new", []byte("n"), false
	expected := []seal.Key{k, next}
	slices.SortFunc(expected, func(a, b seal.Key) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	slices.SortFunc(all, func(a, b seal.Key) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	equal(t, all, expected)
}
