package seal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Box seals and opens. Safe for concurrent use.
type Box struct {
	ks   KeyStore
	ring atomic.Pointer[ring]

	mu   sync.Mutex // held by Reload, Rotate and Rewrap
	keks []KEK      // the first wraps, all unwrap
}

// ring is one reading of table keys. It never changes.
type ring struct {
	keys           map[uint32]*dataKey
	first, primary *dataKey // lowest and highest number
}

// dataKey yields keys and gives itself to nobody. The bytes are inside a func,
// where no verb of fmt and no dumper that walks structs reaches them. A pointer
// would not do: fmt follows one, however deep, under a verb it does not fit (%s).
type dataKey struct {
	number uint32
	derive func(salt []byte, purpose string, parts ...string) ([]byte, error)
}

// NewBox unwraps all data keys of ks with kek, and makes the first one when
// there are none. After a Rewrap that was interrupted some data keys are under
// the old master key and some under the new: give the other one in also, and
// Rewrap again. ErrWrongKey names the master key that the store needs and the
// ones that were given; nothing is written then.
func NewBox(ctx context.Context, kek KEK, ks KeyStore, also ...KEK) (*Box, error) {
	b := &Box{ks: ks, keks: append([]KEK{kek}, also...)}
	keys, err := ks.Keys(ctx)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		// Of the processes that start on an empty store one adds k1, the others
		// take it from there.
		if err := b.add(ctx, 1); err != nil && !errors.Is(err, ErrKeyExists) {
			return nil, err
		}
	}
	if err := b.Reload(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// PrimaryID is the ID of the data key that seals new values.
func (b *Box) PrimaryID() string { return dataKeyID(b.ring.Load().primary.number) }

// Reload reads the KeyStore again, for the keys that another process added. It
// unwraps only keys it does not have. On an error the box stays as it was.
func (b *Box) Reload(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reload(ctx)
}

func (b *Box) reload(ctx context.Context) error {
	rows, err := b.ks.Keys(ctx)
	if err != nil {
		return err
	}
	next := &ring{keys: make(map[uint32]*dataKey, len(rows))}
	for _, row := range rows {
		key, err := b.load(ctx, row)
		if err != nil {
			return err
		}
		next.keys[key.number] = key
		if next.primary == nil || key.number > next.primary.number {
			next.primary = key
		}
	}
	next.first = next.keys[1]
	if next.first == nil {
		return errors.New("data key k1 is gone from table keys: restore it from a backup")
	}
	b.ring.Store(next)
	return nil
}

// load returns the key of row, from memory when it is there.
func (b *Box) load(ctx context.Context, row Key) (*dataKey, error) {
	number, err := keyNumber(row.ID)
	if err != nil {
		return nil, err
	}
	if now := b.ring.Load(); now != nil && now.keys[number] != nil {
		return now.keys[number], nil
	}
	secret, err := b.unwrap(ctx, row)
	if err != nil {
		return nil, err
	}
	return &dataKey{number: number, derive: func(salt []byte, purpose string, parts ...string) ([]byte, error) {
		info := appendPrefixed(nil, purpose)
		for _, part := range parts {
			info = appendPrefixed(info, part)
		}
		return hkdf.Key(sha256.New, secret, salt, string(info), keySize)
	}}, nil
}

// add makes a data key and stores it as the primary.
func (b *Box) add(ctx context.Context, number uint32) error {
	secret := make([]byte, keySize)
	rand.Read(secret)
	defer clear(secret)
	row, err := wrap(ctx, b.keks[0], number, secret)
	if err != nil {
		return err
	}
	row.CreatedAt = time.Now()
	row.Primary = true
	return b.ks.AddKey(ctx, row)
}

// wrap puts a data key under kek. The number goes inside, so that two rows of
// table keys cannot change places. The result is opened once before anybody
// relies on it: what a broken KMS wrapped would be lost for good.
func wrap(ctx context.Context, kek KEK, number uint32, secret []byte) (Key, error) {
	inside := append(binary.BigEndian.AppendUint32(nil, number), secret...)
	defer clear(inside)
	wrapped, err := kek.Wrap(ctx, inside)
	if err != nil {
		return Key{}, fmt.Errorf("wrap data key %s: %w", dataKeyID(number), err)
	}
	again, err := kek.Unwrap(ctx, wrapped)
	defer clear(again)
	if err != nil {
		return Key{}, fmt.Errorf("unwrap data key %s right after wrapping it (it was not stored): %w", dataKeyID(number), err)
	}
	if !bytes.Equal(again, inside) {
		return Key{}, fmt.Errorf("master key %s opens what it wrapped to something else (nothing was stored): correct its command", kek.ID())
	}
	return Key{ID: dataKeyID(number), KEK: kek.ID(), Wrapped: wrapped}, nil
}

// unwrap returns the data key of row, 32 bytes.
func (b *Box) unwrap(ctx context.Context, row Key) ([]byte, error) {
	number, err := keyNumber(row.ID)
	if err != nil {
		return nil, err
	}
	var given []string
	for _, kek := range b.keks {
		if kek.ID() != row.KEK {
			given = append(given, kek.ID())
			continue
		}
		inside, err := kek.Unwrap(ctx, row.Wrapped)
		if err != nil {
			return nil, fmt.Errorf("unwrap data key %s with master key %s: %w", row.ID, row.KEK, err)
		}
		if len(inside) != 4+keySize || binary.BigEndian.Uint32(inside) != number {
			clear(inside)
			return nil, fmt.Errorf("unwrap data key %s: %w: restore its row in table keys from a backup", row.ID, ErrTampered)
		}
		return inside[4:], nil
	}
	return nil, fmt.Errorf("%w: data key %s needs master key %s, the key given is %s: start with the key that is needed, "+
		"or, if a rotate-key was interrupted, run it again with both", ErrWrongKey, row.ID, row.KEK, strings.Join(given, " and "))
}

func dataKeyID(number uint32) string { return "k" + strconv.FormatUint(uint64(number), 10) }

func keyNumber(id string) (uint32, error) {
	number, err := strconv.ParseUint(strings.TrimPrefix(id, "k"), 10, 32)
	if err != nil || number == 0 || dataKeyID(uint32(number)) != id {
		return 0, fmt.Errorf("table keys has a row %q that is no data key: restore the table from a backup", id)
	}
	return uint32(number), nil
}
