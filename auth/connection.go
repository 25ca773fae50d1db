package auth

import (
	"context"
	"time"
)

// State of a connection. A connection never reads healthy when it is not.
type State string

const (
	Active       State = "active"
	Expiring     State = "expiring" // the sign-in itself ends soon (refresh token or session)
	NeedsReauth  State = "needs_reauth"
	ProviderDown State = "provider_down"
	Revoked      State = "revoked"
)

// Methods of connecting: names of connectors.
const (
	MethodOAuthCode         = "oauth_code"
	MethodDeviceCode        = "device_code"
	MethodClientCredentials = "client_credentials"
	MethodAPIKey            = "api_key"
	MethodBrowser           = "browser"
)

// Connection is a credential that an owner holds at a provider, with everything
// about it that is not secret. Account is the label that people and agents use;
// it is unique for an owner at a provider.
type Connection struct {
	ID        string
	Owner     Owner
	Provider  string
	Account   string
	AccountID string // the provider's own stable id of the account, or what named makes of its name; "" when it tells neither
	Method    string
	State     State
	Cause     string // why State is not Active: a word such as invalid_grant, interrupted_rotation
	Scopes    []string
	Hosts     []string          // where the credential may go: frozen when the connection was made
	Vars      map[string]string // the definition's variables (tenant, region, kept values); not secret
	Bind      string            // issuer and token endpoint that the sealed credential is bound to

	Salt    []byte // the record's own; destroying it destroys the key of Sealed
	Sealed  []byte // the Credential
	Version int64  // generation of Sealed, counts from 1

	ExpiresAt        time.Time // of the access token or session; zero = unknown or never
	RefreshExpiresAt time.Time // when the user has to sign in again; zero = unknown or never
	IssuedAt         time.Time // when this generation was obtained
	CreatedAt        time.Time // under this account: another one that takes its place begins anew
	UpdatedAt        time.Time
	LastUsedAt       time.Time // to the minute

	Refresh RefreshState
}

// RefreshState is the part of a connection's row that the refresh protocol owns.
type RefreshState struct {
	Holder      string    // process that refreshes now
	Until       time.Time // end of its lease
	Fence       int64     // counts leases
	DeadVersion int64     // generation that cannot be renewed, because the provider refused it or gave nothing to do it with: nobody tries
	AttemptedAt time.Time // durable intent of the current attempt; zero = none under way
	Attempts    int       // calls made for this generation whose outcome nobody knows
	Answer      []byte    // sealed raw answer that was received but not yet committed
	Failures    int       // transient failures in a row
	NextTryAt   time.Time // not before
}

// final reports whether this generation is the last: when its token ends, the person has to sign in again.
func (c *Connection) final() bool { return c.Refresh.DeadVersion == c.Version }

// LongestWait is longer than any wait between two tries of a renewal, any lease and any sign-in that is being finished: Retry-After
// counts up to an hour. What is to wait longer was noted while the clock was wrong.
const LongestWait = 2 * time.Hour

// Waits reports whether the next try is still to come.
func (r RefreshState) Waits(now time.Time) bool {
	return now.Before(r.NextTryAt) && r.NextTryAt.Sub(now) < LongestWait
}

// ConnectionStore keeps connections. Every method is bound to an owner: a row of
// another owner reads as ErrNotFound.
type ConnectionStore interface {
	// Connections of an owner, ordered by provider and account. Empty provider or
	// account match all. Revoked ones are left out.
	Connections(ctx context.Context, o Owner, provider, account string) ([]Connection, error)
	// Connection by id, revoked ones too.
	Connection(ctx context.Context, o Owner, id string) (*Connection, error)
	// Standing of a connection now: what Connection would give for the first two, and whether it has the grant of that
	// id, which has not ended.
	Standing(ctx context.Context, o Owner, id, grant string, now time.Time) (s State, version int64, granted bool, err error)
	// SetState changes state and cause of a connection if it stands at version; ErrConflict otherwise.
	SetState(ctx context.Context, o Owner, id string, version int64, s State, cause string) error
	// SaveSealed replaces Sealed (rolled cookies) and ExpiresAt, Version+1, if it stands at version; ErrConflict otherwise.
	SaveSealed(ctx context.Context, c *Connection) error
	// Touch notes that connections were used; may be batched and lost.
	Touch(ctx context.Context, o Owner, id string, at time.Time) error
}

// RefreshStore is the lease on a connection's row: acquire, call with nothing
// held, commit by compare-and-swap on Version.
type RefreshStore interface {
	// AcquireRefresh takes the lease for generation version and writes the durable
	// intent (AttemptedAt, Attempts+1), in one transaction. It gives the row as it then stands,
	// with the sealed credential and what an earlier, interrupted attempt left (Answer, Attempts > 1).
	// taken is false when the version moved, is dead, is not due yet (NextTryAt), or another live holder has it.
	AcquireRefresh(ctx context.Context, o Owner, id string, version int64, ttl time.Duration) (c *Connection, taken bool, err error)
	// RenewRefresh prolongs the lease that fence numbers; ErrConflict when it was lost.
	RenewRefresh(ctx context.Context, o Owner, id string, fence int64, ttl time.Duration) error
	// KeepAnswer stores the sealed raw answer beside the old credential.
	KeepAnswer(ctx context.Context, o Owner, id string, version int64, answer []byte) error
	// CommitRefresh writes c (Version is the new one) over generation c.Version-1 and clears lease,
	// intent and answer; ErrConflict when the version moved or the connection is revoked.
	CommitRefresh(ctx context.Context, c *Connection) error
	// FailRefresh clears the lease and notes the failure, only while generation version stands.
	FailRefresh(ctx context.Context, o Owner, id string, version, fence int64, f RefreshFailure) error
}

// RefreshFailure is what a failed refresh leaves in the row.
type RefreshFailure struct {
	State     State
	Cause     string
	Dead      bool      // the generation is refused for good (sets DeadVersion)
	Unknown   bool      // a call whose outcome nobody knows, or an answer that nobody has read: keep Attempts and Answer; otherwise forget both
	NextTryAt time.Time // zero: at once
}
