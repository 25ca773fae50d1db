package store

import (
	"hash/fnv"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/latchpost/latchpost/auth"
)

// changes tells whether rows that a process remembers (memory.go) still stand. A file beside the
// database, which every process on it maps, counts the transactions that changed an owner's rows:
// when they were about to be committed, and when they had been. A count that was read before the
// rows were, and is the same afterwards with nobody under way, says that no such transaction came
// between, in any process.
//
// Only who has SQLite's one write lock counts up, so whoever died between the two counts left
// nothing half done behind: the next writer's counts settle it, and nobody remembers until then.
type changes struct {
	file  os.FileInfo // of the file that is mapped
	unmap func() error

	mu      sync.RWMutex // held while tallies are looked at
	tallies []tally      // nil once they were closed
}

// tally counts the changes of one slot. The file is an array of them.
type tally struct{ begun, done atomic.Uint64 }

// Owners share 1023 slots; what is not one owner's alone is counted in everyone's, and what may be told as late as memoryAge
// in none.
const (
	nobodys     = -1
	everyone    = 0
	changeSlots = 1024
	changesSize = changeSlots * 16 // bytes of the file
)

// changesRemembered reports whether a statement may change a row that memory.go keeps. What
// it does not know may.
func changesRemembered(text string) bool {
	verb, rest, _ := strings.Cut(text, " ")
	switch verb {
	case "SELECT", "PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT":
		return false
	case "INSERT", "DELETE": // INTO, FROM
		_, rest, _ = strings.Cut(rest, " ")
	case "UPDATE":
	default:
		return true
	}
	table, _, _ := strings.Cut(rest, " ")
	switch table {
	case "connections", "grants", "tokens":
		return true
	case "requests", "approvals", "revocations", "apps", "keys", "meta", "sessions", "owner_links", "tickets", "audit_events", "audit_batches", "audit_heads":
		return false
	}
	return true
}

// countChanges maps the counts, which stand beside the database. Without them nothing is
// remembered, which is slower and else the same.
func (db *DB) countChanges() {
	c, err := mapChanges(db.file.path + "-changes")
	if err != nil {
		db.log().Debug("nothing is remembered between reads", "error", err)
	}
	if before := db.file.changes.Swap(c); before != nil {
		before.close()
	}
}

// stand reports whether the counts are still those of the database at path.
func (c *changes) stand(path string) bool {
	info, err := os.Stat(path + "-changes")
	return err == nil && os.SameFile(info, c.file) && info.Size() == changesSize
}

// slotOf is where an owner's changes are counted, the same in every process.
func slotOf(o auth.Owner) int {
	h := fnv.New32a()
	h.Write([]byte(o.Org))
	h.Write([]byte{0})
	h.Write([]byte(o.User))
	return 1 + int(h.Sum32()%(changeSlots-1))
}

// moment is when something was read, as the counts stood.
type moment struct {
	of       *changes
	all, own uint64
}

// look runs fn on the tallies, unless they were closed. A page that is not there, because somebody cut the file
// short or its disk does not give it, is a fault that would end the process; then ok is false.
func (c *changes) look(fn func()) (ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.tallies == nil {
		return false
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		e := recover()
		if _, fault := e.(interface{ Addr() uintptr }); e != nil && !fault {
			panic(e)
		}
		ok = e == nil
	}()
	fn()
	return true
}

// now is ok when nobody is changing the rows of the slot.
func (c *changes) now(slot int) (m moment, ok bool) {
	seen := c.look(func() {
		all, quiet := c.tallies[everyone].settled()
		own, still := c.tallies[slot].settled()
		m, ok = moment{c, all, own}, quiet && still
	})
	return m, seen && ok
}

// begin counts changes that are about to be committed, by who has the write lock; end with what
// it gave counts them again when they were. When the next writer has come to its end before, this
// one changes nothing.
func (c *changes) begin(slots []int) (begun []uint64) {
	c.look(func() {
		for _, slot := range slots {
			begun = append(begun, c.tallies[slot].begun.Add(1))
		}
	})
	return begun
}

func (c *changes) end(slots []int, begun []uint64) {
	c.look(func() {
		for i, n := range begun {
			done := &c.tallies[slots[i]].done
			for was := done.Load(); was < n && !done.CompareAndSwap(was, n); was = done.Load() {
			}
		}
	})
}

// close gives the file back. Whoever still asks remembers nothing.
func (c *changes) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies == nil {
		return nil
	}
	c.tallies = nil
	return c.unmap()
}

// settled reads the end first: a begin that is the same later had an end already.
func (t *tally) settled() (n uint64, ok bool) {
	n = t.done.Load()
	return n, t.begun.Load() == n
}
