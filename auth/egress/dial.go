package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// DialContext connects to addr ("host:port") over TCP. The name is looked up once, every address is checked, and only
// addresses that pass are dialled, so a second DNS answer can change nothing. localhost is 127.0.0.1 and ::1 without a
// lookup (RFC 6761). Errors are *Error: KindAddress when no address passes, KindNetwork, KindTimeout, KindCanceled.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, badURL("no host and port")
	}
	deadline := time.Now().Add(c.opt.DialTimeout)
	dctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	addrs, err := c.lookup(dctx, host)
	if err != nil {
		return nil, netError(ctx, "name not found", err)
	}
	allowed, refused := c.permit(addrs)
	if len(allowed) == 0 {
		return nil, refused
	}
	var last error
	for i, a := range allowed {
		// Each address gets its share of the time, so that a dead first one leaves some for the next.
		share := time.Until(deadline) / time.Duration(len(allowed)-i)
		d := net.Dialer{Timeout: share, ControlContext: c.control}
		conn, err := d.DialContext(dctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, netError(ctx, "cannot connect", last)
}

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "localhost" {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var r Resolver = net.DefaultResolver
	if c.opt.Resolver != nil {
		r = c.opt.Resolver
	}
	return r.LookupNetIP(ctx, "ip", host)
}

// permit keeps at most four addresses that may be dialled; the error tells why the last other one may not.
func (c *Client) permit(addrs []netip.Addr) (allowed []netip.Addr, refused error) {
	refused = notAllowed("the name has no address")
	for _, a := range addrs {
		if err := permitted(a, c.opt.Loopback, c.opt.Private); err != nil {
			refused = err
		} else if len(allowed) < 4 {
			allowed = append(allowed, a.Unmap())
		}
	}
	return allowed, refused
}

// control checks once more, on the address that the kernel is about to be given.
func (c *Client) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return notAllowed(address)
	}
	if err := permitted(ap.Addr(), c.opt.Loopback, c.opt.Private); err != nil {
		return err
	}
	return c.foreign(ap.Addr())
}

// netError dresses a failure of lookup or connect. ctx is the caller's, to tell its end from our own time limit.
func netError(ctx context.Context, text string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if ctxErr := ctx.Err(); errors.Is(ctxErr, context.Canceled) {
		return &Error{Kind: KindCanceled, text: "canceled", cause: ctxErr}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		e := timedOut(text + " in time")
		e.detail = err.Error()
		return e
	}
	return &Error{Kind: KindNetwork, text: text, detail: err.Error()}
}
