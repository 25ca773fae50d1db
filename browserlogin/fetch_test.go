package browserlogin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

// fetched is a site that writes down what reaches it.
type fetched struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	left  chan string // paths whose answer nobody reads to its end
}

func newFetched(t *testing.T) *fetched {
	s := &fetched{left: make(chan string, 10)}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s from %q as %q of %q in %q: %x", r.Method, r.URL.RawQuery, r.Header.Get("Origin"), r.Header.Get("X-Mine"), r.Header.Get("Content-Type"), r.Header.Get("Cookie"), body)
	})
	mux.HandleFunc("/agent", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.UserAgent()) })
	mux.HandleFunc("/binary", func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.Repeat(every, 5000)) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "moved", Value: "yes", Path: "/", HttpOnly: true})
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/password", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(w, "no", http.StatusUnauthorized)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) { s.endless(w, r, w) })
	mux.HandleFunc("/bomb", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		s.endless(z, r, w)
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/half", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.paths = append(s.paths, r.URL.Path)
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = discardLog
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *fetched) endless(to io.Writer, r *http.Request, w http.ResponseWriter) {
	for part := make([]byte, 1<<20); ; {
		if _, err := to.Write(part); err != nil {
			s.left <- r.URL.Path
			return
		}
		w.(http.Flusher).Flush()
	}
}

// What a session asks for leaves from the browser, as the site's own script would send it, and comes back as it is.
func TestFetch(t *testing.T) {
	s := newFetched(t)
	c := newContext(t)
	if err := c.SetStorageState([]byte(`{"cookies":[{"name":"strict","value":"1","domain":"127.0.0.1","path":"/","expires":-1,"httpOnly":true,"secure":false,"sameSite":"Strict"}],"origins":[]}`)); err != nil {
		t.Fatal(err)
	}
	ask := func(q Query) *Answer {
		t.Helper()
		q.URL = s.URL + q.URL
		a, err := c.Fetch(t.Context(), q)
		if err != nil {
			t.Fatalf("%s %s: %v", q.Method, q.URL, err)
		}
		return a
	}
	mine := http.Header{"X-Mine": {"a", "b"}, "Content-Type": {"text/x"}, "Cookie": {"strict=2"}, "Authorization": {"Basic x"}, "User-Agent": {"not a browser"}}
	for _, q := range []struct {
		Query
		want string
	}{
		{Query{Method: "GET", URL: "/echo?a=%2F&b"}, `GET a=%2F&b from "" as "" of "" in "strict=1": `},
		{Query{Method: "GET", URL: "/echo", Header: mine}, `GET  from "" as "a, b" of "text/x" in "strict=1": `},
		{Query{Method: "POST", URL: "/echo", Header: mine, Body: []byte{0, 255, 10}}, `POST  from "` + s.URL + `" as "a, b" of "text/x" in "strict=1": 00ff0a`},
		{Query{Method: "POST", URL: "/echo"}, `POST  from "` + s.URL + `" as "" of "" in "strict=1": `},
		{Query{Method: "PUT", URL: "/echo", Body: []byte("x")}, `PUT  from "` + s.URL + `" as "" of "" in "strict=1": 78`},
		{Query{Method: "PATCH", URL: "/echo", Body: []byte("x")}, `PATCH  from "` + s.URL + `" as "" of "" in "strict=1": 78`},
		{Query{Method: "DELETE", URL: "/echo"}, `DELETE  from "` + s.URL + `" as "" of "" in "strict=1": `},
		{Query{Method: "OPTIONS", URL: "/echo"}, `OPTIONS  from "` + s.URL + `" as "" of "" in "strict=1": `},
		{Query{Method: "HEAD", URL: "/echo"}, ``},
	} {
		if a := ask(q.Query); a.Status != 200 || string(a.Body) != q.want || a.Truncated {
			t.Errorf("%s %s gives %d %s", q.Method, q.URL, a.Status, a.Body)
		}
	}
	if a := ask(Query{Method: "GET", URL: "/agent", Header: mine}); !strings.Contains(string(a.Body), "Chrome/") {
		t.Errorf("it calls itself %s", a.Body)
	}
	if a := ask(Query{Method: "GET", URL: "/binary", Most: 2 << 20}); len(a.Body) != 256*5000 || a.Truncated || !slices.Equal(a.Body[256*4999:256*4999+3], []byte{0, 1, 2}) || a.Body[255] != 255 {
		t.Errorf("of 256 bytes 5,000 times come %d", len(a.Body))
	}
	if a := ask(Query{Method: "GET", URL: "/moved"}); a.Status != 302 || a.Header.Get("Location") != "/elsewhere" {
		t.Errorf("a redirect is %+v", a)
	}
	if a := ask(Query{Method: "GET", URL: "/echo"}); !strings.Contains(string(a.Body), "moved=yes") {
		t.Errorf("the cookie of a redirect is lost: %s", a.Body)
	}
	if a := ask(Query{Method: "GET", URL: "/empty"}); a.Status != 204 || len(a.Body) > 0 {
		t.Errorf("no content is %+v", a)
	}
	if a := ask(Query{Method: "GET", URL: "/password"}); a.Status != 401 || !strings.Contains(string(a.Body), "no") {
		t.Errorf("who asks for a password answers %+v", a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range s.paths {
		if path == "/" || path == "/elsewhere" || path == "/favicon.ico" {
			t.Errorf("%s was asked for", path)
		}
	}
	if n := c.Pages(); n > 1 {
		t.Errorf("%d pages are left", n)
	}
}

// BF: however long an answer is, and however well it is packed, what is wanted of it is taken and no more.
func TestFetchIsBounded(t *testing.T) {
	s := newFetched(t)
	c := newContext(t)
	for _, path := range []string{"/endless", "/bomb"} {
		a, err := c.Fetch(t.Context(), Query{Method: "GET", URL: s.URL + path, Most: 1 << 20})
		if err != nil || len(a.Body) != 1<<20 || !a.Truncated || a.Header.Get("Content-Encoding") != "" {
			t.Fatalf("%s: %v, %d bytes", path, err, len(a.Body))
		}
		select {
		case left := <-s.left:
			if left != path {
				t.Errorf("%s is left", left)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s is read on", path)
		}
	}
}

// A site that does not answer, or breaks off, is an error, and so is what may not be sent.
func TestFetchFails(t *testing.T) {
	s := newFetched(t)
	c := newContext(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, q := range map[string]Query{
		"silent":  {Method: "GET", URL: s.URL + "/silent"},
		"half":    {Method: "GET", URL: s.URL + "/half"},
		"gone":    {Method: "GET", URL: strings.Replace(gone.URL, "http", "https", 1)},
		"no URL":  {Method: "GET", URL: ":"},
		"a guid":  {Method: "GET", URL: s.URL + "/echo", Header: http.Header{"Guid": {"page@1"}}},
		"foreign": {Method: "TRACE", URL: s.URL + "/echo"},
	} {
		most := 20 * time.Second
		if name == "silent" {
			most = 3 * time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), most)
		a, err := c.Fetch(ctx, q)
		cancel()
		if err == nil {
			t.Errorf("%s: %+v", name, a)
		}
		if late := errors.Is(err, context.DeadlineExceeded); late != (name == "silent") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, err := c.Fetch(t.Context(), Query{Method: "GET", URL: s.URL + "/echo"}); err != nil || a.Status != 200 {
		t.Errorf("after all that: %+v, %v", a, err)
	}
}

// A page that has crashed sends nothing any more: under way that is an error at once, afterwards another page takes its place.
func TestFetchOutlivesItsPage(t *testing.T) {
	s := newFetched(t)
	b := newBench(t, nil, authtest.SiteOptions{})
	br, release, err := b.pool.browser(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	c := contextOf(t, br)
	crash := func() {
		for _, p := range b.chromiums("renderer") {
			kill(t, p.pid)
		}
	}
	echo := Query{Method: "GET", URL: s.URL + "/echo"}
	if _, err := c.Fetch(t.Context(), echo); err != nil {
		t.Fatal(err)
	}
	first := c.fetcher
	crash()
	<-first.gone
	if a, err := c.Fetch(t.Context(), echo); err != nil || a.Status != 200 || c.fetcher == first {
		t.Errorf("after a crash: %+v, %v", a, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Fetch(t.Context(), Query{Method: "GET", URL: s.URL + "/silent"})
		ended <- err
	}()
	eventually(t, "the request", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return slices.Contains(s.paths, "/silent") })
	crash()
	select {
	case err := <-ended:
		if !errors.Is(err, errGone) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for a page that is gone")
	}
}
