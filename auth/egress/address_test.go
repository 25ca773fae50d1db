package egress

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// BF-008: no address of a special-purpose range passes, in whatever form it hides.
func TestPublicRefuses(t *testing.T) {
	for addr, name := range map[string]string{
		"0.0.0.0": "this network", "0.0.0.1": "this network", "10.1.2.3": "private", "100.64.0.1": "carrier-grade",
		"100.100.100.200": "metadata", "127.0.0.1": "loopback", "127.255.255.254": "loopback", "168.63.129.16": "metadata",
		"169.254.169.254": "link-local", "172.31.255.255": "private", "192.0.0.8": "assignments", "192.0.0.192": "metadata",
		"192.0.2.1": "documentation", "192.31.196.1": "AS112", "192.52.193.1": "AMT", "192.88.99.1": "6to4", "192.168.0.1": "private",
		"192.175.48.1": "AS112", "198.18.0.1": "benchmarking", "198.19.255.255": "benchmarking", "198.51.100.1": "documentation",
		"203.0.113.1": "documentation", "224.0.0.1": "multicast", "239.255.255.255": "multicast", "240.0.0.1": "reserved",
		"255.255.255.255": "reserved", "::": "unspecified", "::1": "loopback", "::7f00:1": "IPv4-compatible",
		"::ffff:127.0.0.1": "loopback", "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "link-local", "::ffff:0:7f00:1": "translated",
		"64:ff9b::7f00:1": "NAT64", "64:ff9b::a9fe:a9fe": "NAT64", "64:ff9b:1::1": "NAT64", "100::1": "discard", "100:0:0:1::1": "dummy",
		"2001::1": "Teredo", "2001:2::1": "assignments", "2001:10::1": "assignments", "2001:db8::1": "documentation", "2002:7f00:1::": "6to4",
		"2620:4f:8000::1": "AS112", "3fff::1": "documentation", "5f00::1": "segment", "fc00::1": "private", "fd00:ec2::254": "metadata",
		"fd12::1": "private", "fe80::1": "link-local", "fe80::1%eth0": "zone", "fec0::1": "site-local", "ff02::1": "multicast",
		"4000::1": "global unicast", "2606:4700::1111%eth0": "zone",
	} {
		err := Public(netip.MustParseAddr(addr))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != KindAddress || !strings.Contains(e.Detail(), name) {
			t.Errorf("%s: %v, want %s", addr, err, name)
			continue
		}
		if e.Error() != "address not allowed" {
			t.Errorf("%s: the text tells %q", addr, e.Error())
		}
	}
	if Public(netip.Addr{}) == nil {
		t.Error("the zero address passes")
	}
}

func TestPublicAllows(t *testing.T) {
	for _, addr := range []string{"1.1.1.1", "8.8.8.8", "140.82.112.3", "::ffff:8.8.8.8", "2606:4700::1111", "2a00:1450::1", "100.128.0.1", "172.32.0.1", "192.0.1.1"} {
		if err := Public(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// PD-002: what an operator opens is open, but never metadata or link-local, however wide the prefix.
func TestOpenings(t *testing.T) {
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "192.168.1.1": true, "::ffff:10.0.0.1": true, "fd12::1": true, "100.64.0.1": true,
		"169.254.169.254": false, "100.100.100.200": false, "fd00:ec2::254": false, "fe80::1": false, "127.0.0.1": false, "0.0.0.0": false,
		"224.0.0.1": false, "64:ff9b::a00:1": false,
	} {
		if got := permitted(netip.MustParseAddr(addr), false, everything) == nil; got != want {
			t.Errorf("%s under %v: %v", addr, everything, got)
		}
	}
	if permitted(netip.MustParseAddr("10.1.2.3"), false, []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}) == nil {
		t.Error("an address outside the opened prefix passes")
	}
	if permitted(netip.MustParseAddr("127.0.0.1"), true, nil) != nil || permitted(netip.MustParseAddr("10.0.0.1"), true, nil) == nil {
		t.Error("the loopback switch opens loopback and nothing else")
	}
}

// BF-008, LV-008: a public address of this machine is reached only where the operator opens it.
func TestOwnAddress(t *testing.T) {
	dial := func(private ...netip.Prefix) error {
		c := New(Options{Private: private})
		c.own = func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.ParseIP("203.0.114.7"), Mask: net.CIDRMask(24, 32)}}, nil
		}
		return c.control(t.Context(), "tcp", "203.0.114.7:443", nil)
	}
	if err := dial(); KindOf(err) != KindAddress {
		t.Errorf("its own address: %v", err)
	}
	if err := dial(netip.MustParsePrefix("203.0.114.7/32")); err != nil {
		t.Errorf("opened: %v", err)
	}
}

// PD-002: what can be opened are private networks, and one public address at a time.
func TestCheckPrivate(t *testing.T) {
	for prefix, want := range map[string]bool{
		"10.0.0.0/8": true, "10.20.0.0/16": true, "192.168.1.0/24": true, "100.64.0.0/10": true, "fd12:3456::/32": true, "10.1.2.3/32": true,
		"203.0.114.7/32": true, "2606:4700::1/128": true,
		"0.0.0.0/0": false, "10.0.0.0/7": false, "8.8.8.0/24": false, "127.0.0.0/8": false, "169.254.169.254/32": false, "::/0": false,
		"fe80::/10": false, "fd00:ec2::254/128": false, "10.1.2.3/8": false, "::ffff:10.0.0.0/104": false,
	} {
		if got := CheckPrivate(netip.MustParsePrefix(prefix)) == nil; got != want {
			t.Errorf("%s can be opened: %v", prefix, got)
		}
	}
}
