// Package identity is who is asking. Agents prove it with a bearer token, one that we
// issued or a JWT of the operator's issuer, and become an auth.Caller; people prove it
// with a one-time link or by signing in at the same issuer, and their browser's session
// becomes an auth.Owner. One function makes the owner of both, so a person's agent and
// a person's browser cannot come apart. Start at Identity: Caller and Owner answer for a
// request, Handler serves /login. Nothing a client says about itself counts.
package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Identity tells who sends a request. It is safe for concurrent use; set the fields before.
type Identity struct {
	// BaseURL is where people reach our pages, without a slash at the end. With https the
	// cookies are Secure and carry the prefix __Host-.
	BaseURL func() string
	// Sessions keeps the sessions of browsers and the one-time links.
	Sessions SessionStore
	// Tokens are those that we issued; nil: there are none.
	Tokens *Tokens
	// Issuer signs JWTs for agents and people; nil: there is none.
	Issuer *Issuer
	// MAC is a keyed hash with a key of its own for this use, the same in all processes of a
	// store (seal.Box.MAC). Signing in at the issuer needs it.
	MAC func(message []byte) []byte
	// Audit has every session on record before it begins.
	Audit auth.AuditLog
	Log   *slog.Logger     // why a token was refused, at level debug; nil discards
	Now   func() time.Time // nil: time.Now

	warned atomic.Int64 // when somebody was last told of trouble, in Unix seconds
}

// SessionStore keeps sessions and one-time links by the SHA-256 of what the browser has.
type SessionStore interface {
	AddSession(ctx context.Context, hash []byte, o auth.Owner, expires time.Time) error
	// Session gives auth.ErrNotFound for one that is not there or has ended.
	Session(ctx context.Context, hash []byte) (o auth.Owner, expires time.Time, err error)
	DeleteSession(ctx context.Context, hash []byte) error
	// DeleteSessions ends all of an owner, and the links that could begin one.
	DeleteSessions(ctx context.Context, o auth.Owner) (n int64, err error)
	AddOwnerLink(ctx context.Context, hash []byte, o auth.Owner, expires time.Time) error
	// TakeOwnerLink gives the owner to exactly one of any number that ask, auth.ErrNotFound to the others.
	TakeOwnerLink(ctx context.Context, hash []byte) (auth.Owner, error)
	// SpendTicket gives auth.ErrUsed to all but the first who names a serial, at least until then.
	SpendTicket(ctx context.Context, serial string, until time.Time) error
}

// Handler serves /login and /logout. Package guard stands in front of it, and its
// Class.Limited bounds how often one address may try. What another site's page posts is
// refused here once more: it could sign a person in as somebody else, who would then get
// what the person connects.
func (i *Identity) Handler() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, i.page(h))
	}
	page("GET /login", i.showLogin)
	page("GET /login/{code}", i.showLink)
	page("POST /login", i.login)
	page("GET /login/callback", i.callback)
	page("POST /logout", i.logout)
	return http.NewCrossOriginProtection().Handler(mux)
}

func (i *Identity) log() *slog.Logger {
	if i.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return i.Log
}

// warnPause is between two warnings of trouble.
const warnPause = 60 // seconds

// trouble logs what keeps us from knowing anybody. Strangers meet it as often as they like, so that it is loud only now and then.
func (i *Identity) trouble(ctx context.Context, message string, err error) {
	level, now, last := slog.LevelDebug, i.now().Unix(), i.warned.Load()
	if now-last >= warnPause && ctx.Err() == nil && i.warned.CompareAndSwap(last, now) { // and nobody has just left
		level = slog.LevelWarn
	}
	i.log().Log(ctx, level, message, "error", err)
}

func (i *Identity) now() time.Time { return clock(i.Now) }

func clock(now func() time.Time) time.Time {
	if now == nil {
		return time.Now()
	}
	return now()
}

// record puts an event on disk. What it stands before does not happen without it.
func record(ctx context.Context, log auth.AuditLog, e auth.Event) error {
	e.ID = rand.Text()
	err := log.Append(ctx, e)
	if err == nil || errors.Is(err, auth.ErrAudit) {
		return err
	}
	return auth.ErrAudit.Because(err)
}

// digest is what stores keep in place of a secret. Looking a secret up by its digest takes
// no time that depends on how much of a guess is right.
func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
