// Package auth is the domain of Latchpost: owners, requests, connections, grants
// and events, and the Vault that ties them together.
//
// Everything a tool, a page or a command does goes through one Vault. Protocols
// live in connectors (oauthcode.go, devicecode.go, ...), rows in package store,
// pages in package web. Start reading at Vault, then Request, then Call.
package auth

import (
	"fmt"
	"strings"

	"github.com/latchpost/latchpost/providers"
)

// Owner is the person (within an org, which may be empty) whose credentials these are.
// Over stdio the owner is Local.
type Owner struct {
	Org  string
	User string
}

// Local is the owner of everything on a machine that serves one person.
var Local = Owner{User: "local"}

// String is unambiguous: a slash within a name is written as %2F.
func (o Owner) String() string {
	escape := strings.NewReplacer("%", "%25", "/", "%2F").Replace
	if o.Org == "" {
		return escape(o.User)
	}
	return escape(o.Org) + "/" + escape(o.User)
}

// Caller is who asks: an owner plus the client (the agent) that acts for them.
// Over HTTP both come from the verified token. Over stdio Client is the
// self-declared clientInfo.name and Verified is false.
type Caller struct {
	Owner
	Client   string
	Verified bool
	// ClientName is what a client that is verified calls itself, because an authorization server may have given it an
	// identity that says nothing to people. They are shown both; nothing goes by this one. "" is none.
	ClientName string
	// Scopes are the Latchpost scopes of the caller's token (latchpost:use, ...).
	// nil means all: the caller started the process.
	Scopes []string
}

// Names under which Latchpost itself asks for things and is on record. No agent goes by one of them.
const (
	ClientOwner       = "owner"                  // a person, on the pages
	ClientCommandLine = "latchpost command line" // a command
)

// OursAlone reports whether a reader could take a client's name for one that Latchpost itself goes by.
func OursAlone(client string) bool {
	return providers.Lookalike(client, ClientOwner) || providers.Lookalike(client, ClientCommandLine)
}

// Error is what the outside may see: Code for programs, Message for people and
// agents. Any other error is internal: mcp and web log it and show only an id.
type Error struct {
	Code    string
	Message string // ends with what to do next; never holds a secret
	// RetryAfterSeconds is set on ErrLimit and ErrUnavailable when the wait is known.
	RetryAfterSeconds int
	cause             error
}

// The closed set of codes. Compare with errors.Is.
var (
	ErrInvalid     = &Error{Code: "invalid_request", Message: "the request is not valid"}
	ErrNotFound    = &Error{Code: "not_found", Message: "there is no such thing, or it is not yours"}
	ErrAmbiguous   = &Error{Code: "ambiguous_account", Message: "several accounts match; name one"}
	ErrDenied      = &Error{Code: "denied", Message: "the policy does not allow this"}
	ErrNotYours    = &Error{Code: "not_yours", Message: "this request belongs to somebody else"}
	ErrUsed        = &Error{Code: "already_used", Message: "this link was used already"}
	ErrExpired     = &Error{Code: "expired", Message: "this link has expired; ask the agent for a new one"}
	ErrDeclined    = &Error{Code: "declined", Message: "the person declined"}
	ErrConflict    = &Error{Code: "conflict", Message: "somebody else changed this meanwhile; look again"}
	ErrLimit       = &Error{Code: "limit_reached", Message: "too many at once; wait and try again"}
	ErrUnavailable = &Error{Code: "provider_unavailable", Message: "the provider does not answer properly; try again later"}
	ErrRefused     = &Error{Code: "provider_refused", Message: "the provider refused"}
	ErrNoApp       = &Error{Code: "no_oauth_app", Message: "no OAuth app is registered for this provider"}
	ErrConfig      = &Error{Code: "configuration", Message: "the operator has to correct the configuration"}
	ErrReauth      = &Error{Code: "needs_reauth", Message: "the user has to sign in again; call request_auth"}
	ErrAudit       = &Error{Code: "audit_unavailable", Message: "the audit record cannot be written, so nothing is released; try again in a minute, and tell the operator if it stays so"}
	ErrTampered    = &Error{Code: "tampered", Message: "a stored value does not open in its place; restore it from a backup or sign in again"}
)

func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Is makes every error of one code equal for errors.Is.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap gives the cause, which is for the operator's log only.
func (e *Error) Unwrap() error { return e.cause }

// Say is e with a message of its own.
func (e *Error) Say(format string, args ...any) *Error {
	return &Error{Code: e.Code, Message: fmt.Sprintf(format, args...), RetryAfterSeconds: e.RetryAfterSeconds, cause: e.cause}
}

// Because is e with a cause that only the operator's log shows.
func (e *Error) Because(err error) *Error {
	return &Error{Code: e.Code, Message: e.Message, RetryAfterSeconds: e.RetryAfterSeconds, cause: err}
}

// After is e with the seconds after which trying again makes sense.
func (e *Error) After(seconds int) *Error {
	return &Error{Code: e.Code, Message: e.Message, RetryAfterSeconds: seconds, cause: e.cause}
}
