package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth/guard"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed static embed
var staticFiles embed.FS

// templates has one set for each page: the layout, the shared parts, and the page. They are read with
// the first page: most processes that an MCP host starts never show one.
var templates = sync.OnceValue(func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(funcs).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html"))
	names, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		panic(err)
	}
	sets := map[string]*template.Template{}
	for _, name := range names {
		key := strings.TrimSuffix(path.Base(name), ".html")
		sets[key] = template.Must(template.Must(base.Clone()).ParseFS(pageFiles, name))
	}
	return sets
})

var funcs = template.FuncMap{
	"clean": clean, "clock": clock, "ago": ago, "until": until, "moment": moment, "method": methodName, "initial": initial,
	"state": stateName, "cause": causeText, "rule": ruleText,
}

// layout is what the frame of every page needs.
type layout struct {
	Title   string
	Owner   string // who is signed in; "" = nobody, and no navigation
	Here    string // path of the navigation entry that is this page
	Waiting int    // approvals, shown in the navigation
	Version string
	Now     time.Time
	Page    any
}

// show writes a page; those whose name begins with desk_ are the owner's and have the
// navigation. A page that cannot be made is an internal error, never half a page.
func (s *Site) show(w http.ResponseWriter, r *http.Request, status int, name, title string, page any) error {
	data := layout{Title: title, Version: s.Version, Now: s.Now(), Page: page}
	if strings.HasPrefix(name, "desk_") {
		if owner, ok := s.owner(r); ok {
			data.Owner, data.Here = owner.String(), "/"+strings.TrimPrefix(name, "desk_")
			if waiting, err := s.vault.Desk(*owner).Approvals(r.Context()); err == nil {
				data.Waiting = len(waiting)
			}
		}
	}
	var b bytes.Buffer
	if err := templates()[name].ExecuteTemplate(&b, "layout", data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the person may have gone
	return nil
}

// policy allows no script at all. form-action is 'self' because the provider is
// reached by a link, not by a redirect of the form (see leave).
const policy = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// page makes a handler of serve: what fetches without a person gets an inert answer,
// a frame is refused, a form is bounded, and an error becomes a page.
func (s *Site) page(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if guard.LooksAhead(r) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
			s.fail(w, r, errFramed)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.Method == http.MethodPost {
			if err := readForm(r); err != nil {
				s.fail(w, r, err)
				return
			}
		}
		if err := serve(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// watched is the live view for people. Whoever looks ahead of them gets an inert answer here too.
func (s *Site) watched(w http.ResponseWriter, r *http.Request) {
	if guard.LooksAhead(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.Live.ServeHTTP(w, r)
}

// maxForm bounds a posted form, in bytes. The largest thing that people paste is a private key.
const maxForm = 64 << 10

// readForm parses a posted form. Its errors do not say what was wrong with it: that
// would repeat a piece of it, and it may hold a secret.
func readForm(r *http.Request) error {
	err := r.ParseForm()
	if large := new(http.MaxBytesError); errors.As(err, &large) {
		return errLarge
	}
	if err != nil || len(r.PostForm) > 200 {
		return errForm
	}
	return nil
}

// static serves the embedded files, which have no directory listing.
func static(w http.ResponseWriter, r *http.Request) {
	data, err := staticFiles.ReadFile(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // kept, but asked for again: an update shows at once
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
	http.ServeContent(w, r, r.URL.Path, time.Time{}, bytes.NewReader(data))
}

// embedded serves the elements for other people's pages, which other origins load.
func embedded(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
	static(w, r)
}

// see sends the browser on with a GET. The target is a path that we made.
func see(w http.ResponseWriter, r *http.Request, target string) error {
	http.Redirect(w, r, target, http.StatusSeeOther)
	return nil
}
