package browserlogin

import (
	"time"

	"github.com/coder/websocket"
)

// mindful is how often it is looked whether a login is still wanted, and by whom.
const mindful = time.Second

// mind ends a login that nobody waits for any more, into which people would go on typing their passwords, and a viewer who may
// not look any more, such as one who signed out. A viewer is asked about twice: a store that did not answer looks the same.
func (s *session) mind() {
	tick := time.NewTicker(mindful)
	defer tick.Stop()
	var refused *viewer
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		if s.login.Ended != nil {
			if err := s.login.Ended(s.ctx); err != nil && s.ctx.Err() == nil {
				s.cancel(err)
				return
			}
		}
		s.mu.Lock()
		v := s.view
		s.mu.Unlock()
		if v == nil || s.pool.visitor(v.asked.WithContext(s.ctx), s) == nil || s.ctx.Err() != nil {
			refused = nil
			continue
		}
		if refused == v {
			s.dismiss(v)
		}
		refused = v
	}
}

// dismiss ends a viewer, and the links to a service's view that it has.
func (s *session) dismiss(v *viewer) {
	s.mu.Lock()
	held := s.holder == v.cookie
	if held {
		s.holder = ""
	}
	s.mu.Unlock()
	v.cancel(goodbye{websocket.StatusPolicyViolation, "not for you any more"})
	if held {
		s.withdraw()
	}
}
