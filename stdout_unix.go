//go:build unix

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// privateStdout takes standard output away from everything else in this process and
// from its children: what they write to descriptor 1 goes to standard error, and the
// protocol has a descriptor of its own that no child gets.
func privateStdout(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup2(int(os.Stderr.Fd()), int(f.Fd())); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "protocol"), nil
}
