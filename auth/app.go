package auth

import (
	"context"
	"time"
)

// App is an OAuth client that an owner, an org or the operator registered at a provider.
// Owner{} is the operator's and serves everybody; Owner{Org: x} serves that org.
type App struct {
	ID        string
	Owner     Owner
	Provider  string
	ClientID  string
	Bind      string // token endpoint that the secret is bound to
	Salt      []byte
	Sealed    []byte // the client secret; nil for a public client
	CreatedAt time.Time
}

// AppStore keeps OAuth apps.
type AppStore interface {
	// App gives the nearest one for the owner: own, then org's, then the operator's. ErrNotFound when there is none.
	App(ctx context.Context, o Owner, provider string) (*App, error)
	// Apps gives all that may serve the owner: own, org's and the operator's; of one provider in this order.
	Apps(ctx context.Context, o Owner) ([]App, error)
	PutApp(ctx context.Context, a App) error
	DeleteApp(ctx context.Context, o Owner, provider string) error
}

// app gives the nearest app that o may sign in with by method; ErrNotFound when there is none. An app that the operator or
// an org registered lets everybody sign in as themselves, but its own token is the registrant's: whoever
// got that would act as the operator. On the machine of one person, the operator is Local.
func (v *Vault) app(ctx context.Context, o Owner, provider, method string) (*App, error) {
	app, err := v.Apps.App(ctx, o, provider)
	if err == nil && method == MethodClientCredentials && app.Owner != o && o != Local {
		return nil, ErrNotFound
	}
	return app, err
}

// Revocation is a token that still has to be revoked at the provider.
type Revocation struct {
	ID         string
	Owner      Owner
	Provider   string
	Connection string
	Version    int64 // generation of Connection that Sealed was made from; 0 = none. Not stored
	Method     string
	Vars       map[string]string
	Bind       string
	Salt       []byte
	Sealed     []byte // the Credential
	Attempts   int
	NextTryAt  time.Time
	CreatedAt  time.Time
}

// RevocationStore kills connections locally, first and in one transaction, and
// remembers what is still to be told to the provider.
type RevocationStore interface {
	// RevokeConnection sets state Revoked, destroys Salt, Sealed and Refresh.Answer, deletes grants and waiting approvals,
	// and keeps rev (nil: nothing to tell). ErrNotFound when it is not there; already revoked is no error and keeps nothing.
	// ErrConflict when rev.Version is set and the connection stands at another one: its tokens are not those of rev.
	RevokeConnection(ctx context.Context, o Owner, id string, rev *Revocation) error
	AddRevocation(ctx context.Context, rev Revocation) error
	// DueRevocations gives each to one caller only (NextTryAt moves on by hold).
	DueRevocations(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]Revocation, error)
	// EndRevocation deletes the row, or with next set tries again then.
	EndRevocation(ctx context.Context, id string, next time.Time) error
}
