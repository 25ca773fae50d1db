package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/guard"
	"github.com/latchpost/latchpost/browserlogin"
)

// browserSettings are the flags for signing in through a real browser.
type browserSettings struct {
	kind      string
	view      string
	viewHosts string
	dir       string
	noSandbox bool
}

func browserFlags(fs *flag.FlagSet, s *settings) {
	b := &s.browser
	fs.StringVar(&b.kind, "browser", "local", "`kind` of browser for sign-ins: local, headed (a window on this desktop) or cdp:URL (a hosted one)")
	fs.StringVar(&b.view, "browser-live-view", "own", "`how` people see a cdp: browser: own, command:NAME (of CDP), or an address of its service with ${target_id} in it")
	fs.StringVar(&b.viewHosts, "browser-live-view-hosts", "", "`hosts` that its service's live view may be at, with commas (the host of the cdp: URL always may)")
	fs.StringVar(&b.dir, "browser-dir", defaultBrowserDir(), "`dir`ectory of the browser driver")
	fs.BoolVar(&b.noSandbox, "unsafe-no-sandbox", false, "start Chromium without its sandbox, where the kernel refuses one")
}

// holdsToken reports whether the URL of a browser elsewhere may: its service takes one as a name or in the query.
func holdsToken(kind string) bool {
	endpoint, elsewhere := strings.CutPrefix(kind, "cdp:")
	u, err := url.Parse(endpoint)
	return elsewhere && err == nil && (u.User != nil || u.RawQuery != "")
}

// defaultBrowserDir holds what can be fetched again, so it is a cache.
func defaultBrowserDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "latchpost", "browser")
}

func (s *settings) browserOptions() browserlogin.Options {
	o := browserlogin.Options{DriverDir: s.browser.dir, Kind: s.browser.kind, LiveView: s.browser.view, Loopback: s.unsafeLoopback, UnsafeNoSandbox: s.browser.noSandbox}
	for host := range strings.SplitSeq(s.browser.viewHosts, ",") {
		if host = strings.TrimSpace(host); host != "" {
			o.LiveHosts = append(o.LiveHosts, host)
		}
	}
	return o
}

// openBrowsers adds sign-in by browser. Nothing is started until somebody needs it.
func (h *house) openBrowsers(out *egress.Client) (err error) {
	opt := h.settings.browserOptions()
	opt.Dial, opt.Log = out.DialContext, h.log
	opt.Origins = func() []string { return []string{h.door.URL()} }
	proxies, _ := prefixes(h.settings.serve.proxies) // checked at the start
	opt.Network = func(r *http.Request) netip.Prefix { return guard.ClientNetwork(r, proxies) }
	opt.Allowed = func(r *http.Request, request string) error { return h.site().Allowed(r, request) }
	if h.browsers, err = browserlogin.New(opt); err != nil {
		return err
	}
	connector := &browserlogin.Connector{Pool: h.browsers, Out: out, Vault: h.vault, Loopback: h.settings.unsafeLoopback, Log: h.log}
	if strings.HasPrefix(opt.Kind, "cdp:") { // another machine's browser is its owner's to keep up to date
		h.vault.Connectors = append(h.vault.Connectors, connector)
	} else {
		h.vault.Connectors = append(h.vault.Connectors, keptUp{connector})
	}
	return nil
}

// browser sets up what browser sign-ins need, and tries it with one real picture.
func browser(ctx context.Context, s *settings, args []string) error {
	if len(args) != 1 || args[0] != "install" && args[0] != "check" {
		return usagef("browser takes install or check")
	}
	do, done := browserlogin.Install, "The driver is installed. latchpost browser check tries it."
	if args[0] == "check" {
		do, done = browserlogin.Check, "A browser can be used for signing in."
	}
	if args[0] == "check" && !strings.HasPrefix(s.browser.kind, "cdp:") {
		f := s.checkChromium(ctx)
		if fmt.Fprintln(s.err, f.Says); !f.OK {
			fmt.Fprintln(s.err, f.Effect)
		}
	}
	if err := do(ctx, s.browserOptions(), func(step string) { fmt.Fprintln(s.err, step) }); err != nil {
		return err
	}
	fmt.Fprintln(s.out, done)
	return nil
}

var _ auth.Carrier = keptUp{}
