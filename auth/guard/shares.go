package guard

import (
	"net/netip"
	"sync"
)

// shares counts how much of something scarce each address holds.
type shares struct {
	mu sync.Mutex
	of map[netip.Prefix]int64
}

// take counts n more for an address, unless it would hold more than most; then give must follow.
func (s *shares) take(from netip.Prefix, n, most int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[from]+n > most {
		return false
	}
	if s.of == nil {
		s.of = make(map[netip.Prefix]int64)
	}
	s.of[from] += n
	return true
}

func (s *shares) give(from netip.Prefix, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.of[from] - n; left > 0 {
		s.of[from] = left
	} else {
		delete(s.of, from)
	}
}
