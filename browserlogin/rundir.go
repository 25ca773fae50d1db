package browserlogin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// runDir is the only place on disk that the driver and its browsers may write
// to. It is new and empty for every driver process, holds the unpacked driver,
// the wrapper and a home of mode 0700, and is gone afterwards. A lock tells the
// directory of a living server from one that a killed server left behind.
type runDir struct {
	path string
	lock *os.File
}

const (
	runDirPrefix = "latchpost-browser-"
	longestHome  = 60 // bytes: a Unix socket's whole path has 107
)

// newRunDir makes the directory below parent ("" is the system's) with a home
// that belongs to uid (-1: to ourselves).
func newRunDir(parent string, uid int) (*runDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	path, err := os.MkdirTemp(parent, runDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("no temporary directory for the browser: %w; give one with room by TMPDIR", err)
	}
	d := &runDir{path: path}
	if len(d.home()) > longestHome {
		d.remove()
		return nil, fmt.Errorf("%s is too long a path: Chromium keeps a socket below it; give a shorter TMPDIR", path)
	}
	if d.lock, err = os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600); err != nil {
		d.remove()
		return nil, err
	}
	if !tryLock(d.lock) {
		d.remove()
		return nil, fmt.Errorf("%s cannot be locked; use a local file system for TMPDIR", path)
	}
	if err := os.Mkdir(d.home(), 0o700); err != nil {
		d.remove()
		return nil, err
	}
	if uid >= 0 {
		// The other user may walk through, and owns nothing but its home.
		if err := errors.Join(os.Chmod(path, 0o711), os.Chown(d.home(), uid, uid)); err != nil {
			d.remove()
			return nil, err
		}
	}
	return d, nil
}

func (d *runDir) home() string { return filepath.Join(d.path, "home") }

// remove wipes the directory. A browser that is just dying may still write, so
// it looks twice.
func (d *runDir) remove() {
	for range 3 {
		if os.RemoveAll(d.path) == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if d.lock != nil {
		d.lock.Close()
	}
}

// sweepRunDirs wipes what killed servers left below parent.
func sweepRunDirs(parent string) {
	if parent == "" {
		parent = os.TempDir()
	}
	left, _ := filepath.Glob(filepath.Join(parent, runDirPrefix+"*"))
	for _, path := range left {
		if info, err := os.Lstat(path); err != nil || !info.IsDir() || !ownedByUs(info) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
		if err != nil {
			// Made a moment ago and not locked yet, or half wiped: give it a minute.
			if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > time.Minute {
				os.RemoveAll(path)
			}
			continue
		}
		if tryLock(lock) {
			(&runDir{path: path, lock: lock}).remove()
			continue
		}
		lock.Close()
	}
}
