// Package guard holds the layers that every HTTP request passes before any handler sees it.
//
// A layer looks at the request and either has nothing against it or names a refusal. New runs them in one fixed order (host,
// path, method, origin, rate, content type, body) in front of a handler, puts the security headers on every answer, and
// turns a panic into an error with an id. A handler behind it gets the body whole, bounded and already read.
// Listen and Server complete it with bounds on connections, headers and time. Start with Server.
package guard

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// Options configures the layers. Hosts is required: without it every request is refused.
type Options struct {
	// Hosts are the authorities under which we are reached, as browsers send them: lower case, with the port unless it is
	// the scheme's default. Compared exactly.
	Hosts []string
	// Origins are the web origins that may call us, "https://host[:port]": our own and those of pages that embed us.
	Origins []string
	// TLS says that browsers reach us over https, by our certificate or a proxy's: sends HSTS.
	TLS bool
	// Class gives the rules of a path; nil means the zero Class for all.
	Class func(path string) Class
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
	// Rate and Burst bound the requests of one address to paths whose Class is Limited. 0 means 5 a second and 20.
	Rate  rate.Limit
	Burst int
	// MaxConns and MaxConnsPerIP bound open connections (Listen); trusted proxies are exempt from the latter. 0 means 4096, or
	// half of the descriptors that the process may have, and 1024, or a quarter of MaxConns. An address may have as many
	// requests under way by HTTP/2, or through a trusted proxy, as connections.
	MaxConns, MaxConnsPerIP int
	// MaxBodies bounds the bytes of bodies that are in memory at once; an address may have a quarter. 0 means 256 MiB.
	MaxBodies int64
	// BodyTimeout is how long a client may take to send its body; 0 means 30 s.
	BodyTimeout time.Duration
	// AnswerTimeout is how long a request may take until all of its answer is sent (Server). One that streams may go on, and its
	// client has a tenth of that for each piece. 0 means 5 min.
	AnswerTimeout time.Duration
	// Refused is told why a request went no further, by the refusal's code, such as wrong_host; nil tells nobody.
	Refused func(code string)
	Logger  *slog.Logger     // nil means slog.Default()
	Now     func() time.Time // nil means time.Now
}

// Class is what the rules of a path depend on.
type Class struct {
	API     bool     // errors are JSON: {"error":"...","message":"..."}; otherwise plain text
	MaxBody int64    // bytes; 0 means 1 MiB
	Types   []string // media types that a body may have; nil means form, multipart and JSON
	Limited bool     // the rate limit applies; for paths that need no sign-in
}

// New returns the layers as middleware.
func New(opt Options) func(http.Handler) http.Handler {
	g := newGuard(opt)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, next) })
	}
}

type guard struct {
	opt     Options
	cross   *http.CrossOriginProtection
	buckets *buckets
	bodies  bodies
	streams shares // of requests whose connections say too little
	layers  []layer
}

// A layer returns nil when it has nothing against the request.
type layer func(http.ResponseWriter, *http.Request, Class) *refusal

func newGuard(opt Options) *guard {
	opt.Hosts, opt.Origins = slices.Clone(opt.Hosts), slices.Clone(opt.Origins)
	if opt.Class == nil {
		opt.Class = func(string) Class { return Class{} }
	}
	if opt.Rate == 0 {
		opt.Rate = 5
	}
	if opt.Burst == 0 {
		opt.Burst = 20
	}
	if opt.MaxBodies == 0 {
		opt.MaxBodies = 256 << 20
	}
	if opt.BodyTimeout == 0 {
		opt.BodyTimeout = 30 * time.Second
	}
	if opt.AnswerTimeout == 0 {
		opt.AnswerTimeout = 5 * time.Minute
	}
	if opt.Refused == nil {
		opt.Refused = func(string) {}
	}
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	g := &guard{opt: opt, buckets: newBuckets(opt.Rate, opt.Burst), cross: crossOrigin(opt.Origins)}
	g.bodies.most = opt.MaxBodies
	g.layers = []layer{g.host, g.path, g.method, g.origin, g.rate, g.contentType, g.body}
	return g
}

func (g *guard) serve(plain http.ResponseWriter, r *http.Request, next http.Handler) {
	w := &answer{ResponseWriter: plain, tls: g.opt.TLS, piece: g.opt.AnswerTimeout / 10}
	class := g.opt.Class(r.URL.Path)
	defer g.recover(w, r, class)
	defer resets(w, r)()
	defer g.count(r)()
	closeAmbiguous(w, r)
	g.hurry(w, r)
	done, no := g.admit(w, r)
	defer done()
	for i := 0; no == nil && i < len(g.layers); i++ {
		no = g.layers[i](w, r, class)
	}
	if no != nil {
		g.opt.Refused(no.code)
		no.write(w, class)
	} else {
		next.ServeHTTP(w, r)
	}
	w.end(r)
}
