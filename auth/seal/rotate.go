package seal

import (
	"context"
	"errors"
	"fmt"
)

// Rotate adds a data key, which seals new values from now on; the older ones
// still open theirs. Other processes see it at their next Reload. When two
// processes rotate at once the result is one new key. It refuses while any
// data key is under another master key than this box's.
func (b *Box) Rotate(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows, err := b.ks.Keys(ctx)
	if err != nil {
		return err
	}
	var newest uint32
	for _, row := range rows {
		number, err := keyNumber(row.ID)
		if err != nil {
			return err
		}
		newest = max(newest, number)
		if kek := b.keks[0].ID(); row.KEK != kek {
			return fmt.Errorf("%w: data key %s has moved to master key %s, this process has %s: finish rotate-key, then start with the new key",
				ErrWrongKey, row.ID, row.KEK, kek)
		}
	}
	if err := b.add(ctx, newest+1); err != nil && !errors.Is(err, ErrKeyExists) {
		return err
	}
	return b.reload(ctx)
}

// Rewrap moves every data key to the master key to. Sealed values stay as they
// are, and running processes go on with the data keys they have. Rows move one at
// a time, each only after to has opened its new wrapping: stopped anywhere, every
// data key is whole under one of the two. To resume, call NewBox with both and
// Rewrap again. When it returns nil the old master key opens nothing more.
func (b *Box) Rewrap(ctx context.Context, to KEK) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	const passes = 16
	for range passes {
		moved, err := b.rewrapOnce(ctx, to)
		if err != nil {
			return err
		}
		if moved == 0 {
			b.keks = []KEK{to}
			return nil
		}
	}
	return fmt.Errorf("%w: other processes keep adding data keys; stop them and run rotate-key again", ErrKeyChanged)
}

// rewrapOnce reads the table and moves what is not under to. Only a pass that
// finds nothing to do proves that all is done.
func (b *Box) rewrapOnce(ctx context.Context, to KEK) (moved int, err error) {
	rows, err := b.ks.Keys(ctx)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if row.KEK == to.ID() {
			continue
		}
		if err := b.rewrapRow(ctx, row, to); err != nil && !errors.Is(err, ErrKeyChanged) {
			return moved, err
		}
		moved++
	}
	return moved, nil
}

func (b *Box) rewrapRow(ctx context.Context, row Key, to KEK) error {
	number, err := keyNumber(row.ID)
	if err != nil {
		return err
	}
	secret, err := b.unwrap(ctx, row)
	if err != nil {
		return err
	}
	defer clear(secret)
	next, err := wrap(ctx, to, number, secret)
	if err != nil {
		return err
	}
	next.CreatedAt, next.Primary = row.CreatedAt, row.Primary
	return b.ks.RewrapKey(ctx, row.ID, row.KEK, next)
}
