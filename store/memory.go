package store

import (
	"sync"
	"time"
)

const (
	// memorySize is how many answers of a kind are kept at most, twice: about 40 MB, if all of them are connections.
	memorySize = 8192
	// memoryAge bounds what a change of the rows that no Latchpost made could do.
	memoryAge = 10 * time.Second
)

// memory keeps answers of one kind of question until they are old, or crowded out by newer ones.
type memory[K comparable, V any] struct {
	tells      func(remembered[V]) // what else an answer answers; nil for nothing
	mu         sync.Mutex
	young, old map[K]remembered[V]
}

type remembered[V any] struct {
	value V
	as    moment // the counts when it was read
	until time.Time
}

func (m *memory[K, V]) get(key K, as moment, now time.Time) (v V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.young[key]
	if !ok {
		if r, ok = m.old[key]; ok {
			m.put(key, r) // asked for again: it stays
		}
	}
	if !ok || r.as != as || !r.until.After(now) {
		return v, false
	}
	return r.value, true
}

func (m *memory[K, V]) keep(key K, r remembered[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, r)
}

// put drops the half that was asked for least lately when there is no room.
func (m *memory[K, V]) put(key K, r remembered[V]) {
	if m.young == nil || len(m.young) >= memorySize {
		m.young, m.old = map[K]remembered[V]{}, m.young
	}
	m.young[key] = r
}

// recall gives what read gave before, unless somebody changed a row of the slot since; then, and
// where nobody counts the changes (PostgreSQL), it reads.
func recall[K comparable, V any](db *DB, m *memory[K, V], slot int, key K, read func() (V, error)) (V, error) {
	if db.file == nil {
		return read()
	}
	counts := db.file.changes.Load()
	if counts == nil {
		return read()
	}
	as, quiet := counts.now(slot)
	if !quiet {
		return read()
	}
	now := time.Now()
	if v, ok := m.get(key, as, now); ok {
		return v, nil
	}
	v, err := read() // after the counts: a change that it has not seen comes after them
	if err == nil {
		r := remembered[V]{v, as, now.Add(memoryAge)}
		m.keep(key, r)
		if m.tells != nil {
			m.tells(r)
		}
	}
	return v, err
}
