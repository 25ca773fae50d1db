package seal_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/latchpost/latchpost/auth/seal"
)

func TestSealedValue(t *testing.T) {
	box, p := newBox(t, newKEK(t), nil), place()
	for _, plaintext := range []string{"", "s", "gho_16C7e42F292c6912E7710c838347Ae178B4a"} {
		sealed := mustSeal(t, box, p, plaintext)
		mustOpen(t, box, p, sealed, plaintext)
		if plaintext != "" && bytes.Contains(sealed, []byte(plaintext)) && len(plaintext) > 1 {
			t.Error("the plaintext is in the sealed value")
		}
		if len(sealed) != len(plaintext)+33 {
			t.Errorf("sealed %d bytes to %d", len(plaintext), len(sealed))
		}
		if bytes.Equal(sealed, mustSeal(t, box, p, plaintext)) {
			t.Error("the same value was sealed twice to the same bytes")
		}
		if id, err := box.SealedWith(sealed); err != nil || id != box.PrimaryID() || id != "k1" {
			t.Errorf("SealedWith = %q, %v; PrimaryID = %q", id, err, box.PrimaryID())
		}
	}
}

// ST-004: a sealed value is moved to another table, owner, record, field,
// version, use or salt. Fields are taken by reflection, so a new one is tried too.
func TestMovedValue(t *testing.T) {
	box, p := newBox(t, newKEK(t), nil), place()
	sealed := mustSeal(t, box, p, "secret")

	for i := range reflect.TypeFor[seal.Place]().NumField() {
		for what, change := range map[string]func(reflect.Value){
			"other": func(v reflect.Value) {
				switch v.Kind() {
				case reflect.String:
					v.SetString(v.String() + "x")
				case reflect.Int64:
					v.SetInt(v.Int() - 1)
				default:
					v.SetBytes(append(bytes.Clone(v.Bytes()), 0)) // the same key to HKDF
				}
			},
			"empty": func(v reflect.Value) { v.SetZero() },
		} {
			moved := p
			change(reflect.ValueOf(&moved).Elem().Field(i))
			tampered(t, box, moved, sealed, what+" "+reflect.TypeFor[seal.Place]().Field(i).Name)
		}
	}
	mustOpen(t, box, p, sealed, "secret")
}

// ST-004: two values change places, and letters move from one field to the next.
func TestSwappedValues(t *testing.T) {
	box := newBox(t, newKEK(t), nil)
	access, refresh := place(), place()
	refresh.Field, refresh.Salt = "refresh_token", access.Salt
	one, two := mustSeal(t, box, access, "one"), mustSeal(t, box, refresh, "two")
	tampered(t, box, access, two, "swap")
	tampered(t, box, refresh, one, "swap")

	left := seal.Place{Org: "ab", User: "c", Record: "12", Field: "3"}
	sealed := mustSeal(t, box, left, "secret")
	for _, right := range []seal.Place{
		{Org: "a", User: "bc", Record: "12", Field: "3"},
		{Org: "ab", User: "c", Record: "1", Field: "23"},
		{Org: "abc", Record: "12", Field: "3"},
	} {
		tampered(t, box, right, sealed, "shift")
	}
	noSalt, zeroSalt := seal.Place{User: "ada"}, seal.Place{User: "ada", Salt: make([]byte, 32)}
	tampered(t, box, zeroSalt, mustSeal(t, box, noSalt, "secret"), "zero salt")
}

// ST-005: every bit of a record is flipped, of the sealed bytes as well as of
// what stands in the columns around them; and it is cut and lengthened.
func TestFlippedBits(t *testing.T) {
	box, p := newBox(t, newKEK(t), nil), place()
	sealed := mustSeal(t, box, p, "a secret of some length")
	for bit := range len(sealed) * 8 {
		flipped := bytes.Clone(sealed)
		flipped[bit/8] ^= 1 << (bit % 8)
		refused(t, box, p, flipped)
	}
	for n := range len(sealed) {
		refused(t, box, p, sealed[:n])
		refused(t, box, p, sealed[n+1:])
	}
	refused(t, box, p, append(bytes.Clone(sealed), 0))

	for bit := range 64 {
		flipped := p
		flipped.Version ^= 1 << bit
		tampered(t, box, flipped, sealed, "version")
	}
	columns := []func(*seal.Place) *string{
		func(p *seal.Place) *string { return &p.Table }, func(p *seal.Place) *string { return &p.Org },
		func(p *seal.Place) *string { return &p.User }, func(p *seal.Place) *string { return &p.Record },
		func(p *seal.Place) *string { return &p.Field }, func(p *seal.Place) *string { return &p.Bind },
	}
	for _, column := range columns {
		for bit := range len(*column(&p)) * 8 {
			flipped := p
			text := []byte(*column(&flipped))
			text[bit/8] ^= 1 << (bit % 8)
			*column(&flipped) = string(text)
			tampered(t, box, flipped, sealed, string(text))
		}
	}
	for bit := range len(p.Salt) * 8 {
		flipped := p
		flipped.Salt = bytes.Clone(p.Salt)
		flipped.Salt[bit/8] ^= 1 << (bit % 8)
		tampered(t, box, flipped, sealed, "salt")
	}
	mustOpen(t, box, p, sealed, "a secret of some length")
}

// ST-005: no bytes whatever open, panic or give part of a plaintext, but those
// that Seal made.
func FuzzOpen(f *testing.F) {
	box, p := newBox(f, newKEK(f), nil), place()
	sealed := mustSeal(f, box, p, "secret")
	f.Add(sealed)
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add(append([]byte{1, 0, 0, 0, 2}, make([]byte, 28)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Equal(data, sealed) {
			mustOpen(t, box, p, data, "secret")
			return
		}
		refused(t, box, p, data)
	})
}

// AU-004: a MAC is of its label, such as "audit", and of its store, for as long as the store lives.
func TestMAC(t *testing.T) {
	kek, ks := newKEK(t), &table{}
	box := newBox(t, kek, ks)
	before := box.MAC("audit")([]byte("event"))
	if len(before) != 32 {
		t.Fatalf("MAC has %d bytes", len(before))
	}
	if bytes.Equal(before, box.MAC("state")([]byte("event"))) || bytes.Equal(before, box.MAC("audit")([]byte("other"))) {
		t.Error("another label or message has the same MAC")
	}
	if err := box.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*seal.Box{box, newBox(t, kek, ks)} {
		if !bytes.Equal(before, b.MAC("audit")([]byte("event"))) {
			t.Error("the MAC changed with a rotation")
		}
	}
	if bytes.Equal(before, newBox(t, kek, nil).MAC("audit")([]byte("event"))) {
		t.Error("another store has the same MAC")
	}
}

// tampered wants exactly ErrTampered.
func tampered(t *testing.T, box *seal.Box, p seal.Place, sealed []byte, what string) {
	t.Helper()
	if got, err := box.Open(p, sealed); !errors.Is(err, seal.ErrTampered) || got != nil {
		t.Errorf("%s: Open = %q, %v; want ErrTampered", what, got, err)
	}
}

// refused wants one of the two errors that changed bytes give, and no plaintext.
func refused(t *testing.T, box *seal.Box, p seal.Place, sealed []byte) {
	t.Helper()
	got, err := box.Open(p, sealed)
	if !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrUnknownKey) || got != nil {
		t.Errorf("Open(%x) = %q, %v", sealed, got, err)
	}
}

func BenchmarkSeal(b *testing.B) {
	box, p, plaintext := newBox(b, newKEK(b), nil), place(), make([]byte, 1024)
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Seal(p, plaintext); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	box, p := newBox(b, newKEK(b), nil), place()
	sealed := mustSeal(b, box, p, string(make([]byte, 1024)))
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := box.Open(p, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

// A record is lost with its salt only if no other one has the same.
func TestSaltsDiffer(t *testing.T) {
	seen := map[string]bool{string(make([]byte, 32)): true}
	for range 100 {
		salt := seal.NewSalt()
		if len(salt) != 32 || seen[string(salt)] {
			t.Fatalf("a salt of %d bytes, or one for the second time", len(salt))
		}
		seen[string(salt)] = true
	}
}
