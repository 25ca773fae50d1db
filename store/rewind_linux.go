package store

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Places in the WAL's index and sizes in the WAL (https://sqlite.org/walformat.html).
const (
	indexInitialized = 12
	indexLastFrame   = 16 // the last that was committed
	indexBackfill    = 96 // up to here the frames count as copied into the file
	checkpointLock   = 121
	walHeader        = 32
	walFrame         = 24 + pageSize
)

// rewind undoes, in the index that all processes share, what SQLite believes of a disk that has failed, while no
// transaction of others is under way. Frames up to indexBackfill may be in the file by writes that no fsync
// followed (a checkpoint that a reader or a writer held up does none), so all count as not copied; every
// one is in the WAL still. And what lies in the WAL behind the last commit is cut off: SQLite would take it for committed when
// it reads the WAL anew after a crash, from the kernel's memory, and build on frames that are on no disk.
func (f *sqliteFile) rewind() (err error) {
	if f.index == nil { // closing it would drop the locks that this process has on it (POSIX)
		if f.index, err = os.OpenFile(f.path+"-shm", os.O_RDWR, 0); err != nil {
			return err
		}
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: checkpointLock, Len: 1}
	for {
		if err = unix.FcntlFlock(f.index.Fd(), unix.F_OFD_SETLKW, &lock); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		lock.Type = unix.F_UNLCK
		err = firstError(err, unix.FcntlFlock(f.index.Fd(), unix.F_OFD_SETLK, &lock))
	}()
	var index [indexBackfill]byte
	if _, err := f.index.ReadAt(index[:], 0); err != nil {
		return err
	}
	if index[indexInitialized] != 1 {
		return errors.New("the index of the WAL is not what SQLite documents")
	}
	committed := int64(0)
	if n := binary.NativeEndian.Uint32(index[indexLastFrame:]); n > 0 {
		committed = walHeader + int64(n)*walFrame
	}
	if wal := f.path + "-wal"; size(wal) > committed {
		if err := os.Truncate(wal, committed); err != nil {
			return err
		}
	}
	_, err = f.index.WriteAt(make([]byte, 4), indexBackfill)
	return err
}
