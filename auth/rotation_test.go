package auth_test

import (
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/seal"
)

// RF-014: renewals, new data keys, another master key and backups at the same time lose
// nothing, and what is sealed last opens with the keys that are there last.
func TestRefreshDuringRotation(t *testing.T) {
	const rounds = 12
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	before := v.Server.Stats().Refreshes
	for i := range rounds {
		v.API.Fault("/api/me", authtest.Unauthorized) // the call renews, whatever the clock says
		var all sync.WaitGroup
		all.Go(func() {
			if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil || resp.Status != http.StatusOK {
				t.Errorf("round %d: %+v, %v", i, resp, err)
			}
		})
		all.Go(func() {
			if err := v.Box.Rotate(t.Context()); err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		})
		all.Go(func() {
			if err := v.DB.Backup(t.Context(), filepath.Join(t.TempDir(), strconv.Itoa(i)+".db")); err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		})
		all.Wait()
	}
	other, err := seal.CreateKEK(t.Context(), "file:"+filepath.Join(t.TempDir(), "keys", "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Box.Rewrap(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil || resp.Status != http.StatusOK {
		t.Errorf("with the other master key: %+v, %v", resp, err)
	}
	if n := v.Server.Stats().Refreshes - before; n != rounds {
		t.Errorf("%d renewals in %d rounds", n, rounds)
	}
	sealed, err := v.Box.SealedWith(onlySealed(t, v))
	if err != nil || sealed == "k1" {
		t.Errorf("the last renewal is sealed with key %s, %v", sealed, err)
	}
}

func onlySealed(t *testing.T, v *authtest.Vault) []byte {
	t.Helper()
	found, err := v.Connections.Connections(t.Context(), auth.Local, "practice", "")
	if err != nil || len(found) != 1 {
		t.Fatalf("connections: %v, %v", found, err)
	}
	return found[0].Sealed
}
