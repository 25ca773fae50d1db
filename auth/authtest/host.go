package authtest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Host is a listener on 127.0.0.1 that writes down every request it sees and
// answers wrongly when it is told to. Server, API and Site are Hosts.
type Host struct {
	// URL is http://127.0.0.1:port, without a slash at the end.
	URL string

	server *http.Server
	stop   context.CancelFunc
	done   chan struct{}
	now    func() time.Time

	mu       sync.Mutex
	requests []Request
	faults   map[string]*program
}

// Request is what arrived, whole, before any fault or handler saw it.
type Request struct {
	At     time.Time
	From   string // address and port
	Method string
	Host   string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Form   url.Values // of the body, when it is a form
}

// maxBody is what a Host reads of a request; the rest is cut off.
const maxBody = 16 << 20

func (h *Host) start(handler http.Handler, now func() time.Time) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("authtest: cannot listen on 127.0.0.1: " + err.Error())
	}
	ctx, stop := context.WithCancel(context.Background())
	h.URL = "http://" + listener.Addr().String()
	h.stop, h.now, h.done = stop, now, make(chan struct{})
	h.faults = make(map[string]*program)
	h.server = &http.Server{
		Handler:           h.watch(handler),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		defer close(h.done)
		_ = h.server.Serve(listener)
	}()
}

// Close stops listening and drops every connection, also those held by a fault.
func (h *Host) Close() {
	h.stop()
	_ = h.server.Close()
	<-h.done
}

// Requests that arrived so far, in order. The pattern is a path, or a method and
// a path ("POST /token"); an empty one means all of them.
func (h *Host) Requests(pattern string) []Request {
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = "", pattern
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var seen []Request
	for _, r := range h.requests {
		if (path == "" || r.Path == path) && (method == "" || r.Method == method) {
			seen = append(seen, r)
		}
	}
	return seen
}

// Forget empties the list of requests.
func (h *Host) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = nil
}

// watch records a request, then lets the next fault of its path or the honest
// handler answer it.
func (h *Host) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		seen := Request{
			At: h.now(), From: r.RemoteAddr, Method: r.Method, Host: r.Host, Path: r.URL.Path,
			Query: r.URL.Query(), Header: r.Header.Clone(), Body: body,
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
			seen.Form, _ = url.ParseQuery(string(body))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.mu.Lock()
		h.requests = append(h.requests, seen)
		fault := h.nextFault(r)
		h.mu.Unlock()
		if fault != nil {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// program is what is to go wrong at one path.
type program struct {
	queue  []Fault
	always Fault
}

// Fault queues faults for a path ("/token") or for a method and a path
// ("POST /authorize"). Each request to it takes one; when the queue is empty the
// server is honest again. Use Pass for a request in between that shall succeed.
func (h *Host) Fault(pattern string, faults ...Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.program(pattern)
	p.queue = append(p.queue, faults...)
}

// FaultAlways answers every request of the pattern that finds the queue empty
// with the same fault, until Heal.
func (h *Host) FaultAlways(pattern string, fault Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.program(pattern).always = fault
}

// Heal forgets all faults.
func (h *Host) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.faults)
}

func (h *Host) program(pattern string) *program {
	p := h.faults[pattern]
	if p == nil {
		p = new(program)
		h.faults[pattern] = p
	}
	return p
}

func (h *Host) nextFault(r *http.Request) Fault {
	for _, pattern := range []string{r.Method + " " + r.URL.Path, r.URL.Path} {
		p := h.faults[pattern]
		switch {
		case p == nil:
		case len(p.queue) > 0:
			fault := p.queue[0]
			p.queue = slices.Delete(p.queue, 0, 1)
			return fault
		case p.always != nil:
			return p.always
		}
	}
	return nil
}
