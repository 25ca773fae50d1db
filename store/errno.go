package store

import (
	"fmt"
	"reflect"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// full makes a write that a quota refused what it is: a disk without room. SQLite knows only of ENOSPC, and takes the rest for a disk that fails.
func (c *sqliteConn) full(err error) error {
	if err == nil || sqliteCode(err)&0xff != sqlite3.SQLITE_IOERR || !isNoSpace(c.errno()) {
		return err
	}
	return fmt.Errorf("%w (%w)", ErrFull, err)
}

// errno is what the system said to the call that failed. The binding has no word for sqlite3_system_errno; of one that is
// built otherwise nothing is asked.
func (c *sqliteConn) errno() error {
	v := reflect.ValueOf(c.Conn).Elem()
	tls, conn := v.FieldByName("tls"), v.FieldByName("conn")
	if !tls.IsValid() || tls.Type() != reflect.TypeFor[*libc.TLS]() || !conn.IsValid() || conn.Kind() != reflect.Uintptr {
		return nil
	}
	return syscall.Errno(sqlite3.Xsqlite3_system_errno((*libc.TLS)(unsafe.Pointer(tls.Pointer())), uintptr(conn.Uint())))
}
