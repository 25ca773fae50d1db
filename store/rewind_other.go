//go:build !linux

package store

import "errors"

// rewind needs locks that other systems do not have.
func (f *sqliteFile) rewind() error {
	return errors.New("on this system a store whose disk has failed is mended by ending all latchpost processes that use it and starting again")
}
