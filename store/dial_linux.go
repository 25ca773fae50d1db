package store

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// giveUp has the kernel end a connection on which nothing that was sent has been acknowledged for pgPatience. By itself it
// would go on for a quarter of an hour.
func giveUp(network, _ string, c syscall.RawConn) (err error) {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	outside := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(pgPatience.Milliseconds()))
	})
	return firstError(outside, err)
}
