// Package seal keeps secrets unreadable at rest. A master key (KEK), held
// outside the store, wraps the data keys in table keys; a data key yields one
// key for each owner and record; that key seals one value with AES-256-GCM,
// bound to the Place the value belongs to. A sealed value moved to another row,
// owner, field or version does not open. Start with OpenKEK, then NewBox; from
// there on Box.Seal and Box.Open.
package seal

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNoKey says that there is no master key at the place a key URL names.
	ErrNoKey = errors.New("no master key")
	// ErrKeyExists says that CreateKEK or AddKey found the place taken.
	ErrKeyExists = errors.New("key exists already")
	// ErrKeyChanged says that another process moved a data key meanwhile.
	ErrKeyChanged = errors.New("data key changed meanwhile")
	// ErrWrongKey says that the store's data keys are wrapped by another master key.
	ErrWrongKey = errors.New("master key does not match this store")
	// ErrTampered says that a sealed value was changed, or stands in the wrong place.
	ErrTampered = errors.New("sealed value was changed or is in the wrong place")
	// ErrUnknownKey says that a value was sealed with a data key this box has not
	// loaded. Call Reload once and try again: another process may have rotated.
	ErrUnknownKey = errors.New("unknown data key")
)

// Key is a row of table keys. All of it may be public but for what KEK unwraps.
type Key struct {
	ID        string    // "k1", "k2" and so on, in the order they were made
	KEK       string    // ID of the master key that wraps it
	Wrapped   []byte    // the data key under KEK; up to a few KiB with a KMS
	CreatedAt time.Time // for people; nothing depends on it
	Primary   bool      // seals new values; always the newest key
}

// KeyStore is table keys. A Box trusts it with nothing: a row that was changed
// does not unwrap.
type KeyStore interface {
	// Keys returns every row, in any order; none is not an error.
	Keys(ctx context.Context) ([]Key, error)

	// AddKey inserts k, and when k.Primary is set demotes the old primary in the
	// same transaction. If k.ID is taken it changes nothing and returns
	// ErrKeyExists. Numbered ids make that the whole protocol between processes
	// that start on an empty store, or rotate, at the same time.
	AddKey(ctx context.Context, k Key) error

	// RewrapKey sets KEK and Wrapped of row id to those of k, if the row's KEK is
	// still fromKEK; otherwise it changes nothing and returns ErrKeyChanged.
	RewrapKey(ctx context.Context, id, fromKEK string, k Key) error
}
