package authtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// API is a small service behind a Server: it wants a live access token, or one of
// its Keys, for everything under /api, and writes down whatever reaches it. One
// with a nil server takes Keys only, and serves as the thief that must never see
// a request.
type API struct {
	Host

	// Keys are accepted as X-Api-Key, as a Basic password, as the query
	// parameter api_key and as a cookie called session. Set them before the first
	// request.
	Keys []string

	server *Server
}

// NewAPI starts an API on a listener of its own.
func NewAPI(server *Server) *API {
	a := &API{server: server}
	mux := http.NewServeMux()
	mux.Handle("GET /api/me", a.allow("", a.me))
	mux.Handle("GET /api/repos", a.allow("repo", a.repos))
	mux.Handle("POST /api/repos", a.allow("repo", a.createRepo))
	mux.Handle("/api/echo", a.allow("", echoBody))
	mux.Handle("/api/echo/{form}", a.allow("", echoForm))
	mux.Handle("/api/redirect", a.allow("", redirectTo))
	mux.Handle("/api/loop", a.allow("", loop))
	mux.Handle("/api/content/{kind}", a.allow("", content))
	now := time.Now
	if server != nil {
		now = server.now
	}
	a.Host.start(mux, now)
	return a
}

// visitor is who a request speaks for.
type visitor struct {
	user  string
	scope []string
}

// allow lets those in whose credential is live and covers the scope
// (RFC 6750 section 3.1).
func (a *API) allow(scope string, next func(http.ResponseWriter, *http.Request, visitor)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, known := a.identify(r)
		switch {
		case !known:
			unauthorized(w, `error="invalid_token"`)
		case scope != "" && !slices.Contains(who.scope, scope):
			insufficientScope(w, scope)
		default:
			next(w, r, who)
		}
	})
}

func (a *API) identify(r *http.Request) (visitor, bool) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && a.server != nil {
		if live := a.server.bearer(token); live != nil {
			return visitor{live.user, live.scope}, true
		}
	}
	presented := []string{r.Header.Get("X-Api-Key"), r.URL.Query().Get("api_key")}
	if _, password, ok := r.BasicAuth(); ok {
		presented = append(presented, password)
	}
	if cookie, err := r.Cookie("session"); err == nil {
		presented = append(presented, cookie.Value)
	}
	known := slices.ContainsFunc(presented, func(key string) bool { return key != "" && slices.Contains(a.Keys, key) })
	return visitor{user: "key", scope: []string{"repo"}}, known
}

func (a *API) me(w http.ResponseWriter, _ *http.Request, who visitor) {
	writeJSON(w, http.StatusOK, map[string]any{"login": who.user, "scope": strings.Join(who.scope, " ")})
}

func (a *API) repos(w http.ResponseWriter, _ *http.Request, who visitor) {
	writeJSON(w, http.StatusOK, []map[string]any{
		{"name": "hello", "owner": who.user, "private": false},
		{"name": "plans", "owner": who.user, "private": true},
	})
}

func (a *API) createRepo(w http.ResponseWriter, _ *http.Request, who visitor) {
	writeJSON(w, http.StatusCreated, map[string]any{"name": "new", "owner": who.user})
}

// Unauthorized is the fault of an API that does not take a live token. Queue it
// once for an API that wants a newer one, or always.
func Unauthorized(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	unauthorized(w, `error="invalid_token", error_description="the token expired"`)
}

// InsufficientScope is the fault of an API that asks for one more scope
// (RFC 6750 section 3.1).
func InsufficientScope(scope string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { insufficientScope(w, scope) }
}

func insufficientScope(w http.ResponseWriter, scope string) {
	w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scope+`"`)
	writeJSON(w, http.StatusForbidden, map[string]any{"error": "insufficient_scope", "scope": scope})
}
