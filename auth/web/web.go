// Package web is what a person sees: the connect page, the callback, forms for
// keys and OAuth apps, connections, approvals, activity, and the JSON behind them.
//
// The pages work without script. A GET changes nothing; every POST carries a
// token that only our own page of this person and this flow could hold. Start at
// New, then Handler: its routes are the table of contents.
package web

import (
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Options are what the pages need beside the vault.
type Options struct {
	// Session tells who is signed in to this browser; ok is false when nobody is.
	// nil: there are no sessions, and the owner's pages say how to get in.
	Session func(*http.Request) (owner *auth.Owner, ok bool)
	// LoginURL is where a person without a session is sent, a path of ours; "" in local mode.
	LoginURL string
	// Secure says that people reach us by https: cookies are __Host- and Secure.
	Secure bool
	// Local says that this server serves the one person at this machine (auth.Local).
	Local bool
	// Live serves /live/, the live view of a browser. nil: there is none.
	Live http.Handler
	// Unsafe names the --unsafe-… flags that are on, for the banner on /connections.
	Unsafe []string
	// Version is shown in the footer.
	Version string
	Log     *slog.Logger     // nil discards
	Now     func() time.Time // nil is time.Now
}

// Site is the pages over one vault. Make it with New.
type Site struct {
	vault *auth.Vault
	Options
}

// New gives the pages of a vault. Nothing is started.
func New(v *auth.Vault, opts Options) *Site {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Site{v, opts}
}

// Handler serves every page. Package guard stands in front of it.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, s.page(h))
	}
	page("GET /c/{id}", s.connect)
	page("POST /c/{id}", s.confirm)
	page("POST /c/{id}/app", s.enterApp)
	page("GET /callback/{provider}", s.callback)
	page("GET /done/{id}", s.done)
	page("POST /done/{id}", s.settle)
	page("GET /secret/{id}", s.secret)
	page("POST /secret/{id}", s.submitSecret)

	mux.Handle("GET /static/", http.HandlerFunc(static))
	if s.Live != nil {
		mux.Handle("/live/", s.Live)
	}
	page("GET /", s.lost)
	return s.front(mux)
}

// front is what every answer has in common. Guard sets the same headers for the
// whole listener; these hold when the pages are mounted elsewhere.
func (s *Site) front(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(s.page(func(http.ResponseWriter, *http.Request) error { return errForged }))
	next = origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/live/") { // the live view sets its own
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if !plainPath(r.URL) { // the mux would redirect to a cleaned path
			s.page(s.lost).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// policy allows no script at all. form-action is 'self' because the provider is
// reached by a link, not by a redirect of the form (see leave).
const policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
