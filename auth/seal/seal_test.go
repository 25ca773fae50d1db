package seal_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
)

// TestMain lets a test start this binary as another process: SEAL_TEST_CHILD
// says what it plays.
func TestMain(m *testing.M) {
	if role := os.Getenv("SEAL_TEST_CHILD"); role != "" {
		os.Exit(children[role](os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

// children are the processes that tests start, by role; arg is the last argument.
var children = map[string]func(arg string) (exitCode int){}

// table is table keys in memory. before, when set, runs ahead of each call and
// can refuse it.
type table struct {
	mu     sync.Mutex
	rows   map[string]seal.Key
	before func() error
	after  func() error
	full   error // what every write gets, when set
}

func (t *table) call(do func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.before != nil {
		if err := t.before(); err != nil {
			return err
		}
	}
	if t.rows == nil {
		t.rows = map[string]seal.Key{}
	}
	if err := do(); err != nil || t.after == nil {
		return err
	}
	return t.after()
}

func (t *table) write(do func() error) error {
	return t.call(func() error {
		if t.full != nil {
			return t.full
		}
		return do()
	})
}

func (t *table) Keys(context.Context) (keys []seal.Key, err error) {
	err = t.call(func() error {
		keys = slices.Collect(maps.Values(t.rows))
		return nil
	})
	return keys, err
}

func (t *table) AddKey(_ context.Context, k seal.Key) error {
	return t.write(func() error {
		if _, taken := t.rows[k.ID]; taken {
			return seal.ErrKeyExists
		}
		for id, old := range t.rows {
			old.Primary = old.Primary && !k.Primary
			t.rows[id] = old
		}
		t.rows[k.ID] = k
		return nil
	})
}

func (t *table) RewrapKey(_ context.Context, id, fromKEK string, k seal.Key) error {
	return t.write(func() error {
		row, ok := t.rows[id]
		if !ok || row.KEK != fromKEK {
			return seal.ErrKeyChanged
		}
		row.KEK, row.Wrapped = k.KEK, k.Wrapped
		t.rows[id] = row
		return nil
	})
}

// copy is what a backup of the table would hold.
func (t *table) copy() map[string]seal.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.rows)
}

// newKEK is a master key that is in no file.
func newKEK(t testing.TB) seal.KEK {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	t.Setenv("SEAL_TEST_KEY", base64.StdEncoding.EncodeToString(secret))
	kek, err := seal.OpenKEK(t.Context(), "env:SEAL_TEST_KEY")
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// newBox is a box over ks, or over an empty table.
func newBox(t testing.TB, kek seal.KEK, ks seal.KeyStore, also ...seal.KEK) *seal.Box {
	t.Helper()
	if ks == nil {
		ks = &table{}
	}
	box, err := seal.NewBox(t.Context(), kek, ks, also...)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// place has something in every field.
func place() seal.Place {
	return seal.Place{
		Table: "connections", Org: "acme", User: "ada", Record: "c1", Field: "access_token",
		Version: 3, Bind: "https://issuer.example https://issuer.example/token", Salt: seal.NewSalt(),
	}
}

func mustSeal(t testing.TB, b *seal.Box, p seal.Place, plaintext string) []byte {
	t.Helper()
	sealed, err := b.Seal(p, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func mustOpen(t testing.TB, b *seal.Box, p seal.Place, sealed []byte, want string) {
	t.Helper()
	got, err := b.Open(p, sealed)
	if err != nil || string(got) != want {
		t.Fatalf("Open = %q, %v; want %q", got, err, want)
	}
}

func tempKey(t testing.TB) (url, path string) {
	path = filepath.Join(t.TempDir(), "keys", "master.key")
	return "file:" + path, path
}
