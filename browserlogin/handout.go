package browserlogin

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// StorageState is the session as Playwright reads it: cookies, localStorage and
// IndexedDB. sessionStorage has no place there; it stands beside them under the
// name sessionStorage, by origin, and Playwright ignores it.
func (b Bundle) StorageState() auth.Secret {
	data, _ := json.Marshal(struct {
		storageState
		Session map[string]map[string]string `json:"sessionStorage,omitempty"`
	}{b.in().State, b.in().Session})
	return auth.NewSecret(string(data))
}

// CookiesTXT is the Netscape format that curl -b and yt-dlp read. It knows no
// SameSite and no partitions: partitioned cookies are left out.
func (b Bundle) CookiesTXT() auth.Secret {
	var out strings.Builder
	out.WriteString("# Netscape HTTP Cookie File\n")
	for _, k := range b.in().State.Cookies {
		if k.PartitionKey != "" || strings.ContainsAny(k.Name+k.Value+k.Path, "\t\r\n") {
			continue
		}
		domain := k.Domain
		if k.HTTPOnly {
			domain = "#HttpOnly_" + domain
		}
		fmt.Fprintf(&out, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", domain, flag(strings.HasPrefix(k.Domain, ".")), k.Path, flag(k.Secure), max(0, int64(k.Expires)), k.Name, k.Value)
	}
	return auth.NewSecret(out.String())
}

func flag(b bool) string {
	if b {
		return "TRUE"
	}
	return "FALSE"
}

// CookieHeader is what a browser would send to u at now (RFC 6265 section 5.4);
// empty when no cookie belongs there.
func (b Bundle) CookieHeader(u *url.URL, now time.Time) auth.Secret {
	var fit []Cookie
	for _, k := range b.in().State.Cookies {
		if k.sentTo(u, now) {
			fit = append(fit, k)
		}
	}
	slices.SortStableFunc(fit, func(a, b Cookie) int { return len(b.Path) - len(a.Path) })
	var pairs []string
	for _, k := range fit {
		if k.Name == "" {
			pairs = append(pairs, k.Value)
			continue
		}
		pairs = append(pairs, k.Name+"="+k.Value)
	}
	return auth.NewSecret(strings.Join(pairs, "; "))
}

func (k Cookie) sentTo(u *url.URL, now time.Time) bool {
	host := strings.ToLower(u.Hostname())
	switch {
	case k.Secure && u.Scheme != "https":
		return false
	case k.Expires > 0 && float64(now.UnixMilli()) >= k.Expires*1000:
		return false
	case k.PartitionKey != "" && !ownPartition(k.PartitionKey, host):
		return false
	}
	return domainMatch(k.Domain, host) && pathMatch(k.Path, u.EscapedPath())
}

// ownPartition tells whether a partitioned cookie was set while its own site was
// the one in the address line; others are sent inside foreign pages only.
func ownPartition(key, host string) bool {
	u, err := url.Parse(key)
	return err == nil && u.Hostname() != "" && (host == u.Hostname() || strings.HasSuffix(host, "."+u.Hostname()))
}

// domainMatch is RFC 6265 section 5.1.3, with the leading dot that tells a domain
// cookie from a host-only one.
func domainMatch(domain, host string) bool {
	name, wide := strings.CutPrefix(strings.ToLower(domain), ".")
	if name == host {
		return true
	}
	_, err := netip.ParseAddr(host)
	return wide && err != nil && strings.HasSuffix(host, "."+name)
}

// pathMatch is RFC 6265 section 5.1.4.
func pathMatch(cookie, path string) bool {
	path = or(path, "/")
	rest, ok := strings.CutPrefix(path, cookie)
	return ok && (rest == "" || strings.HasSuffix(cookie, "/") || rest[0] == '/')
}
