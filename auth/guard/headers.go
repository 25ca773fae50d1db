package guard

import (
	"net/http"
	"time"
)

// defaults stand on every answer, errors included, unless the handler set the field itself.
var defaults = http.Header{
	"Content-Security-Policy":      {"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	"X-Frame-Options":              {"DENY"},
	"X-Content-Type-Options":       {"nosniff"},
	"Referrer-Policy":              {"no-referrer"},
	"Cache-Control":                {"no-store"},
	"Cross-Origin-Opener-Policy":   {"same-origin"},
	"Cross-Origin-Resource-Policy": {"same-origin"},
	"Permissions-Policy":           {"camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"},
}

// answer adds the defaults at the last moment, and remembers whether that has passed.
type answer struct {
	http.ResponseWriter
	tls     bool
	begun   bool
	streams bool          // Flush was called
	piece   time.Duration // that a client has for what is written at once, when it streams
}

func (a *answer) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		a.begin()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begin()
	if a.streams {
		a.limit(a.piece)
		defer a.limit(0)
	}
	return a.ResponseWriter.Write(b)
}

// Flush is here because handlers that stream look for http.Flusher. An answer that streams takes as long as it likes, and only
// what the client does not accept ends it.
func (a *answer) Flush() {
	a.begin()
	a.streams = true
	a.limit(a.piece)
	defer a.limit(0)
	http.NewResponseController(a.ResponseWriter).Flush()
}

// limit has what is written be out in so much time; 0 is no limit.
func (a *answer) limit(d time.Duration) {
	var until time.Time
	if d > 0 {
		until = time.Now().Add(d)
	}
	http.NewResponseController(a.ResponseWriter).SetWriteDeadline(until) // a writer in memory cannot
}

// Unwrap lets http.ResponseController reach deadlines and Hijack.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	h := a.Header()
	for name, value := range defaults {
		if _, set := h[name]; !set {
			h[name] = value
		}
	}
	if a.tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}
