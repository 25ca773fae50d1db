package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// safe methods change nothing (RFC 9110 section 9.2.1).
var safe = []string{"GET", "HEAD", "OPTIONS"}

// ours are the fields that Do alone decides; a request that brings one is refused, not corrected.
var ours = []string{"Host", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect",
	"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Accept-Encoding"}

// Do sends r and reads the answer whole. Every status is an answer, redirects too. Only a GET, HEAD or OPTIONS may be
// sent a second time, when a kept connection died under it. Errors are *Error; Sent tells whether the server may have seen r.
// An error of the body comes with a Response of status and header: no answer, but what the header changed, such as a
// cookie, is changed.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	if err := c.check(r); err != nil {
		return nil, err
	}
	resp, err := c.exchange(ctx, r)
	if known, ok := errors.AsType[*Error](err); ok && c.opt.Failed != nil && slices.Contains(outages, known.Kind) {
		c.opt.Failed(r.Target.Host, known)
	}
	return resp, err
}

// outages are what is wrong with a server, or with the way to it, and not with a request or a caller.
var outages = []Kind{KindAddress, KindTimeout, KindNetwork, KindTLS, KindAnswer}

func (c *Client) exchange(ctx context.Context, r Request) (*Response, error) {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, orElse(r.Timeout, c.opt.Timeout))
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)

	seen := sending{abort: abort, safe: slices.Contains(safe, r.Method)}
	res, err := c.parties.of(r.Party).RoundTrip(c.build(httptrace.WithClientTrace(ctx, seen.trace()), r))
	if err != nil {
		return nil, exchangeError(outer, ctx, seen.reached(), err)
	}
	defer res.Body.Close()
	body, truncated, err := c.read(res, abort, orElse(r.MaxBody, DefaultMaxBody), r.Truncate)
	res.Header.Del("Content-Encoding")
	res.Header.Del("Content-Length")
	if err != nil {
		return &Response{Status: res.StatusCode, Header: res.Header}, exchangeError(outer, ctx, true, err)
	}
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
		Close:         r.Close,
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
		// GetBody lets net/http turn to another connection when the kept one took no byte at all.
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.Body)), nil }
		req.Body, _ = req.GetBody()
	}
	return req
}

// sending watches how often a request was sent, and stops net/http where it would send it once more than we want.
type sending struct {
	abort context.CancelCauseFunc
	safe  bool // sending it twice changes nothing

	mu    sync.Mutex
	conns int
	wrote int
}

func (s *sending) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns++
			shared := isHTTP2(info.Conn)
			if s.safe && s.wrote >= 2 || !s.safe && s.wrote >= 1 && shared {
				s.abort(errResent)
				if !shared {
					info.Conn.Close() // HTTP/1 hands the request to its writer without another look at the context
				}
			}
		},
		WroteHeaders: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wrote++
		},
	}
}

// isHTTP2 matters because HTTP/1 tells us of a header as written when it only reached the buffer. There net/http
// repeats an unsafe request only if not one byte left; HTTP/2 would also repeat what the server has refused.
func isHTTP2(conn net.Conn) bool {
	t, ok := conn.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}

// reached reports whether a connection was handed out. It errs on the side of yes: writing goes on in another
// goroutine, so "nothing was written yet" may be untrue a moment later.
func (s *sending) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns > 0
}
