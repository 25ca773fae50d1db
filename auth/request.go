package auth

import (
	"context"
	"slices"
	"time"
)

// RequestState is how far a request has come. It only moves forward.
type RequestState string

const (
	Created    RequestState = "created"    // the agent has the link
	Confirmed  RequestState = "confirmed"  // a browser pressed the button and owns the flow now
	Redirected RequestState = "redirected" // at the provider (or at our key form, or in the live view)
	Claimed    RequestState = "claimed"    // the answer came and is being redeemed, once
	Held       RequestState = "held"       // signed in, and waits for the person's word; Cause says on what
	Stored     RequestState = "stored"
	Failed     RequestState = "failed"
	Declined   RequestState = "declined"
	Expired    RequestState = "expired"
)

// Over reports whether nothing more will happen to a request in this state.
func (s RequestState) Over() bool {
	return s == Stored || s == Failed || s == Declined || s == Expired
}

// Reasons why a user has to act.
const (
	NotConnected      = "not_connected"
	ReasonReauth      = "needs_reauth"
	InsufficientScope = "insufficient_scope"
	NoOAuthApp        = "no_oauth_app"
)

// Request is a pending wish for a connection.
type Request struct {
	ID         string // 128 bits of rand.Text: a name, not a capability
	Owner      Owner
	Client     string
	Verified   bool   // Client comes from a verified token
	ClientName string // as in Caller
	Provider   string
	Method     string
	Account    string   // label asked for; "" = any
	Scopes     []string // asked for; of a request that is Stored, those of them that the provider did not give
	Reason     string
	MatchCode  string // shown by the agent and on the page: BLUE-42
	Renews     string // id of the connection that this one renews; ""

	State      RequestState
	Cause      string // one of a fixed set of words, when Failed or Held
	Browser    []byte // SHA-256 of the flow cookie of the browser that confirmed
	StateHash  []byte // SHA-256 of the OAuth state parameter
	Access     string // what the person chose for Client: read or write
	Vars       map[string]string
	Private    []byte // the connector's own (verifier, nonce, device code), sealed
	UserCode   string // device code flow: shown to the person
	VerifyURL  string
	NextPollAt time.Time
	Connection string // id of what was stored

	CreatedAt time.Time
	UpdatedAt time.Time
	ExpiresAt time.Time

	Moves int64 // how often it was written; the store's, by which it knows whether somebody else wrote it meanwhile
}

// SameWish reports whether two requests are of one client for the same thing.
func (r *Request) SameWish(o *Request) bool {
	return r.Client == o.Client && r.Provider == o.Provider && r.Method == o.Method && r.Account == o.Account &&
		slices.Equal(slices.Sorted(slices.Values(r.Scopes)), slices.Sorted(slices.Values(o.Scopes)))
}

// RequestStore keeps requests. A transition is one UPDATE that names the states
// it may start from and the Moves that it was read with, so that two at once cannot both win. Who loses reads it and decides anew.
type RequestStore interface {
	// CreateRequest refuses with ErrLimit when the owner has limit open requests already.
	// An open request that is equal in owner, client, provider, method, account and scopes is returned instead (existing true),
	// with the reason that r has.
	CreateRequest(ctx context.Context, r *Request, limit int) (existing bool, err error)
	// Request by id alone: pages know no owner before they have read it. Callers compare owners.
	Request(ctx context.Context, id string) (*Request, error)
	// MoveRequest writes r whole if its row stands in one of from and was not written since r was read (r.Moves, which it counts up);
	// ErrConflict otherwise, ErrNotFound when there is none.
	MoveRequest(ctx context.Context, r *Request, from ...RequestState) error
	// RequestByState gives the request whose OAuth state has this hash; ErrNotFound when there is none.
	RequestByState(ctx context.Context, stateHash []byte) (*Request, error)
	// LastSignIn gives the newest request that was Stored in a connection; ErrNotFound when there is none, or none any more.
	LastSignIn(ctx context.Context, o Owner, connection string) (*Request, error)
	// CompleteRequest stores connection and grants and moves the request to Stored, in one transaction. What the
	// person said before ends there: for another account everything, else what the same client may do on the whole.
	// c.Version 1 inserts; higher replaces generation c.Version-1 of the same id (ErrConflict when it moved).
	CompleteRequest(ctx context.Context, r *Request, c *Connection, g []Grant) error
}

// PendingStore is what the keeper needs of requests.
type PendingStore interface {
	// DuePolls gives requests whose NextPollAt has come, each to one caller only (NextPollAt moves on by hold).
	DuePolls(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Request, error)
	// ExpireRequests ends open requests that are past ExpiresAt and, of all owners', the oldest beyond most, fails
	// those that stand in Claimed since before stuck, or by a clock that was ahead (cause unknown_outcome; their Private is left to the caller), and deletes those that ended before old,
	// with approvals and grants that did. Some hundred of each go at once; what is left goes with the next call.
	ExpireRequests(ctx context.Context, now, stuck, old time.Time, most int) (ended []Request, err error)
	// DueProbes gives connections by browser or pasted key that nobody has looked at since before, each to one
	// caller only: UpdatedAt becomes now.
	DueProbes(ctx context.Context, now, before time.Time, limit int) ([]Connection, error)
	// OpenRequests of an owner, newest first.
	OpenRequests(ctx context.Context, o Owner) ([]Request, error)
	// DueRefreshes gives connections to refresh ahead: active, used after usedAfter and expiring between lapsed
	// and soon, or with a sign-in that would die unused then, or before fading and with four fifths of its time over;
	// and used ones whose provider was down at the last try.
	DueRefreshes(ctx context.Context, now, lapsed, soon, fading, usedAfter time.Time, limit int) ([]Connection, error)
}
