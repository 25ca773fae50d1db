package mcp

import "sync"

// quota bounds how much one caller has under way at once, so that the others still get through.
type quota struct {
	max int
	mu  sync.Mutex
	by  map[principal]int
}

// take reports whether there is room; then give must follow.
func (q *quota) take(who principal) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by[who] >= q.max {
		return false
	}
	if q.by == nil {
		q.by = map[principal]int{}
	}
	q.by[who]++
	return true
}

func (q *quota) give(who principal) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by[who]--; q.by[who] == 0 {
		delete(q.by, who)
	}
}
