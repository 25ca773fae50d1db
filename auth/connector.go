package auth

import (
	"context"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Connector is one way to sign in. Adding one is one file and one line where the
// Vault is put together.
type Connector interface {
	// Method is the connector's name, one of the Method constants.
	Method() string
	// Begin starts the sign-in after a browser confirmed the request, and says where that browser goes.
	Begin(ctx context.Context, f *Flow) (Step, error)
	// Finish redeems what came back, at most once per flow. An *Error tells the person; its Code is the request's cause.
	// An outcome beside the error is what the provider gave all the same: it is told to forget it.
	Finish(ctx context.Context, f *Flow, in Input) (*Outcome, error)
}

// Refresher is a Connector whose credentials can be renewed without the person.
type Refresher interface {
	// Refresh makes exactly one call to the provider and gives the raw answer, which
	// the vault seals and stores before anybody looks into it.
	Refresh(ctx context.Context, f *Flow, old *Credential) (answer []byte, err error)
	// Refreshed reads such an answer. Values the provider left out are kept from old. Beside an error the outcome, if
	// there is one, holds what came and must not be used.
	Refreshed(f *Flow, old *Credential, answer []byte, sentAt time.Time) (*Outcome, error)
	// Renews reports whether cred holds what the provider wants for a renewal.
	Renews(p *providers.Provider, cred *Credential) bool
}

// Revoker is a Connector that can tell the provider that a credential is dead.
type Revoker interface {
	// Revoke reports false when the provider has no way to do it. An error is worth another try.
	Revoke(ctx context.Context, f *Flow, cred *Credential) (told bool, err error)
}

// Carrier is a Connector that carries brokered requests itself, because its
// credential is more than a header: the session of a browser.
type Carrier interface {
	// Carry sends the request with the credential. rolled is the credential as the site changed it, nil when it did not;
	// it may come with an error.
	Carry(ctx context.Context, f *Flow, cred *Credential, r egress.Request) (resp *egress.Response, rolled *Credential, err error)
	// Secrets lists what must not come back to an agent.
	Secrets(cred *Credential) []Secret
	// Release gives the credential in one of the forms of Need.Form.
	Release(f *Flow, cred *Credential, form, url string) (*Released, error)
}

// Prober is a Connector that can ask the provider whether a credential still works.
type Prober interface {
	// Probe asks. ErrReauth: it does not. rolled is as with Carrier, and may come with another error.
	Probe(ctx context.Context, f *Flow, cred *Credential) (rolled *Credential, err error)
}

// Poller is a Connector whose provider has to be asked until the person is done
// (RFC 8628).
type Poller interface {
	// Poll asks once. No outcome and no error means: ask again after wait. An outcome beside an error is as with Finish.
	Poll(ctx context.Context, f *Flow) (out *Outcome, wait time.Duration, err error)
}

// Needer is a Connector that needs something on this machine which may not be there.
type Needer interface {
	// Ready is nil when a sign-in can start. Else the error says what is missing and how to get it, as in "a browser: apt install chromium".
	Ready(ctx context.Context) error
}

// Flow is what a connector gets to see of a sign-in or a connection.
type Flow struct {
	Provider    *providers.Provider // resolved with Vars
	Definition  *providers.Provider // as in the catalogue: a callback may change a variable
	Request     *Request            // nil when a stored connection is refreshed, probed or revoked
	Connection  *Connection         // nil in a first sign-in
	ClientID    string              // of the OAuth app; "" when the method needs none
	Client      Secret              // its secret; empty for a public client
	RedirectURI string              // configured base URL + /callback/{provider}
	Private     []byte              // what Begin put into Step.Private, opened
	Vars        map[string]string
	Now         time.Time

	received func(ctx context.Context, out *Outcome) // keeps what a sign-in brought, before anything else is asked; nil: nobody does
}

// Step is where the person goes after confirming.
type Step struct {
	Redirect string // the provider's page, https; or
	Page     string // one of our own pages, a path such as /secret/{id}

	State     string        // OAuth state; the vault keeps its hash
	Private   []byte        // the vault seals it into the request
	UserCode  string        // device code: what the person types at VerifyURL
	VerifyURL string        // RFC 8628 verification_uri
	PollAfter time.Duration // device code: first poll; 0 = the method does not poll
	ExpiresIn time.Duration // the sign-in ends after this; 0 = the request's own time
}

// Input is what came back: the callback's query, or a posted form.
type Input struct {
	Query  url.Values        // OAuth callback, checked against doubled parameters
	Fields map[string]Secret // key form
	Bundle Secret            // browser login: what was captured
}

// Outcome is a sign-in or a refresh that worked.
type Outcome struct {
	Credential       *Credential
	Scopes           []string // granted; nil = the provider does not say
	ExpiresAt        time.Time
	RefreshExpiresAt time.Time
	Account          string // label from the provider: login or mail address
	AccountID        string
	Vars             map[string]string // captured or kept, not secret
	Places           *Places           // that the provider listed; nil = there is nothing to choose
	Beside           []*Credential     `json:"-"` // tokens that came along and are not kept: the provider is told to forget them
}

// Places are the sites, tenants or companies that a sign-in is good for, where these are several: the person says which one it is for.
type Places struct {
	Store string // the variable that takes the value of one
	List  []Place
	More  int // that are left out
}

// Place is one of Places.
type Place struct{ Value, Label string }
