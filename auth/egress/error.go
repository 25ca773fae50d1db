package egress

import (
	"context"
	"errors"
)

// Kind tells what went wrong.
type Kind string

// The kinds of Error.
const (
	KindURL      Kind = "url"       // the URL is not one that we send to
	KindRequest  Kind = "request"   // method, header or body refused before anything was sent
	KindAddress  Kind = "address"   // the name leads to an address that must not be dialled
	KindTimeout  Kind = "timeout"   // a bound on time was hit
	KindCanceled Kind = "canceled"  // the caller's context ended
	KindTooLarge Kind = "too_large" // the answer's header or body is over its bound
	KindNetwork  Kind = "network"   // lookup, connect, read or write failed
	KindTLS      Kind = "tls"       // no trusted TLS connection
	KindAnswer   Kind = "answer"    // the answer is not HTTP, or in an encoding that was not asked for
	KindRedirect Kind = "redirect"  // only from RoundTripper: the answer is a redirect
)

// Error is what every function of this package returns. Its text is safe for an agent: no address, URL query, header
// or body. Detail is for the operator's log: it may name addresses, never a secret.
type Error struct {
	Kind Kind
	// Sent reports whether the request may have reached the server, so that its outcome is unknown.
	Sent bool

	text   string
	detail string
	cause  error // context.Canceled, context.DeadlineExceeded or nil
}

func (e *Error) Error() string { return e.text }

// Detail says more, for the operator: Error, with the address or the system's own words.
func (e *Error) Detail() string {
	if e.detail == "" {
		return e.text
	}
	return e.text + ": " + e.detail
}

// Unwrap gives context.Canceled or context.DeadlineExceeded when that is why.
func (e *Error) Unwrap() error { return e.cause }

// Timeout makes Error a net.Error of sorts.
func (e *Error) Timeout() bool { return e.Kind == KindTimeout }

// KindOf gives the kind of err, or "" when err is not an *Error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return ""
}

// Sent reports whether the request behind err may have reached the server. It is true for an error of another type,
// because nothing is known then, and false for nil.
func Sent(err error) bool {
	if err == nil {
		return false
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Sent
	}
	return true
}

func badURL(text string) *Error { return &Error{Kind: KindURL, text: "url refused: " + text} }
func badRequest(text string) *Error {
	return &Error{Kind: KindRequest, text: "request refused: " + text}
}

func timedOut(text string) *Error {
	return &Error{Kind: KindTimeout, text: text, cause: context.DeadlineExceeded}
}
