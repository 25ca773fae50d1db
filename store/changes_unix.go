//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// mapChanges maps the file at path, and makes it when it is not there.
func mapChanges(path string) (*changes, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeChanges(path); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != changesSize {
		return nil, errors.New("not a file of counts; delete it while no latchpost is running")
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, changesSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &changes{
		file: info, unmap: func() error { return syscall.Munmap(b) },
		tallies: unsafe.Slice((*tally)(unsafe.Pointer(&b[0])), changeSlots), // #nosec G103 the mapping is as long as that, and its pages are aligned
	}, nil
}

// makeChanges gives the file its name when it is whole: a page for which the disk has no room
// would end the process that writes to it.
func makeChanges(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "changes-*.new")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	adopt(f)
	_, err = f.Write(make([]byte, changesSize))
	if err := firstError(err, f.Sync(), f.Close()); err != nil { // else a power cut leaves a name with nothing behind it
		return err
	}
	err = os.Link(f.Name(), path) // not a rename: two processes may be at it
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
