package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/zalando/go-keyring"
)

// openKeyring reads SERVICE/USER from the keyring of the operating system:
// Keychain, Credential Manager or the Secret Service.
func openKeyring(place string) (KEK, error) {
	service, user, _ := strings.Cut(place, "/") // CheckURL has seen both
	text, err := keyring.Get(service, user)
	if errors.Is(err, keyring.ErrNotFound) {
		return nil, fmt.Errorf("%w in the keyring at %s: unlock the keyring it is in, or put the key of this store there", ErrNoKey, place)
	}
	if err != nil {
		return nil, noKeyring(err)
	}
	secret, err := parseKeyText(text)
	if err != nil {
		return nil, fmt.Errorf("keyring entry %s: %w: put a backup of the key there", place, err)
	}
	return newLocalKEK(secret)
}

// createKeyring holds a lock file from looking to writing, because a keyring
// cannot refuse to overwrite: the slower of two processes would destroy the key
// that the faster one has already used.
func createKeyring(place string) (KEK, error) {
	service, user, _ := strings.Cut(place, "/")
	unlock, err := lockKeyring()
	if err != nil {
		return nil, err
	}
	defer unlock()
	_, err = keyring.Get(service, user)
	if err == nil {
		return nil, fmt.Errorf("%w: keyring entry %s", ErrKeyExists, place)
	}
	if !errors.Is(err, keyring.ErrNotFound) {
		return nil, noKeyring(err)
	}
	if err := keyring.Set(service, user, newKeyText()); err != nil {
		return nil, noKeyring(err)
	}
	return openKeyring(place)
}

func lockKeyring() (unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "latchpost")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "keyring.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("another process is making a key: start again; if there is none, remove %s", path)
	}
	if err != nil {
		return nil, err
	}
	f.Close()
	return func() { os.Remove(path) }, nil
}

func noKeyring(err error) error {
	return fmt.Errorf("the keyring of this system does not answer (%w): start or unlock it, or keep the key in a file with file:PATH", err)
}
