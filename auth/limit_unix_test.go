//go:build linux || darwin

package auth_test

import (
	"os/signal"
	"syscall"
)

// limitFiles lets no file of this process become longer, as on a disk that is full.
func limitFiles(bytes uint64) error {
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes})
}
