package providers

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// mostMade bounds what is kept for a definition whose variables are as many as its users.
const mostMade = 1000

// made keeps what Resolve has made: brokered calls want the same few copies again and
// again, and one takes longer to make than the rest of a call.
type made struct {
	mu    sync.RWMutex
	byKey map[string]*Provider
}

func (m *made) get(key string) *Provider {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byKey[key]
}

func (m *made) keep(key string, p *Provider) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byKey == nil || len(m.byKey) >= mostMade {
		m.byKey = map[string]*Provider{}
	}
	m.byKey[key] = p
}

// declared writes down the values that Resolve looks at, no two sets of them alike.
func (p *Provider) declared(vars map[string]string) string {
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		key.WriteString(strconv.Quote(vars[name]))
	}
	return key.String()
}
