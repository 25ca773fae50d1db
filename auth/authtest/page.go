package authtest

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"sync"
)

//go:embed pages
var pages embed.FS

var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(pages, "pages/*.html", "pages/site/*.html"))
})

// render sends a page of the authorization server, which has no script.
func render(w http.ResponseWriter, name string, data any) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; frame-ancestors 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	execute(w, http.StatusOK, name, data)
}

func execute(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := templates().ExecuteTemplate(&page, name, data); err != nil {
		panic("authtest: " + err.Error())
	}
	noStore(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// message is a page without a form.
func message(w http.ResponseWriter, status int, title, text string) {
	execute(w, status, "message.html", map[string]any{"Title": title, "Text": text})
}

func stylesheet(w http.ResponseWriter, _ *http.Request) {
	css, _ := pages.ReadFile("pages/style.css")
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(css)
}

func (s *Server) home(w http.ResponseWriter, _ *http.Request) {
	message(w, http.StatusOK, "Practice provider", "An authorization server to try things out with. Nothing here is real.")
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func noStore(w http.ResponseWriter) { w.Header().Set("Cache-Control", "no-store") }
