//go:build unix

package main

import (
	"os"
	"time"

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

// takes reports whether f takes a write now, or within a time. What cannot be asked is no pipe, and does not wait for a reader.
func takes(f *os.File, within time.Duration) bool {
	for until := time.Now().Add(within); ; {
		asked := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
		n, err := unix.Poll(asked, int(max(0, time.Until(until)).Milliseconds()))
		if err != unix.EINTR {
			return n > 0 || err != nil
		}
	}
}
