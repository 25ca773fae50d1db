package seal

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HardenProcess keeps keys in memory from leaving it: no core file, and no
// other process of the same user may attach or read /proc/PID/mem and environ.
// Call it first in main, before any key is read. Child processes inherit the
// limit but not the second part.
func HardenProcess() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("keep other processes from reading this one: %w", err)
	}
	return nil
}
