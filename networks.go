package main

import (
	"net/netip"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
)

// networks collects --unsafe-private-net, with commas or repeated.
type networks []netip.Prefix

func (n *networks) String() string {
	if n == nil {
		return ""
	}
	words := make([]string, len(*n))
	for i, p := range *n {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

func (n *networks) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(word))
		if err != nil {
			return usagef("write networks as an address and a length, such as 10.20.0.0/16, with commas between them")
		}
		if err := egress.CheckPrivate(p); err != nil {
			return usagef("%s", err)
		}
		*n = append(*n, p)
	}
	return nil
}
