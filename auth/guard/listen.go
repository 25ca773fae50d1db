package guard

import (
	"context"
	"math"
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
		slots: make(chan struct{}, opt.MaxConns), closed: make(chan struct{})}, nil
}

type listener struct {
	net.Listener
	trusted []netip.Prefix
	perIP   int
	open    shares
	slots   chan struct{}
	once    sync.Once
	closed  chan struct{}
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
		from, most := l.from(c)
		if l.open.take(from, 1, most) {
			return &conn{Conn: c, leave: func() { l.open.give(from, 1); <-l.slots }}, nil
		}
		c.Close()
	}
}

// Close also wakes an Accept that waits for a slot.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// from is whose connection c is, and how many they may have.
func (l *listener) from(c net.Conn) (from netip.Prefix, most int64) {
	ap, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	addr := ap.Addr().Unmap().WithZone("")
	if within(l.trusted, addr) {
		return network(addr), math.MaxInt64 // a proxy has everybody's
	}
	return network(addr), int64(l.perIP)
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
