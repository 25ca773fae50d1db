package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Place says where a sealed value belongs. All of it is authenticated, so a
// sealed value opens nowhere else.
type Place struct {
	Table, Org, User, Record, Field string

	// Version is the generation of the value: an old sealed value put back does
	// not open as the new one.
	Version int64

	// Bind is what the value may be used with, such as issuer and token endpoint;
	// "" for nothing.
	Bind string

	// Salt is the record's own salt, from NewSalt. It goes into the derivation of
	// the key: once it is destroyed the value is lost even to the holder of the
	// master key. nil for none.
	Salt []byte
}

// NewSalt returns 32 random bytes for Place.Salt.
func NewSalt() []byte {
	salt := make([]byte, 32)
	rand.Read(salt) // never fails: crypto/rand ends the process instead
	return salt
}

// A sealed value is format (1 byte) | number of the data key (4 bytes) | nonce
// (12 bytes) | ciphertext | tag (16 bytes).
const (
	formatV1   = 1
	headerSize = 1 + 4
	minSealed  = headerSize + 12 + 16
)

// Seal encrypts plaintext for p with the primary data key. The result is 33
// bytes longer than plaintext.
func (b *Box) Seal(p Place, plaintext []byte) ([]byte, error) {
	key := b.ring.Load().primary
	aead, err := p.aead(key)
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, 0, minSealed+len(plaintext))
	sealed = append(sealed, formatV1)
	sealed = binary.BigEndian.AppendUint32(sealed, key.number)
	return aead.Seal(sealed, nil, plaintext, p.aad(sealed)), nil
}

// Open decrypts what Seal made for exactly this p. It returns ErrTampered when
// p is another place or any byte was changed, and ErrUnknownKey when the data
// key is not loaded (which is also what a changed key number looks like).
func (b *Box) Open(p Place, sealed []byte) ([]byte, error) {
	number, err := sealedWith(sealed)
	if err != nil {
		return nil, err
	}
	key := b.ring.Load().keys[number]
	if key == nil {
		return nil, fmt.Errorf("%w %s: restore the row of that key in table keys from a backup", ErrUnknownKey, dataKeyID(number))
	}
	aead, err := p.aead(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed[headerSize:], p.aad(sealed[:headerSize]))
	if err != nil {
		return nil, ErrTampered
	}
	return plaintext, nil
}

// SealedWith returns the ID of the data key a value claims to be sealed with,
// whether this box has that key or not. ErrTampered: not a sealed value.
func (b *Box) SealedWith(sealed []byte) (keyID string, err error) {
	number, err := sealedWith(sealed)
	if err != nil {
		return "", err
	}
	return dataKeyID(number), nil
}

func sealedWith(sealed []byte) (number uint32, err error) {
	if len(sealed) < minSealed || sealed[0] != formatV1 {
		return 0, ErrTampered
	}
	return binary.BigEndian.Uint32(sealed[1:headerSize]), nil
}

// MAC returns HMAC-SHA-256 under a key of its own for each label. It comes from
// the first data key, so it gives the same answers for the life of the store,
// over every rotation. Safe for concurrent use. Compare with hmac.Equal.
func (b *Box) MAC(label string) func(message []byte) []byte {
	key, err := b.ring.Load().first.derive(nil, "latchpost mac 1", label)
	if err != nil {
		panic(err) // 32 bytes out of HKDF-SHA-256 are always to be had
	}
	return func(message []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		return mac.Sum(nil)
	}
}

// aead is the cipher of one owner and one record's salt. Random 96-bit nonces
// are safe for 2^32 values under one key (NIST SP 800-38D, 8.3), and each such
// key seals the few versions of one record; an owner without salts would have
// to store four billion values.
func (p Place) aead(key *dataKey) (cipher.AEAD, error) {
	ownKey, err := key.derive(p.Salt, "latchpost owner key 1", p.Org, p.User)
	if err != nil {
		return nil, err
	}
	defer clear(ownKey)
	return newAEAD(ownKey)
}

// newAEAD is AES-256-GCM that makes its random nonce itself and puts it in
// front of the ciphertext.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// aad is everything that is authenticated beside the plaintext. The salt is
// here although it is in the key too: HKDF takes salts that differ only in
// trailing zeros for the same.
func (p Place) aad(header []byte) []byte {
	aad := make([]byte, 0, 256)
	aad = append(aad, header...)
	aad = binary.BigEndian.AppendUint64(aad, uint64(p.Version))
	for _, s := range []string{p.Table, p.Org, p.User, p.Record, p.Field, p.Bind, string(p.Salt)} {
		aad = appendPrefixed(aad, s)
	}
	return aad
}

// appendPrefixed appends s behind its length, so that "ab","c" and "a","bc"
// stay apart.
func appendPrefixed(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
