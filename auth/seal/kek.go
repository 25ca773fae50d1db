package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// KEK is a master key (key encryption key): it wraps data keys and does nothing
// else.
type KEK interface {
	// ID is the stable id of the key, 16 lower-case hex characters. It says
	// nothing about the key.
	ID() string
	// Wrap encrypts a data key; what it returns is stored.
	Wrap(ctx context.Context, dataKey []byte) ([]byte, error)
	// Unwrap undoes Wrap.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// OpenKEK opens the master key at url:
//
//	file:PATH             a file made by CreateKEK; only its owner may read it
//	env:NAME              32 bytes in base64, as `openssl rand -base64 32` prints
//	keyring:SERVICE/USER  the keyring of the operating system
//	exec:COMMAND          a command that asks a KMS or HSM, see below
//
// ErrNoKey: nothing is there. Every other error says what to do. An environment
// variable is removed when it is read, so it can be opened once.
//
// COMMAND is split at white space and run without a shell, with one argument
// more. Base64 is standard, padded, on one line; exit status 0 means done; it
// has 30 seconds and 64 KiB of output, and inherits the environment.
//
//	COMMAND id      prints the id of the key: 16 lower-case hex characters, for
//	                example `printf %s "$KEY_NAME" | sha256sum | cut -c1-16`
//	COMMAND wrap    reads base64 of a data key (36 bytes) from standard input
//	                and prints base64 of the wrapped key
//	COMMAND unwrap  reads base64 of a wrapped key and prints base64 of the data key
func OpenKEK(ctx context.Context, url string) (KEK, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "file":
		return openFile(rest)
	case "env":
		return openEnv(rest)
	case "keyring":
		return openKeyring(rest)
	default:
		return openExec(ctx, rest)
	}
}

// CreateKEK makes a new master key at a file: or keyring: url. It never
// overwrites: ErrKeyExists when anything is there. A file appears whole or not
// at all, so the process that loses a race may call OpenKEK at once.
func CreateKEK(ctx context.Context, url string) (KEK, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "file":
		return createFile(rest)
	case "keyring":
		return createKeyring(rest)
	case "env":
		return nil, fmt.Errorf("environment variable %s is not set, and a key there is made outside: set it to one (`openssl rand -base64 32` prints one), then start again", rest)
	default:
		return nil, fmt.Errorf("a %s: key is made outside: make it, then start again", scheme)
	}
}

// CheckURL reports whether url is of a kind that there is, without looking for a key. It does not repeat
// the url: somebody may have put the key itself there.
func CheckURL(url string) error {
	scheme, rest, _ := strings.Cut(url, ":")
	service, user, _ := strings.Cut(rest, "/")
	if rest == "" || !slices.Contains([]string{"file", "env", "keyring", "exec"}, scheme) || scheme == "keyring" && (service == "" || user == "") {
		return errors.New("the key URL must be file:PATH, env:NAME, keyring:SERVICE/USER or exec:COMMAND")
	}
	return nil
}

const (
	keySize   = 32
	keyPrefix = "latchpost-key-1:" // tells a whole key from any other or truncated text
)

// localKEK is a master key in this process. Only what it needs is kept, inside
// a func for the reason that dataKey gives.
type localKEK struct {
	id   string
	seal func(plaintext []byte) []byte
	open func(wrapped []byte) ([]byte, error)
}

// newLocalKEK derives id and wrapping key from secret and clears it.
func newLocalKEK(secret []byte) (KEK, error) {
	defer clear(secret)
	id, err := hkdf.Key(sha256.New, secret, nil, "latchpost master key id 1", 8)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "latchpost master key wrap 1", keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return localKEK{
		id:   hex.EncodeToString(id),
		seal: func(plaintext []byte) []byte { return aead.Seal(nil, nil, plaintext, nil) },
		open: func(wrapped []byte) ([]byte, error) { return aead.Open(nil, nil, wrapped, nil) },
	}, nil
}

func (k localKEK) ID() string { return k.id }

func (k localKEK) Wrap(_ context.Context, dataKey []byte) ([]byte, error) {
	return k.seal(dataKey), nil
}

func (k localKEK) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	dataKey, err := k.open(wrapped)
	if err != nil {
		return nil, fmt.Errorf("%w: restore table keys from a backup", ErrTampered)
	}
	return dataKey, nil
}

// newKeyText returns a new master key as the line that is stored.
func newKeyText() string {
	secret := make([]byte, keySize)
	rand.Read(secret)
	defer clear(secret)
	return keyPrefix + base64.StdEncoding.EncodeToString(secret) + "\n"
}

// parseKeyText undoes newKeyText. Its error does not repeat any of the text.
func parseKeyText(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	if !ok {
		return nil, fmt.Errorf("this is not a Latchpost key (it does not start with %s)", keyPrefix)
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(secret) != keySize {
		return nil, fmt.Errorf("this is a damaged Latchpost key (%d bytes of base64 must follow %s)", keySize, keyPrefix)
	}
	return secret, nil
}

func openEnv(name string) (KEK, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("%w in environment variable %s: set it to the key (`openssl rand -base64 32` makes one for a new store)", ErrNoKey, name)
	}
	// The copy in /proc/self/environ stays; HardenProcess keeps others from it.
	if err := os.Unsetenv(name); err != nil {
		return nil, err
	}
	secret, err := parseKeyText(keyPrefix + strings.TrimPrefix(strings.TrimSpace(text), keyPrefix))
	if err != nil {
		return nil, fmt.Errorf("environment variable %s: it must hold %d bytes in base64, as `openssl rand -base64 32` prints", name, keySize)
	}
	return newLocalKEK(secret)
}
