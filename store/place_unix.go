//go:build unix

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

func looser(info fs.FileInfo, mode fs.FileMode) bool { return info.Mode().Perm()&^mode != 0 }

func isReadOnlyFS(err error) bool { return errors.Is(err, syscall.EROFS) }

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// lockFile makes path and waits until this process alone has its lock. Closing
// the file, or dying, gives it up.
func lockFile(path string) (*os.File, error) {
	f, err := findOrMake(path)
	if err != nil {
		return nil, readOnlyDir(err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// findOrMake opens the file at path, and makes it when it is not there.
func findOrMake(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
		if err == nil {
			adopt(f)
		}
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		f, err = os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if !errors.Is(err, fs.ErrNotExist) { // deleted in between
			return f, err
		}
	}
}

// ownerOf is the id of the user to whom a file belongs.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	of, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(of.Uid), true
}

// adopt gives what root has just made in another user's directory to that user, whose processes it would else keep out. Only
// what O_EXCL has made may come here: a name that was there before could lead to anybody's file. Where it fails (a file system that knows no
// owners) everything is as without it.
func adopt(f *os.File) {
	if os.Geteuid() != 0 {
		return
	}
	if info, err := os.Stat(filepath.Dir(f.Name())); err == nil {
		if of, ok := info.Sys().(*syscall.Stat_t); ok && of.Uid != 0 {
			_ = f.Chown(int(of.Uid), int(of.Gid))
		}
	}
}

// makeDir makes a directory of ours in the data directory.
func makeDir(path string) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	d, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	adopt(d)
	return d.Close()
}

// openUnfinished makes the file that a backup is written to, or empties the one that a killed backup
// left. It is locked until it is closed.
func openUnfinished(path string) (_ *os.File, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !same(f, path) {
		return nil, fmt.Errorf("another backup writes %s now", path)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || looser(info, 0o600) {
		return nil, fmt.Errorf("%s is in the way, and no backup left it (mode %s): move it away", path, info.Mode())
	}
	return f, f.Truncate(0)
}

// locked reports whether a living process has the lock of path; known is false
// when there is no such file.
func locked(path string) (alive, known bool) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false, false
	}
	defer f.Close()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return err != nil, true
}

// freeSpace is what this process may still write on the disk of dir, in bytes.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	err := syscall.Statfs(dir, &s)
	return int64(s.Bavail) * int64(s.Bsize), err
}
