package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/latchpost/latchpost/mcp"
)

// serveSettings are the flags of serve.
type serveSettings struct {
	sse                  bool
	tlsCert, tlsKey      string
	proxies              string
	issuer, resource     string
	clientID, secretFile string
	issuerScopes         string
	ownerClaim, orgClaim string
	sameUsers            bool
	deviceFlow           bool
	perSecond            int
	metrics              string // address; "" is off
	metricsToken         string // file
	unsafeMetrics        bool
	otel                 string // URL
}

func serveFlags(fs *flag.FlagSet, s *settings) {
	listenFlags(fs, s)
	r := &s.serve
	fs.BoolVar(&r.sse, "sse", true, "serve /sse and /message too, for clients of the protocol of 2024-11-05; --sse=false turns them off")
	fs.StringVar(&r.tlsCert, "tls-cert", "", "`file` with the certificate chain in PEM; with --tls-key, pages and agents are served by https")
	fs.StringVar(&r.tlsKey, "tls-key", "", "`file` with the certificate's key in PEM")
	fs.StringVar(&r.proxies, "behind-proxy", "", "`networks` of the proxies that speak TLS for us, such as 10.0.0.0/8, with commas")
	fs.StringVar(&r.issuer, "oidc-issuer", "", "`url` of the OpenID provider of your users; without it the server has one owner")
	fs.StringVar(&r.resource, "resource", "", "`url` of /mcp as access tokens must name it (default the base URL and /mcp)")
	fs.StringVar(&r.clientID, "oidc-client-id", "", "`id` of this server at the issuer, for people's browsers")
	fs.StringVar(&r.secretFile, "oidc-client-secret-file", "", "`file` with the client secret at the issuer (default none: a public client)")
	fs.StringVar(&r.issuerScopes, "oidc-scopes", "", "`scopes` asked of people beside openid, with commas")
	fs.StringVar(&r.ownerClaim, "owner-claim", "sub", "`claim` that names the user")
	fs.StringVar(&r.orgClaim, "org-claim", "", "`claim` that names the org (default none)")
	fs.BoolVar(&r.sameUsers, "unsafe-same-users", false, "take the users of another issuer, or by other claims, for those whose connections are in the store")
	fs.BoolVar(&r.deviceFlow, "unsafe-device-flow", false, "allow the device code flow on a server of many users; read BCP 247 before")
	fs.IntVar(&r.perSecond, "requests-per-second", 100, "`number` of requests that the agents of one owner may send each second, twice as many at once; 0 is no bound")
	fs.StringVar(&r.metrics, "metrics-listen", "", "`address` for Prometheus, on loopback or unix:PATH (default off)")
	fs.StringVar(&r.metricsToken, "metrics-token-file", "", "`file` with the bearer token that a scraper must send (default none)")
	fs.BoolVar(&r.unsafeMetrics, "unsafe-metrics", false, "let --metrics-listen be an address that other machines reach, in the clear, and metrics be read without a token")
	fs.StringVar(&r.otel, "otel-endpoint", "", "`url` of an OpenTelemetry collector (OTLP over HTTP); only in builds with the tag otel (default OTEL_EXPORTER_OTLP_ENDPOINT, else off)")
}

func (h *house) mcp() *mcp.Server {
	var broker mcp.Broker = h.vault
	opts := mcp.Options{Version: buildVersion(), Log: h.log, Seal: h.tickets(), Spend: h.db.SpendTicket, PerSecond: h.settings.serve.perSecond, Watch: h.watch()}
	if h.spans != nil {
		broker = tracedBroker{h.vault, h.spans}
	}
	return mcp.New(broker, opts)
}

// stdio serves one MCP host. Standard output belongs to the protocol alone: the
// real one is taken before anything else can print on it.
func stdio(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("stdio takes no arguments")
	}
	if err := s.checkLocal(); err != nil {
		return err
	}
	if f, ok := s.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(s.err, "latchpost stdio speaks MCP on standard input and output, and is started by your MCP host: latchpost install HOST enters it there. Ctrl-C ends it.")
	}
	if f, ok := s.err.(*os.File); ok {
		s.err = newUnread(f)
		log.SetOutput(discreet{s.err})
	}
	out := s.out
	if f, ok := out.(*os.File); ok && f == os.Stdout {
		private, err := privateStdout(f)
		if err != nil {
			return err
		}
		out = private
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	return h.run(ctx, func(ctx context.Context) error { return h.mcp().Stdio(ctx, s.in, out) })
}

// run serves the pages and does the background work while main runs. It ends main when the pages cannot be served any more.
func (h *house) run(ctx context.Context, main func(context.Context) error) (err error) {
	// Who reads our log may go before we do. A line that nobody takes is lost; unless somebody takes the signal, Go lets it end the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // for good: what is left to say is said behind us
	notifier, err := h.openNotifier()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	ctx, stop := context.WithCancel(ctx)
	pages, err := h.door.Share(ctx, h.pages)
	if err != nil {
		stop()
		return errors.Join(err, h.Close())
	}
	var keeping sync.WaitGroup
	var served error
	keeping.Go(func() {
		served = pages()
		stop() // links lead nowhere, and agents find nobody: whoever started us sees that
	})
	keeping.Go(func() { _ = h.vault.Keep(ctx) })
	if h.door.cert != nil {
		keeping.Go(func() { h.door.cert.watch(ctx, hostOf(h.settings.baseURL)) })
	}
	if notifier != nil {
		keeping.Go(func() { notifier.Run(ctx) })
	}
	err = main(ctx)
	stop()
	keeping.Wait()
	return errors.Join(err, served, h.Close())
}

// serve is for remote agents. Every request of theirs needs a bearer token, on
// loopback too.
func serve(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("serve takes no arguments")
	}
	if err := s.checkServe(); err != nil {
		return err
	}
	if s.serve.tlsCert != "" { // before anybody is told that we serve
		if _, err := tls.LoadX509KeyPair(s.serve.tlsCert, s.serve.tlsKey); err != nil {
			return fmt.Errorf("--tls-cert, --tls-key: %w", err)
		}
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	err = errors.Join(h.openServe(), h.observe(ctx))
	if err == nil { // it notes the issuer, and is not to keep one that was refused
		err = h.sameUsers(ctx)
	}
	if err != nil {
		return errors.Join(err, h.Close())
	}
	return h.run(ctx, func(ctx context.Context) error {
		return h.scraped(ctx, func(ctx context.Context) error {
			fmt.Fprintf(s.err, "Latchpost serves agents on %s/mcp and people on %s\n%s", h.door.URL(), h.door.URL(), s.howPeopleSignIn())
			<-ctx.Done()
			return nil
		})
	})
}

// howPeopleSignIn says what a server needs whose agents come by an issuer, and whose people do not; "" when it has it.
func (s *settings) howPeopleSignIn() string {
	if s.serve.issuer == "" || s.serve.clientID != "" {
		return ""
	}
	return fmt.Sprintf("People sign in by links of latchpost owner-link alone; for them to sign in at %s, register a client there and give --oidc-client-id\n", s.serve.issuer)
}

// checkServe refuses what would put tokens or sessions on a wire in the clear, or
// let people in without knowing who they are.
func (s *settings) checkServe() error {
	r := s.serve
	secured := r.tlsCert != "" || r.proxies != ""
	switch {
	case (r.tlsCert == "") != (r.tlsKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case !isLoopback(s.listen) && !secured:
		return usagef("%s can be reached from other machines, and nothing encrypts the way: give --tls-cert and --tls-key, or --behind-proxy with the network of your TLS proxy, or listen on 127.0.0.1", s.listen)
	case secured && !strings.HasPrefix(s.baseURL, "https://"):
		return usagef("with TLS, --base-url must be the https:// address under which people reach this server")
	case r.proxies != "":
		if _, err := prefixes(r.proxies); err != nil {
			return usagef("--behind-proxy: %s", err)
		}
	case r.clientID != "" && r.issuer == "":
		return usagef("--oidc-client-id needs --oidc-issuer")
	case r.resource != "" && !isResource(r.resource):
		return usagef("--resource must be the full URL of /mcp as clients reach it, such as https://latchpost.example.com/mcp, without braces, not %q", r.resource)
	case r.perSecond < 0:
		return usagef("--requests-per-second must be a number from 0 on")
	}
	return errors.Join(s.checkMetrics(), s.checkTracing())
}

// hostOf is the host of a base URL; "" when none is given.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// isResource reports whether tokens can be for it (RFC 8707 section 2), and its metadata can be served: a brace in the
// path would mean something to http.ServeMux.
func isResource(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && !strings.Contains(raw, "#") && !strings.ContainsAny(u.Path, "{}")
}

// checkLocal is for commands that serve the person at this machine, who does not sign in.
func (s *settings) checkLocal() error {
	if !isLoopback(s.listen) {
		return usagef("%s can be reached from other machines, and the pages of one person ask nobody who they are: listen on 127.0.0.1, or use latchpost serve", s.listen)
	}
	return nil
}

func isLoopback(listen string) bool {
	addr, err := netip.ParseAddrPort(listen)
	return err == nil && addr.Addr().IsLoopback()
}

func prefixes(list string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("%q is not a network, such as 10.0.0.0/8 or 192.0.2.7/32", part)
		}
		all = append(all, p)
	}
	return all, nil
}

// remote reports whether people come from other machines, and so have to sign in.
func (s *settings) remote() bool {
	return s.serve.issuer != "" || s.baseURL != "" || !isLoopback(s.listen)
}
