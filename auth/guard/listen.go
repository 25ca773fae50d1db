package guard

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

const maxConnsPerIP = 1024

// Listen listens on a TCP address and bounds the connections that are open at once. One over the bound of its address is closed at
// once; one over the bound of all waits until another ends.
func Listen(ctx context.Context, addr string, opt Options) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if opt.MaxConns == 0 {
		opt.MaxConns = max(64, min(4096, descriptors()/2)) // the other half is for files, and for connections that we open
	}
	if opt.MaxConnsPerIP == 0 {
		opt.MaxConnsPerIP = min(maxConnsPerIP, opt.MaxConns/4)
	}
	return &listener{Listener: l, trusted: opt.TrustedProxies, perIP: opt.MaxConnsPerIP,
		slots: make(chan struct{}, opt.MaxConns), closed: make(chan struct{}), open: make(map[netip.Prefix]int)}, nil
}

type listener struct {
	net.Listener
	trusted []netip.Prefix
	perIP   int
	slots   chan struct{}
	once    sync.Once
	closed  chan struct{}

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			<-l.slots
			return nil, err
		}
		from, limited := l.from(c)
		if l.enter(from, limited) {
			return &conn{Conn: c, leave: func() { l.exit(from) }}, nil
		}
		c.Close()
	}
}

// Close also wakes an Accept that waits for a slot.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func (l *listener) enter(from netip.Prefix, limited bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limited && l.open[from] >= l.perIP {
		return false
	}
	l.open[from]++
	return true
}

func (l *listener) exit(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
	<-l.slots
}

func (l *listener) from(c net.Conn) (from netip.Prefix, limited bool) {
	ap, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	addr := ap.Addr().Unmap().WithZone("")
	return network(addr), !within(l.trusted, addr)
}

// conn gives its place back when it is closed, once.
type conn struct {
	net.Conn
	once  sync.Once
	leave func()
}

// CloseWrite is what net/http looks for, to let a refusal arrive before the connection is reset.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *conn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
