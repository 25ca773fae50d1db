// Package web is what a person sees: the connect page, the callback, forms for
// keys and OAuth apps, connections, approvals, activity, and the JSON behind them.
//
// The pages work without script (the elements in embed are for other people's pages). A GET changes nothing; every POST carries a
// token that only our own page of this person and this flow could hold. Start at
// New, then Handler: its routes are the table of contents.
package web

import (
	"log/slog"
	"net/http"
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
	// Unsafe names the --unsafe-… flags that are on, in every process of the store, for the banner on /connections. nil: none.
	Unsafe func() []string
	// Version is shown in the footer, to those who are signed in.
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
	page("GET /callback", s.callback) // of no provider, so never of a request
	page("GET /done/{id}", s.done)
	page("POST /done/{id}", s.settle)
	page("GET /secret/{id}", s.secret)
	page("POST /secret/{id}", s.submitSecret)

	page("GET /{$}", s.home)
	page("GET /connections", s.connections)
	page("POST /connections", s.changeConnections)
	page("GET /approvals", s.approvals)
	page("GET /approvals/{id}", s.approval)
	page("POST /approvals/{id}", s.decide)
	page("GET /apps", s.apps)
	page("POST /apps", s.changeApps)
	page("GET /activity", s.activity)
	if s.LoginURL != "" && s.LoginURL != "/login" {
		page("GET /login", s.login)
	}

	mux.Handle("GET /static/", http.HandlerFunc(static))
	mux.Handle("GET /embed/latchpost.js", http.HandlerFunc(embedded))
	s.api(mux)
	if s.Live != nil {
		mux.HandleFunc("GET /live/", s.watched)
		mux.HandleFunc("POST /live/", s.watched)
	}
	page("GET /", s.lost)
	return mux
}
