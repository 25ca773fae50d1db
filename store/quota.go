package store

import (
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"
)

// full makes a write that a quota refused what it is: a disk without room. SQLite knows only of ENOSPC, and takes the rest for
// a disk that fails; what the system says to a small write of our own beside the file tells the two apart.
func (c *sqliteConn) full(err error) error {
	if err == nil || sqliteCode(err)&0xff != sqlite3.SQLITE_IOERR || !isNoSpace(tryWrite(c.dir)) {
		return err
	}
	return fmt.Errorf("%w (%w)", ErrFull, err)
}

// tryWrite is what such a write says. The test of quotas has its own.
var tryWrite = tryDisk
