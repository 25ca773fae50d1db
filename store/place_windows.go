package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// looser: the profile directory of a user is private by its access list.
func looser(fs.FileInfo, fs.FileMode) bool { return false }

func isReadOnlyFS(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

// lockFile makes path and waits until this process alone has its lock. Closing
// the file, or dying, gives it up.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, readOnlyDir(err)
	}
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{})
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ownerOf: what others may do here their access lists say.
func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }

// adopt and makeDir: what is made in a directory gets the access list of the directory.
func adopt(*os.File) {}

func makeDir(path string) error { return os.MkdirAll(path, 0o700) }

// openUnfinished makes the file that a backup is written to. Here a lock would keep SQLite out, so nobody
// knows whether one that is there is still being written. It is closed already: an open file keeps its name.
func openUnfinished(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s is there: another backup writes it, or was killed; delete it if none runs", path)
	}
	if err != nil {
		return nil, err
	}
	return f, f.Close()
}

// locked reports whether a living process has the lock of path; known is false
// when there is no such file.
func locked(path string) (alive, known bool) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, false
	}
	defer f.Close()
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	return err != nil, true
}

// freeSpace is what this process may still write on the disk of dir, in bytes.
func freeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(name, &free, nil, nil)
	return int64(free), err
}
