package guard

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddr is the address that a request comes from: the peer's, or, when the peer is a trusted proxy, the last address
// in X-Forwarded-For that is not one. The zero Addr when the peer has none (a UNIX socket).
func ClientAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !within(trusted, client) {
			break
		}
		next, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		client = next.Unmap().WithZone("")
	}
	return client
}

// ClientNetwork is all that the client of a request can call its own, for bounds per client.
func ClientNetwork(r *http.Request, trusted []netip.Prefix) netip.Prefix {
	return network(ClientAddr(r, trusted))
}

// parseHop takes an address as proxies write it: alone, in brackets, or with a port.
func parseHop(hop string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(hop); err == nil {
		return at.Addr(), nil
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop = strings.TrimSuffix(inner, "]")
	}
	return netip.ParseAddr(hop)
}

func within(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
