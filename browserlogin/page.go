package browserlogin

import (
	"bytes"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"strings"
)

var (
	//go:embed live.html
	livePage string
	//go:embed over.html
	overPage []byte
	//go:embed live.css
	liveStyle []byte
	//go:embed live.js
	liveScript []byte

	liveTemplate = template.Must(template.New("live").Parse(livePage))
)

// Handler serves the live view: /live/{id}, its WebSocket, and what the page loads.
// The page also uses /static/latchpost.css, the style of all our pages.
func (p *Pool) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live/{id}", p.servePage)
	mux.HandleFunc("GET /live/{id}/ws", p.serveSocket)
	mux.HandleFunc("GET /live/static/live.css", static("text/css; charset=utf-8", liveStyle))
	mux.HandleFunc("GET /live/static/live.js", static("text/javascript; charset=utf-8", liveScript))
	mux.HandleFunc("/live/", p.notFound)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		mux.ServeHTTP(w, r)
	})
}

func static(kind string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(body)
	}
}

// visitor asks who is there.
func (p *Pool) visitor(r *http.Request, s *session) error {
	if p.opt.Allowed == nil {
		return errors.New("nobody is allowed")
	}
	return p.opt.Allowed(r, s.login.Request)
}

// servePage shows the view to the person it was made for. To everybody else the
// answer is the one that an address without a login gives.
func (p *Pool) servePage(w http.ResponseWriter, r *http.Request) {
	s := p.login(r.PathValue("id"))
	if s == nil || p.visitor(r, s) != nil {
		p.notFound(w, r)
		return
	}
	had := ""
	secure := r.TLS != nil || p.secure()
	if c, err := r.Cookie(s.viewCookie(secure)); err == nil {
		had = c.Value
	}
	cookie, ticket, ok := s.door.admit(had)
	if !ok {
		p.notFound(w, r)
		return
	}
	http.SetCookie(w, &http.Cookie{
		Name: s.viewCookie(secure), Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: secure, MaxAge: int(p.opt.Total.Seconds()),
	})
	var page bytes.Buffer
	if err := liveTemplate.Execute(&page, map[string]any{
		"Name": s.login.Name, "Asked": s.login.Asked, "Ticket": ticket, "After": s.login.After,
		"Host": readAddress(s.login.Site.LoginURL).Host, "Instructions": s.login.Site.Instructions, "Notes": s.login.Site.Notes,
	}); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page.Bytes())
}

// secure tells whether our pages are served by TLS, perhaps by a proxy before us.
func (p *Pool) secure() bool {
	for _, o := range p.opt.Origins() {
		if !strings.HasPrefix(o, "https://") {
			return false
		}
	}
	return len(p.opt.Origins()) > 0
}

// notFound is one answer for unknown, ended and foreign links.
func (p *Pool) notFound(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.misses.tooMany(p.opt.Network(r)) {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusTooManyRequests)
	} else {
		w.WriteHeader(http.StatusNotFound)
	}
	_, _ = w.Write(overPage)
}
