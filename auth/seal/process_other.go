//go:build !linux

package seal

// HardenProcess does nothing here: it knows Linux only. macOS and Windows write
// no core files unless somebody turned them on; on other systems run Latchpost
// under `ulimit -c 0`.
func HardenProcess() error { return nil }
