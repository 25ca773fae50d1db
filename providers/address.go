package providers

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"
)

var (
	hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
	dotted   = regexp.MustCompile(`(^|/)\.{1,2}(/|$)`)
	port     = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	// urlText has no character that a shell, an HTML page or a log reader could take for its own.
	urlText = regexp.MustCompile(`^[A-Za-z0-9/:?&=%~._+,@!*;#-]*$`)
)

// checkURL accepts an absolute https URL on a public name, written in the one way
// that every parser reads alike.
func checkURL(s string, opt Options) error {
	switch {
	case len(s) > 2048:
		return errors.New("is longer than 2048 characters")
	case !urlText.MatchString(s):
		return strange(s)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Scheme == "http" && opt.Loopback && u.Hostname() == "127.0.0.1":
	case u.Scheme != "https":
		return errors.New("must be https")
	case u.User != nil:
		return errors.New("must not carry a user name")
	case u.Host == "":
		return errors.New("has no host")
	case dotted.MatchString(u.Path):
		return errors.New("must not have . or .. in its path")
	case strings.Contains(s, "#"):
		return errors.New("must not have a fragment")
	}
	return checkHost(u.Host, opt)
}

// strange names the first character that urlText does not have.
func strange(s string) error {
	for _, r := range s {
		if !urlText.MatchString(string(r)) {
			return fmt.Errorf("has %q, which does not belong in a URL", r)
		}
	}
	return errors.New("has bytes that are no text")
}

// checkHost accepts a lower-case ASCII name with at least two labels and perhaps a
// port. Addresses and the names of this machine and of cloud metadata are refused;
// where a name really leads is checked again when it is dialled.
func checkHost(s string, opt Options) error {
	name, num, ported := strings.Cut(s, ":")
	switch {
	case ported && (!port.MatchString(num) || num == "443"):
		return errors.New("has a port that is not a plain number, or is the usual one")
	case name == "127.0.0.1" && opt.Loopback:
		return nil
	case strings.HasPrefix(s, "[") || isAddress(name):
		return errors.New("must be a name, not an address")
	case name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "metadata.google.internal":
		return errors.New("must not be a host of this machine or its cloud")
	case len(name) > 253 || !hostName.MatchString(name):
		return errors.New("must be a full host name in lower-case ASCII, such as api.example.com")
	}
	return nil
}

// isAddress also sees the spellings that some resolvers take: 2130706433, 0x7f.1.
func isAddress(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	last := name[strings.LastIndexByte(name, '.')+1:]
	return last != "" && last[0] >= '0' && last[0] <= '9'
}

// shared tells that strangers register names below this one: co.uk, github.io. The public suffix list has googleapis.com
// too, where all is Google's own.
func shared(name string) bool {
	suffix, _ := publicsuffix.PublicSuffix(name)
	return suffix == name && name != "googleapis.com"
}

// checkHostPattern is checkHost and accepts one leading "*." below a name that one owner has.
func checkHostPattern(s string, opt Options) error {
	rest, wild := strings.CutPrefix(s, "*.")
	if err := checkHost(rest, opt); err != nil || !wild {
		return err
	}
	if name, _, _ := strings.Cut(rest, ":"); shared(name) {
		return fmt.Errorf("must not cover all of %s, which belongs to many", name)
	}
	return nil
}

// HostMatches tells whether a host, with its port if that is not the usual one, is
// covered by an entry of a host list: the same text, or one label more for "*.".
func HostMatches(entry, host string) bool {
	suffix, wild := strings.CutPrefix(entry, "*")
	if !wild {
		return entry == host
	}
	label, ok := strings.CutSuffix(host, suffix)
	return ok && label != "" && !strings.ContainsAny(label, ".:/@")
}
