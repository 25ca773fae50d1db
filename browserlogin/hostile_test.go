package browserlogin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

// pages serves a few pages by path.
func pages(t *testing.T, all map[string]string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html>"+all[r.URL.Path])
	}))
	t.Cleanup(srv.Close)
	return srv
}

// leaves cancels through the view, whatever the site does meanwhile.
func (p *person) leaves() {
	p.t.Helper()
	p.must(p.page.Locator("#cancel").Click())
	p.must(p.page.Locator("#askYes").Click())
	p.await("cancelled")
}

// A page makes news without end: it moves the focus and its own address thousands of times a second. The
// view stays connected, the driver answers, and the person can leave.
func TestPageThatFloods(t *testing.T) {
	site := pages(t, map[string]string{
		"/focus":   `<input id=a><input type=checkbox id=b><script>setInterval(() => { for (let i = 0; i < 500; i++) { a.focus(); b.focus() } }, 100)</script>`,
		"/history": `<script>setInterval(() => { for (let i = 0; i < 300; i++) history.pushState(0, "", "?" + i) }, 100)</script>`,
	})
	for _, path := range []string{"/focus", "/history"} {
		t.Run(path, func(t *testing.T) {
			b := newBench(t, nil, authtest.SiteOptions{})
			s, p := b.at(t, site.URL+path)
			p.await("waiting")
			_, err := p.page.Evaluate(`window.phases = []; new MutationObserver(() => phases.push(veil.dataset.phase)).observe(veil, {attributes: true})`)
			p.must(err)
			time.Sleep(3 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			if _, err := ask(ctx, s.context.Cookies); err != nil {
				t.Errorf("the driver does not answer: %v", err)
			}
			if phases, _ := p.page.Evaluate("phases.join()"); phases != "" {
				t.Errorf("the view went through %v", phases)
			}
			p.leaves()
		})
	}
}
