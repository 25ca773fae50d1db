package browserlogin

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Browser is a running browser that gives fresh, empty contexts.
type Browser interface {
	// NewContext is a new profile in memory. ErrNoBrowser when the browser is gone.
	NewContext(ContextOptions) (*Context, error)
	// Gone is closed when the browser's process has ended, for whatever reason.
	Gone() <-chan struct{}
	// Close ends the browser and everything in it.
	Close() error
}

// ContextOptions are what a page can see of the person's surroundings.
type ContextOptions struct {
	Width, Height int    // of the viewport in CSS pixels
	UserAgent     string // "" is the browser's own
	Locale        string // BCP 47, "" is the browser's own
	Timezone      string // IANA name, "" is the server's

	insecureTLS bool // tests have a certificate of their own
}

// kind is where browsers come from.
type kind struct {
	headed bool
	cdp    string // endpoint of a remote browser; "" is a browser on this machine
}

// CheckKind reports whether there is such a Options.Kind, without looking for a browser.
func CheckKind(s string) error {
	_, err := parseKind(s)
	return err
}

// InTheClear reports whether the way to the browser of an Options.Kind leads over a network without encryption.
func InTheClear(s string) bool {
	k, err := parseKind(s)
	if err != nil {
		return false
	}
	u, err := url.Parse(k.cdp)
	if err != nil || u.Scheme != "ws" && u.Scheme != "http" || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}

// parseKind reads the value of --browser: "local" (or empty), "headed" or "cdp:URL".
func parseKind(s string) (kind, error) {
	switch endpoint, remote := strings.CutPrefix(s, "cdp:"); {
	case s == "" || s == "local":
		return kind{}, nil
	case s == "headed":
		return kind{headed: true}, nil
	case remote:
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || !strings.Contains(" ws wss http https ", " "+u.Scheme+" ") {
			return kind{}, fmt.Errorf("the address after cdp: has to be a ws, wss, http or https URL")
		}
		return kind{cdp: endpoint}, nil
	default:
		return kind{}, fmt.Errorf("--browser has to be local, headed or cdp:URL") // not what was given: it may hold a token
	}
}
