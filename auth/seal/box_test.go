package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
)

// ST-001: a store is opened with another master key.
func TestWrongKey(t *testing.T) {
	ks, right, wrong := &table{}, newKEK(t), newKEK(t)
	newBox(t, right, ks)
	before := ks.copy()
	_, err := seal.NewBox(t.Context(), wrong, ks)
	if !errors.Is(err, seal.ErrWrongKey) || !strings.Contains(err.Error(), right.ID()) || !strings.Contains(err.Error(), wrong.ID()) {
		t.Errorf("NewBox = %v; want ErrWrongKey with both ids", err)
	}
	if !reflect.DeepEqual(before, ks.copy()) {
		t.Error("the store was written to")
	}
}

// ST-002: the key file of a store that has data is gone, or was made anew.
func TestMissingKey(t *testing.T) {
	url, path := tempKey(t)
	kek, err := seal.CreateKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	ks := &table{}
	newBox(t, kek, ks)
	before := ks.copy()

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKEK(t.Context(), url); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("OpenKEK = %v, want ErrNoKey", err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("OpenKEK made a key")
	}
	again, err := seal.CreateKEK(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.NewBox(t.Context(), again, ks); !errors.Is(err, seal.ErrWrongKey) {
		t.Errorf("NewBox = %v, want ErrWrongKey", err)
	}
	if !reflect.DeepEqual(before, ks.copy()) {
		t.Error("the store was written to")
	}
}

// Several processes start on an empty store: they must agree on one key.
func TestFirstKeyRace(t *testing.T) {
	kek, ks := newKEK(t), &table{}
	boxes := make([]*seal.Box, 8)
	var wg sync.WaitGroup
	for i := range boxes {
		wg.Go(func() {
			var err error
			if boxes[i], err = seal.NewBox(t.Context(), kek, ks); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if rows := ks.copy(); len(rows) != 1 || !rows["k1"].Primary {
		t.Errorf("table keys = %v", rows)
	}
	p := place()
	sealed, mac := mustSeal(t, boxes[0], p, "secret"), boxes[0].MAC("x")(nil)
	for _, box := range boxes {
		mustOpen(t, box, p, sealed, "secret")
		if !bytes.Equal(mac, box.MAC("x")(nil)) {
			t.Error("MACs differ")
		}
	}
}

// Rows of table keys are changed by hand.
func TestChangedKeyRow(t *testing.T) {
	kek, ks := newKEK(t), &table{}
	if err := newBox(t, kek, ks).Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := ks.copy()
	k1, k2 := whole["k1"], whole["k2"]
	flipped := k2
	flipped.Wrapped = bytes.Clone(k2.Wrapped)
	flipped.Wrapped[20] ^= 1
	swapped := k2
	swapped.Wrapped = k1.Wrapped
	short := k2
	short.Wrapped = nil
	for what, row := range map[string]seal.Key{"flipped": flipped, "swapped": swapped, "short": short} {
		ks.rows = map[string]seal.Key{"k1": k1, "k2": row}
		if _, err := seal.NewBox(t.Context(), kek, ks); !errors.Is(err, seal.ErrTampered) {
			t.Errorf("%s: NewBox = %v, want ErrTampered", what, err)
		}
	}
	for _, id := range []string{"", "k", "k0", "k01", "k+1", "1", "kk1", "k4294967296"} {
		ks.rows = map[string]seal.Key{"k1": k1, id: {ID: id, KEK: k2.KEK, Wrapped: k2.Wrapped}}
		if _, err := seal.NewBox(t.Context(), kek, ks); err == nil || !strings.Contains(err.Error(), "that is no data key") {
			t.Errorf("NewBox said of a row %q: %v", id, err)
		}
	}
	ks.rows = map[string]seal.Key{"k2": k2}
	if _, err := seal.NewBox(t.Context(), kek, ks); err == nil || !strings.Contains(err.Error(), "k1") {
		t.Errorf("without k1: NewBox = %v", err)
	}
}

// A store that takes no key makes no box, and no rotation; the box that is there goes on with the key that it has.
func TestKeyIsNotStored(t *testing.T) {
	full := errors.New("the disk is full")
	kek, ks, p := newKEK(t), &table{}, place()
	ks.full = full
	if _, err := seal.NewBox(t.Context(), kek, ks); !errors.Is(err, full) {
		t.Errorf("NewBox = %v", err)
	}
	ks.full = nil
	box := newBox(t, kek, ks)
	ks.full = full
	if err := box.Rotate(t.Context()); !errors.Is(err, full) || box.PrimaryID() != "k1" {
		t.Errorf("Rotate = %v, the primary is %s", err, box.PrimaryID())
	}
	mustOpen(t, box, p, mustSeal(t, box, p, "secret"), "secret")
	if err := box.Rewrap(t.Context(), newKEK(t)); !errors.Is(err, full) || ks.rows["k1"].KEK != kek.ID() {
		t.Errorf("Rewrap = %v", err)
	}
}

// ErrUnknownKey names the key, and Reload cures it.
func TestReload(t *testing.T) {
	kek, ks, p := newKEK(t), &table{}, place()
	here, there := newBox(t, kek, ks), newBox(t, kek, ks)
	if err := there.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	sealed := mustSeal(t, there, p, "secret")
	if _, err := here.Open(p, sealed); !errors.Is(err, seal.ErrUnknownKey) || !strings.Contains(err.Error(), "k2") {
		t.Errorf("Open = %v, want ErrUnknownKey with k2", err)
	}
	if id, err := here.SealedWith(sealed); id != "k2" || err != nil {
		t.Errorf("SealedWith = %q, %v", id, err)
	}
	if err := here.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, here, p, sealed, "secret")

	ks.before = func() error { return errors.New("store is down") }
	if err := here.Reload(t.Context()); err == nil {
		t.Error("Reload without a store succeeded")
	}
	mustOpen(t, here, p, sealed, "secret")
}

// spy is a master key that shows what it wraps.
type spy struct {
	seal.KEK
	see func(dataKey []byte)
}

func (s spy) Wrap(ctx context.Context, dataKey []byte) ([]byte, error) {
	s.see(bytes.Clone(dataKey))
	return s.KEK.Wrap(ctx, dataKey)
}

// SH-002: a box and a master key are printed in every way.
func TestKeysNeverPrint(t *testing.T) {
	master := bytes.Repeat([]byte("\xa5\x5cLatch\x01"), 4)
	t.Setenv("SEAL_TEST_KEY", base64.StdEncoding.EncodeToString(master))
	kek, err := seal.OpenKEK(t.Context(), "env:SEAL_TEST_KEY")
	if err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{master}
	box := newBox(t, spy{kek, func(dataKey []byte) { secrets = append(secrets, dataKey) }}, nil)
	if len(secrets) != 2 {
		t.Fatalf("saw %d secrets", len(secrets))
	}
	secrets[1] = secrets[1][4:] // behind the number of the data key

	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{kek, &kek, box, reflect.ValueOf(box).Elem()} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text, _ := json.Marshal(v)
		out.Write(text)
		log.Info("print", "value", v)
		func() {
			defer func() { fmt.Fprint(&out, recover()) }()
			panic(v)
		}()
	}
	for _, secret := range secrets {
		part := secret[:8]
		for _, form := range []string{
			string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
			strings.Trim(fmt.Sprint(part), "[]"), fmt.Sprintf("%#v", part)[7:40], base64.StdEncoding.EncodeToString(secret)[:10],
		} {
			if strings.Contains(out.String(), form) {
				t.Errorf("a key was printed as %q", form)
			}
		}
	}
}
