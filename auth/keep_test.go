package auth_test

import (
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// A key that died unnoticed is found by the background work, and only the provider's
// clear no says so.
func TestDeadKeysAreFound(t *testing.T) {
	const key = "canary-k9x/w2+q7z=r4t8m1"
	v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "", key)
	look := func() auth.State {
		t.Helper()
		if err := v.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := v.Desk(auth.Local).Connections(t.Context())
		if err != nil || len(found) != 1 {
			t.Fatalf("connections: %v, %v", found, err)
		}
		return found[0].State
	}
	later := time.Now().Add(24 * time.Hour)
	v.Vault.Now = func() time.Time { return later }
	if s := look(); s != auth.Active {
		t.Fatalf("a living key is %s", s)
	}
	v.API.Keys = nil
	if s := look(); s != auth.Active {
		t.Errorf("a key that was looked at just now is %s", s)
	}
	later = later.Add(24 * time.Hour)
	if s := look(); s != auth.NeedsReauth {
		t.Errorf("a dead key is %s", s)
	}
}
