package egress

import (
	"net/http"
	"sync"
)

// maxParties is how many parties have kept connections at once; the one that asked longest ago gives way.
const maxParties = 1024

// parties keep their connections apart: a server that sends too much, or a proxy before it that was led to mistake where a
// request ends, answers the next request on the same connection with what belongs to another. That shall not be another owner's.
type parties struct {
	base *http.Transport // as each of them is; nobody's own

	mu    sync.Mutex
	turn  int64
	known map[any]*party
}

type party struct {
	transport *http.Transport
	turn      int64 // of the last request
}

// of is the transport of a party.
func (p *parties) of(name any) *http.Transport {
	if name == nil {
		return p.base
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	known := p.known[name]
	if known == nil {
		if len(p.known) >= maxParties {
			p.forget()
		}
		if p.known == nil {
			p.known = map[any]*party{}
		}
		known = &party{transport: p.base.Clone()}
		p.known[name] = known
	}
	known.turn = p.turn
	return known.transport
}

// forget ends the connections of the party that asked longest ago, those that are under way with their answers. mu is held.
func (p *parties) forget() {
	var oldest any
	for name, one := range p.known {
		if oldest == nil || one.turn < p.known[oldest].turn {
			oldest = name
		}
	}
	p.known[oldest].transport.CloseIdleConnections()
	delete(p.known, oldest)
}

func (p *parties) closeIdle() {
	p.base.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.known {
		one.transport.CloseIdleConnections()
	}
}
