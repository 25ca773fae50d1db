package store

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// DS-004: codes and cookies that strangers make up, in the right form, are no writes: they neither take a turn from those who write
// nor wait for one.
func TestMadeUpSessionsCostNoWrite(t *testing.T) {
	db, _, letGo := lockedOut(t, filepath.Join(t.TempDir(), "data"))
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for range 20 {
		if _, err := db.TakeOwnerLink(soon, []byte(rand.Text())); !errors.Is(err, auth.ErrNotFound) {
			t.Fatal("a code: ", err)
		}
		if err := db.DeleteSession(soon, []byte(rand.Text())); err != nil {
			t.Fatal("a cookie: ", err)
		}
	}
	letGo()
	real := []byte(rand.Text())
	if err := db.AddOwnerLink(t.Context(), real, auth.Local, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if o, err := db.TakeOwnerLink(t.Context(), real); err != nil || o != auth.Local {
		t.Errorf("the real one: %v, %v", o, err)
	}
}
