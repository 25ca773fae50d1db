package browserlogin

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// newContext is one of a browser that nobody watches.
func newContext(t *testing.T) *Context {
	t.Helper()
	return contextOf(t, newBrowser(t))
}

func newBrowser(t *testing.T) Browser {
	t.Helper()
	br, release, err := newBench(t, nil, authtest.SiteOptions{}).pool.browser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return br
}

func contextOf(t *testing.T, br Browser) *Context {
	t.Helper()
	c, err := br.NewContext(ContextOptions{Width: 640, Height: 480})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The library panics over a text that is none, and a page can have such: nobody's process ends of it.
func TestTextThatIsNone(t *testing.T) {
	page, err := newContext(t).NewPage()
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`<p class=who> alice </p><p class=who>bob</p>`: "alice",
		`<svg><text class=who y=20>alice</text></svg>`: "",
		`<p class=who>alice</p><script>Object.defineProperty(HTMLElement.prototype, "innerText", {get: () => ({})}); Array.prototype.map = () => 1</script>`: "alice",
	} {
		if err := page.Goto("data:text/html," + body); err != nil {
			t.Fatal(err)
		}
		if got := page.Text(t.Context(), ".who"); got != want {
			t.Errorf("%s says %q, not %q", body, got, want)
		}
	}
}

// Less than a millisecond is no time at all, and not what the library takes it for: all the time there is.
func TestFetchWithNoTimeLeft(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	c := newContext(t)
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Microsecond)
		defer cancel()
		_, err := c.Fetch(ctx, Query{Method: http.MethodGet, URL: silent.URL})
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a server that is silent has answered")
		}
	case <-time.After(10 * time.Second):
		t.Error("the request goes on without end")
	}
}

// A page whose script never rests answers nothing. The person can still cancel, and a check of a
// session that was kept does not wait for it.
func TestPageThatNeverRests(t *testing.T) {
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/account" {
			fmt.Fprint(w, `<script>for (;;);</script>`)
			return
		}
		fmt.Fprint(w, `<script>JSON.stringify = () => { for (;;); }</script>`)
	}))
	defer busy.Close()
	b := newBench(t, nil, authtest.SiteOptions{})
	var site *providers.Browser
	s, done := b.start("alice", func(d *providers.Browser) {
		d.LoginURL, d.Domains = busy.URL, []string{strings.TrimPrefix(busy.URL, "http://")}
		d.Success = providers.Match{All: []providers.Condition{{URL: "^" + busy.URL}}}
		d.Probe, d.Identity = &providers.Probe{URL: busy.URL + "/account", Selector: "#account"}, nil
		site = d
	})
	<-s.ready
	eventually(t, "the check", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.phase == checking
	})
	time.Sleep(time.Second) // into the question that is not answered
	s.cancel(ErrCancelled)
	if r := over(t, done); Reason(r.err) != "cancelled" {
		t.Errorf("%+v", r)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- b.pool.Probe(ctx, site, &jar{now: hide(&contents{Version: 1, ID: newID(), Domains: site.Domains})})
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a session that nobody could ask about is alive")
		}
	case <-time.After(40 * time.Second):
		t.Fatal("the check of a session never ended")
	}
}
