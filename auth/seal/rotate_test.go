package seal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
)

// value is a sealed value and what it must open to.
type value struct {
	place  seal.Place
	sealed []byte
	plain  string
}

// rotated is a table with four data keys under kek, and a value under each.
func rotated(t *testing.T, kek seal.KEK) (*table, []value) {
	t.Helper()
	ks := &table{}
	box := newBox(t, kek, ks)
	var values []value
	for i := range 4 {
		if i > 0 {
			if err := box.Rotate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		v := value{place: place(), plain: fmt.Sprintf("secret %d", i)}
		v.sealed = mustSeal(t, box, v.place, v.plain)
		if id, _ := box.SealedWith(v.sealed); id != fmt.Sprintf("k%d", i+1) || id != box.PrimaryID() {
			t.Fatalf("sealed with %s, primary %s", id, box.PrimaryID())
		}
		values = append(values, v)
	}
	return ks, values
}

func openAll(t *testing.T, box *seal.Box, values []value) {
	t.Helper()
	for _, v := range values {
		mustOpen(t, box, v.place, v.sealed, v.plain)
	}
}

// ST-021: after a rotation the new key alone opens all, and the old key alone
// is refused with both ids.
func TestRewrap(t *testing.T) {
	older, newer := newKEK(t), newKEK(t)
	ks, values := rotated(t, older)
	running := newBox(t, older, ks) // another process, which has the old key only
	box := newBox(t, older, ks)
	if err := box.Rewrap(t.Context(), newer); err != nil {
		t.Fatal(err)
	}
	openAll(t, box, values)
	openAll(t, newBox(t, newer, ks), values)
	wantWrongKey(t, ks, older, newer)
	if rows := ks.copy(); len(rows) != 4 || !rows["k4"].Primary || rows["k1"].CreatedAt.IsZero() {
		t.Errorf("table keys = %v", rows)
	}

	if err := running.Reload(t.Context()); err != nil {
		t.Errorf("a running process must go on: %v", err)
	}
	openAll(t, running, values)
	if err := running.Rotate(t.Context()); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("Rotate with the old key = %v, want ErrWrongKey", err)
	}
	if err := box.Rotate(t.Context()); err != nil {
		t.Errorf("Rotate with the new key: %v", err)
	}
	openAll(t, newBox(t, newer, ks), values)
	if err := box.Rewrap(t.Context(), newer); err != nil {
		t.Errorf("Rewrap once more: %v", err)
	}
}

func wantWrongKey(t *testing.T, ks *table, given, needed seal.KEK) {
	t.Helper()
	_, err := seal.NewBox(t.Context(), given, ks)
	if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), given.ID()) || !strings.Contains(err.Error(), needed.ID()) {
		t.Errorf("NewBox with the other key = %v; want ErrWrongKey with both ids", err)
	}
}

// death ends a process at one of its steps: the step fails, and so does
// everything after it. A step is a call of the store or of a master key.
type death struct{ stepsLeft int }

var errDead = errors.New("process is dead")

func (d *death) step() error {
	if d.stepsLeft == 0 {
		return errDead
	}
	d.stepsLeft--
	return nil
}

// mortal is a master key whose calls are steps.
type mortal struct {
	seal.KEK
	death *death
}

func (m mortal) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	if err := m.death.step(); err != nil {
		return nil, err
	}
	return m.KEK.Wrap(ctx, dataKey)
}

func (m mortal) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if err := m.death.step(); err != nil {
		return nil, err
	}
	return m.KEK.Unwrap(ctx, wrapped)
}

// dying runs work again and again, killing it one step later each time, before
// and after the store has done what it was told, until it lives to the end.
func dying(t *testing.T, work func(t *testing.T, ks *table, kek seal.KEK, values []value, d *death) (survived bool)) {
	kek := newKEK(t)
	for _, when := range []string{"before", "after"} {
		survived := false
		for steps := 0; !survived; steps++ {
			t.Run(fmt.Sprintf("%s step %d", when, steps), func(t *testing.T) {
				ks, values := rotated(t, kek)
				d := &death{stepsLeft: steps}
				if when == "before" {
					ks.before = d.step
				} else {
					ks.after = d.step
				}
				survived = work(t, ks, kek, values, d)
			})
			if t.Failed() {
				return
			}
			if survived && steps < 3 {
				t.Errorf("the work was done in %d steps: nothing was tried", steps)
			}
		}
	}
}

// ST-020: the move to a new master key is killed at every step. Both keys
// together open everything, a process with either key never sees wrong data,
// and doing it again finishes it.
func TestRewrapInterrupted(t *testing.T) {
	newer := newKEK(t)
	dying(t, func(t *testing.T, ks *table, older seal.KEK, values []value, d *death) bool {
		steps := d.stepsLeft
		d.stepsLeft = -1 // the start is not part of it
		box := newBox(t, older, ks)
		d.stepsLeft = steps
		err := box.Rewrap(t.Context(), mortal{newer, d})
		if err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		openAll(t, box, values)
		ks.before, ks.after = nil, nil

		underOld := 0
		for _, row := range ks.copy() {
			if row.KEK == older.ID() {
				underOld++
			}
		}
		if underOld > 0 {
			wantWrongKey(t, ks, newer, older)
		}
		if underOld < 4 {
			wantWrongKey(t, ks, older, newer)
		}
		resumed := newBox(t, older, ks, newer)
		openAll(t, resumed, values)
		if err := resumed.Rewrap(t.Context(), newer); err != nil {
			t.Fatal(err)
		}
		openAll(t, newBox(t, newer, ks), values)
		wantWrongKey(t, ks, older, newer)
		return err == nil
	})
}

// ST-020: a new data key is being added when the process is killed.
func TestRotateInterrupted(t *testing.T) {
	dying(t, func(t *testing.T, ks *table, kek seal.KEK, values []value, d *death) bool {
		steps := d.stepsLeft
		d.stepsLeft = -1
		box := newBox(t, mortal{kek, d}, ks)
		d.stepsLeft = steps
		err := box.Rotate(t.Context())
		if err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		openAll(t, box, values)
		ks.before, ks.after = nil, nil

		again := newBox(t, kek, ks)
		openAll(t, again, values)
		v := value{place: place(), plain: "later"}
		v.sealed = mustSeal(t, again, v.place, v.plain)
		if err := again.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
		openAll(t, again, append(values, v))
		return err == nil
	})
}

// Two processes rotate, or move to the same new key, at the same time.
func TestRotateTogether(t *testing.T) {
	older, newer := newKEK(t), newKEK(t)
	ks, values := rotated(t, older)
	boxes := []*seal.Box{newBox(t, older, ks), newBox(t, older, ks), newBox(t, older, ks)}
	together := func(do func(*seal.Box) error) {
		var wg sync.WaitGroup
		for _, box := range boxes {
			wg.Go(func() {
				if err := do(box); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	together(func(b *seal.Box) error { return b.Rotate(t.Context()) })
	if n := len(ks.copy()); n < 5 || n > 7 {
		t.Errorf("table keys has %d rows", n)
	}
	for _, reader := range boxes {
		if err := reader.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, writer := range boxes {
			p := place()
			mustOpen(t, reader, p, mustSeal(t, writer, p, "secret"), "secret")
		}
	}
	for i := range boxes {
		boxes[i] = newBox(t, older, ks, newer)
	}
	together(func(b *seal.Box) error { return b.Rewrap(t.Context(), newer) })
	openAll(t, newBox(t, newer, ks), values)
}

// broken wraps what it cannot open again.
type broken struct{ seal.KEK }

func (broken) ID() string { return "0000000000000000" }
func (broken) Wrap(context.Context, []byte) ([]byte, error) {
	return []byte("lost"), nil
}
func (broken) Unwrap(context.Context, []byte) ([]byte, error) {
	return make([]byte, 36), nil
}

// No data key is given to a master key that does not give it back.
func TestRewrapToBrokenKey(t *testing.T) {
	kek := newKEK(t)
	ks, values := rotated(t, kek)
	if err := newBox(t, kek, ks).Rewrap(t.Context(), broken{}); err == nil {
		t.Error("Rewrap succeeded")
	}
	openAll(t, newBox(t, kek, ks), values)
	if _, err := seal.NewBox(t.Context(), broken{}, &table{}); err == nil {
		t.Error("NewBox succeeded")
	}
}
