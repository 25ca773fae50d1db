package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// unreached tells the operator why a service cannot be reached, with the address and the system's own words, which no
// agent gets. What goes on in the same way is told now and then.
type unreached struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[trouble]time.Time
}

type trouble struct {
	host string
	kind egress.Kind
}

const (
	tellAgain = 5 * time.Minute
	mostTold  = 1000 // troubles that are remembered
)

func (u *unreached) tell(host string, err *egress.Error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now, what := time.Now(), trouble{host, err.Kind}
	if last, ok := u.told[what]; ok && now.Sub(last) < tellAgain {
		return
	}
	if u.told == nil || len(u.told) >= mostTold {
		u.told = map[trouble]time.Time{}
	}
	u.told[what] = now
	u.log.Warn("a service cannot be reached, or gives no proper answer", "host", host, "error", fmt.Sprintf("%.500s", err.Detail())) // a certificate may have many names
}
