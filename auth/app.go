package auth

import (
	"context"
	"errors"
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

// madeWith is the variable in which a connection keeps the client id of the app that it was made with. Templates know it by
// this name too: some APIs want to hear it in every call.
const madeWith = "client_id"

// app gives the nearest app that o may sign in with by method; ErrNotFound when there is none. An app that the operator or
// an org registered lets everybody sign in as themselves, but its own token is the registrant's: whoever
// got that would act as the operator. On the machine of one person, the operator is Local.
func (v *Vault) app(ctx context.Context, o Owner, provider, method string) (*App, error) {
	app, err := v.Apps.App(ctx, o, provider)
	if err == nil && !app.serves(o, method) {
		return nil, ErrNotFound
	}
	return app, err
}

func (a *App) serves(o Owner, method string) bool {
	return method != MethodClientCredentials || a.Owner == o || o == Local
}

// appOf gives the app that c was made with, which need not be the nearest any more: a provider refuses tokens to another
// app, and does not revoke them for it. errAppGone: there are others only. A connection of
// before that was noted takes the nearest.
func (v *Vault) appOf(ctx context.Context, c *Connection) (*App, error) {
	near, err := v.app(ctx, c.Owner, c.Provider, c.Method)
	id := c.Vars[madeWith]
	if err != nil || id == "" || near.ClientID == id {
		return near, err
	}
	all, err := v.Apps.Apps(ctx, c.Owner)
	if err != nil {
		return nil, err
	}
	for i, a := range all {
		if a.Provider == c.Provider && a.ClientID == id && a.serves(c.Owner, c.Method) {
			return &all[i], nil
		}
	}
	return nil, ErrConfig.Say("the OAuth app that this sign-in was made with is gone; register the one with its client id again, or revoke the connection and sign in with the app that is there now").Because(errAppGone)
}

// errAppGone marks a connection whose tokens belong to an app that is not registered here any more.
var errAppGone = errors.New("no app has the client id that the tokens were given to")

// Stranded gives the accounts of the owner at a provider whose OAuth app is gone, so that they can be neither renewed nor
// revoked at the provider.
func (d Desk) Stranded(ctx context.Context, provider string) (accounts []string, err error) {
	held, err := d.vault.Connections.Connections(ctx, d.owner, provider, "")
	if err != nil {
		return nil, err
	}
	for i := range held {
		if !needsApp(held[i].Method) {
			continue
		}
		switch _, err := d.vault.appOf(ctx, &held[i]); {
		case errors.Is(err, errAppGone):
			accounts = append(accounts, plainLabel(held[i].Account))
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return accounts, nil
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
