package auth_test

import (
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
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

// What was used lately and ended while the machine slept is renewed before the next use, at the start and later; what
// nobody used for a day waits for its next use.
func TestRenewedAfterSleep(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	keep := func(want int) {
		t.Helper()
		if err := v.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := v.Server.Stats().Refreshes; got != want {
			t.Errorf("renewed %d times by now, not %d", got, want)
		}
	}
	use(t, v, c)
	c.forward(10 * time.Hour)
	keep(1)
	keep(1)
	use(t, v, c)
	c.forward(10 * time.Hour)
	keep(2)
	c.forward(25 * time.Hour)
	keep(2)
}

// use asks for the credential and waits until that is noted in the store.
func use(t *testing.T, v *authtest.Vault, c *clock) {
	t.Helper()
	get(t, v)
	minute := c.Now().Truncate(time.Minute)
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		found, err := v.Connections.Connections(t.Context(), auth.Local, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 && !found[0].LastUsedAt.Before(minute) {
			return
		}
	}
	t.Fatal("the use is not noted")
}
