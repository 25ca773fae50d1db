package auth

import (
	"context"
	"time"
)

// Kinds of grant.
const (
	Use     = "use"     // brokered calls
	Release = "release" // the raw credential
)

// Access levels that the connect page offers.
const (
	Read  = "read"
	Write = "write"
)

// Grant is what a client may do with a connection. Empty Methods, Paths or Hosts
// mean all that the connection itself allows.
type Grant struct {
	ID         string
	Owner      Owner
	Client     string
	ClientName string // as in Caller
	Connection string
	Kind       string   // Use or Release
	Access     string   // Read: only what reads; Write: everything
	Methods    []string // POST; POST as DELETE is for a call that is both, and for neither alone
	Paths      []string // patterns over the canonical path: * is one segment, ** at the end is the rest
	Hosts      []string
	Until      time.Time // zero: until revoked
	CreatedAt  time.Time
	Origin     string // request:ID, approval:ID or cli
}

// whole reports the answer to what a client may do with a connection at all, as the
// connect page and the first approval ask it. The rest are single calls that stay allowed.
func (g Grant) whole() bool {
	return g.Kind == Use && len(g.Methods) == 0 && len(g.Paths) == 0 && len(g.Hosts) == 0
}

// GrantStore keeps grants.
type GrantStore interface {
	// Grants of one client on one connection that have not ended, oldest first. Empty client: of all clients.
	// Empty connection: on all connections.
	Grants(ctx context.Context, o Owner, client, connection string, now time.Time) ([]Grant, error)
	// Granted gives what ConnectionStore.Connections would, and the grants of one client on those, read together.
	Granted(ctx context.Context, o Owner, client, provider, account string, now time.Time) ([]Connection, []Grant, error)
	// EndGrant deletes; ErrNotFound when there is none of that id.
	EndGrant(ctx context.Context, o Owner, id string) error
}

// ApprovalState is how far an approval has come.
type ApprovalState string

const (
	Waiting  ApprovalState = "waiting"
	Approved ApprovalState = "approved"
	Refused  ApprovalState = "refused"
	Spent    ApprovalState = "spent"
)

// Approval is a frozen question to the owner: may this client do exactly this?
type Approval struct {
	ID         string
	Owner      Owner
	Client     string
	Verified   bool
	ClientName string // as in Caller
	Connection string
	Provider   string
	Account    string
	Kind       string // Use or Release
	Digest     []byte // over method, canonical URL, headers and body, keyed
	Method     string // POST; POST as DELETE when the call names that in its query or body
	URL        string // without query values that look secret; for people
	Preview    string // of the body, below the headers that the definition opens; for people, bounded
	BodyDigest string
	Why        string // what the rule said
	State      ApprovalState
	Once       bool // approved for this one call
	CreatedAt  time.Time
	ExpiresAt  time.Time
	DecidedAt  time.Time
}

// ApprovalStore keeps approvals.
type ApprovalStore interface {
	// AddApproval refuses with ErrLimit when the owner has limit waiting ones; an equal waiting one is returned instead, with the Why that a has.
	AddApproval(ctx context.Context, a *Approval, limit int) (existing bool, err error)
	Approval(ctx context.Context, o Owner, id string) (*Approval, error)
	Approvals(ctx context.Context, o Owner, s ApprovalState, now time.Time) ([]Approval, error)
	// Decide moves Waiting to s and adds g when it is not nil, in one transaction; ErrUsed when decided already, ErrConflict
	// when s is Approved and another account has taken the place of the one that was asked for.
	Decide(ctx context.Context, o Owner, id string, s ApprovalState, once bool, g *Grant, now time.Time) error
	// Spend takes an approved once-approval with this digest, once. ErrNotFound when there is none.
	Spend(ctx context.Context, o Owner, client, connection string, digest []byte, now time.Time) (id string, err error)
}
