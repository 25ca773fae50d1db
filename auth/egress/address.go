package egress

import (
	"fmt"
	"net"
	"net/netip"
)

// A special range is one that no public service lives in.
type special struct {
	prefix netip.Prefix
	name   string
	may    opening
}

// opening tells which option can open a range.
type opening int

const (
	never opening = iota
	byPrivate
	byLoopback
)

// specials holds the IANA special-purpose registries (RFC 6890 and its updates), the deprecated and transition ranges
// that carry an IPv4 address inside, and the metadata services of clouds. The first match names the range, so the
// narrow ones stand first.
var specials = []special{
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata", never},
	{netip.MustParsePrefix("100.100.100.200/32"), "cloud metadata", never},
	{netip.MustParsePrefix("192.0.0.192/32"), "cloud metadata", never},
	{netip.MustParsePrefix("fd00:ec2::/32"), "cloud metadata", never},
	{netip.MustParsePrefix("fd20:ce::254/128"), "cloud metadata", never},
	{netip.MustParsePrefix("fd00:42::42/128"), "cloud metadata", never},

	{netip.MustParsePrefix("0.0.0.0/8"), "this network", never},
	{netip.MustParsePrefix("10.0.0.0/8"), "private", byPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), "carrier-grade NAT", byPrivate},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", byLoopback},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", never},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", byPrivate},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments", never},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", never},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112", never},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT", never},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay", never},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", byPrivate},
	{netip.MustParsePrefix("192.175.48.0/24"), "AS112", never},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking", never},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", never},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", never},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", never},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", never},

	{netip.MustParsePrefix("::1/128"), "loopback", byLoopback},
	{netip.MustParsePrefix("::/96"), "unspecified or IPv4-compatible", never},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated", never},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64", never},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64", never},
	{netip.MustParsePrefix("100::/64"), "discard", never},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy", never},
	{netip.MustParsePrefix("2001::/32"), "Teredo", never},
	{netip.MustParsePrefix("2001::/23"), "protocol assignments", never},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", never},
	{netip.MustParsePrefix("2002::/16"), "6to4", never},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112", never},
	{netip.MustParsePrefix("3fff::/20"), "documentation", never},
	{netip.MustParsePrefix("5f00::/16"), "segment routing", never},
	{netip.MustParsePrefix("fc00::/7"), "private", byPrivate},
	{netip.MustParsePrefix("fe80::/10"), "link-local", never},
	{netip.MustParsePrefix("fec0::/10"), "site-local", never},
	{netip.MustParsePrefix("ff00::/8"), "multicast", never},
}

// globalUnicast is the only IPv6 space that IANA hands out.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// Public returns nil when addr is an ordinary address of the public internet, or an *Error of KindAddress whose Detail
// names the special-purpose range. An IPv4-mapped address is judged by the IPv4 address inside.
func Public(addr netip.Addr) error { return permitted(addr, false, nil) }

// permitted is Public with the operator's openings.
func permitted(addr netip.Addr, loopback bool, private []netip.Prefix) error {
	if !addr.IsValid() {
		return notAllowed("invalid")
	}
	zoned := addr.Zone() != ""
	addr = addr.Unmap().WithZone("")
	s, found := rangeOf(addr)
	switch {
	case zoned:
		return notAllowed(addr.String() + " has a zone")
	case !found:
		return nil
	case s.may == byLoopback && loopback:
		return nil
	case s.may == byPrivate:
		for _, p := range private {
			if p.Contains(addr) {
				return nil
			}
		}
	}
	return notAllowed(addr.String() + " is " + s.name)
}

// CheckPrivate says why a network cannot be opened by Options.Private: only RFC 1918, RFC 6598 and RFC 4193 space can, and
// single public addresses, for a machine that is to reach its own. Link-local and cloud metadata addresses never can.
func CheckPrivate(p netip.Prefix) error {
	if p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() {
		first, special := rangeOf(p.Addr())
		last := first.prefix.IsValid() && first.prefix.Bits() <= p.Bits()
		if special && first.may == byPrivate && last || !special && p.IsSingleIP() {
			return nil
		}
	}
	return fmt.Errorf("%s cannot be opened: name private networks, such as 10.20.0.0/16 or fd12:3456::/32, or a public address of this machine, such as 203.0.114.7/32", p)
}

// foreign refuses a public address of this machine: what listens there may count on a firewall outside.
func (c *Client) foreign(addr netip.Addr) error {
	addr = addr.Unmap()
	if _, special := rangeOf(addr); special {
		return nil // which somebody has opened
	}
	for _, p := range c.opt.Private {
		if p.Contains(addr) {
			return nil
		}
	}
	ours, err := c.own()
	if err != nil {
		return notAllowed("the addresses of this machine are not known")
	}
	for _, a := range ours {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				return notAllowed(addr.String() + " is this machine")
			}
		}
	}
	return nil
}

func rangeOf(addr netip.Addr) (special, bool) {
	for _, s := range specials {
		if s.prefix.Contains(addr) {
			return s, true
		}
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return special{name: "not global unicast"}, true
	}
	return special{}, false
}

func notAllowed(detail string) *Error {
	return &Error{Kind: KindAddress, text: "address not allowed", detail: detail}
}
