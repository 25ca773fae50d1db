package egress

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// ours are the fields that Do alone decides; a request that brings one is refused, not corrected.
var ours = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect",
	"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Accept-Encoding"}

// Do sends r once and reads the answer whole. Every status is an answer, redirects too. Only a GET, HEAD or OPTIONS may
// be sent a second time, when a kept connection died under it. Errors are *Error; Sent tells whether the server may have seen r.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if err := c.check(r); err != nil {
		return nil, err
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, orElse(r.Timeout, c.opt.Timeout))
	defer cancel()

	var seen sending
	req := c.build(httptrace.WithClientTrace(ctx, seen.trace(cancel)), r)
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, exchangeError(outer, ctx, seen.reached(), err)
	}
	defer res.Body.Close()
	body, truncated, err := c.read(res, cancel, orElse(r.MaxBody, DefaultMaxBody), r.Truncate)
	if err != nil {
		return nil, exchangeError(outer, ctx, true, err)
	}
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	return &Response{Status: res.StatusCode, Header: res.Header, Body: body, Truncated: truncated}, nil
}

func (c *Client) check(r Request) error {
	if !slices.Contains(methods, r.Method) {
		return badRequest("method is not one of " + strings.Join(methods, " "))
	}
	if again, err := Parse(r.Target.String(), ParseOptions{Loopback: c.opt.Loopback}); err != nil {
		return err
	} else if again != r.Target {
		return badURL("it is not canonical")
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) || slices.Contains(ours, http.CanonicalHeaderKey(name)) {
			return badRequest("header " + quote(name) + " is not allowed")
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return badRequest("header " + quote(name) + " holds a control character")
			}
		}
	}
	if len(r.Body) > 0 && (r.Method == "GET" || r.Method == "HEAD") {
		return badRequest(r.Method + " has no body")
	}
	return nil
}

func (c *Client) build(ctx context.Context, r Request) *http.Request {
	path, _ := url.PathUnescape(r.Target.Path)
	req := (&http.Request{
		Method: r.Method,
		URL: &url.URL{Scheme: r.Target.Scheme, Host: r.Target.Authority(), Path: path, RawPath: r.Target.Path,
			RawQuery: r.Target.RawQuery},
		Host:          r.Target.Authority(),
		Header:        make(http.Header, len(r.Header)+2),
		ContentLength: int64(len(r.Body)),
	}).WithContext(ctx)
	for name, values := range r.Header {
		name = http.CanonicalHeaderKey(name)
		if name == "Idempotency-Key" || name == "X-Idempotency-Key" {
			// net/http sends a POST again that carries this header, but looks for this one spelling only.
			name = strings.ToLower(name)
		}
		req.Header[name] = append(req.Header[name], values...)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", c.opt.UserAgent)
	}
	if len(r.Body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(r.Body)) // without GetBody: it cannot be sent twice
	}
	return req
}

// sending watches how far a request got.
type sending struct {
	mu    sync.Mutex
	conns int
	wrote int
}

// trace cancels a request that would be sent a third time; net/http itself would go on through all kept connections.
func (s *sending) trace(cancel context.CancelFunc) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns++
			if s.wrote >= 2 {
				cancel()
			}
		},
		WroteHeaders: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wrote++
		},
	}
}

// reached reports whether a connection was handed out. It errs on the side of yes: writing goes on in another
// goroutine, so "nothing was written yet" may be untrue a moment later.
func (s *sending) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns > 0
}
