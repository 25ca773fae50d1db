package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/providers"
)

// Vault is the one entry point. Agents use its methods; people come in through
// Visit (one request) and Desk (everything an owner has). Fill the exported fields
// and use it; it is safe for concurrent use.
type Vault struct {
	Catalog     *providers.Catalog
	Connectors  []Connector
	Box         *seal.Box
	Out         *egress.Client
	Connections ConnectionStore
	Refreshes   RefreshStore
	Requests    RequestStore
	Pending     PendingStore
	Apps        AppStore
	Grants      GrantStore
	Approvals   ApprovalStore
	Revocations RevocationStore
	Audit       AuditLog

	// BaseURL is where our pages are, without a slash at the end. A function, because the port
	// may become known, or move to another process, while the vault is in use.
	BaseURL func() string
	// Identified means that page visitors are signed in, and must be the owner of the request they open.
	// False is the local mode: the first browser that confirms owns the flow.
	Identified bool
	// DeviceFlow lets the device code flow be used although Identified is set (BCP 247 says why not).
	DeviceFlow bool
	// Release names the providers whose raw credential any client with a grant may have; "*" is all. The command line sets it.
	Release map[string]bool
	// Loopback lets provider and API URLs be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool
	// Announce tells the owner that an approval waits (webhook, command). It must not block. nil: nobody is told.
	Announce func(Approval)
	// RequestTTL is how long a link lives; 0 = 10 minutes.
	RequestTTL time.Duration
	// OpenRequests an owner may have at once; 0 = 20.
	OpenRequests int
	Log          *slog.Logger // nil discards
	Now          func() time.Time

	flights  flights
	breakers breakers
	running  running
	limits   limits
	vouched  vouchers
	lookout  lookout
}

func (v *Vault) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}

func (v *Vault) log() *slog.Logger {
	if v.Log != nil {
		return v.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (v *Vault) requestTTL() time.Duration {
	if v.RequestTTL > 0 {
		return v.RequestTTL
	}
	return 10 * time.Minute
}

func (v *Vault) openRequests() int {
	if v.OpenRequests > 0 {
		return v.OpenRequests
	}
	return 20
}

// provider gives a definition, or an error that suggests the nearest names.
func (v *Vault) provider(id string) (*providers.Provider, error) {
	p, err := v.Catalog.Get(id)
	var unknown *providers.UnknownError
	if errors.As(err, &unknown) {
		if len(unknown.Nearest) > 0 {
			return nil, ErrInvalid.Say("there is no provider %q; did you mean %s? list_providers names them all", clip(id, 40), strings.Join(unknown.Nearest, ", "))
		}
		return nil, ErrInvalid.Say("there is no provider %q; list_providers names them all", clip(id, 40))
	}
	return p, err
}

func (v *Vault) connector(method string) (Connector, error) {
	i := slices.IndexFunc(v.Connectors, func(c Connector) bool { return c.Method() == method })
	if i < 0 {
		return nil, ErrInvalid.Say("signing in by %s is not available on this server", method)
	}
	return v.Connectors[i], nil
}

// record puts an event on disk before its effect. Without a record there is no effect.
func (v *Vault) record(ctx context.Context, e Event) (id string, err error) {
	e.ID, e.At = rand.Text(), v.now()
	if err := v.Audit.Append(ctx, e); err != nil {
		if !errors.Is(err, ErrAudit) {
			err = ErrAudit.Because(err)
		}
		return "", err
	}
	return e.ID, nil
}

// note queues an event that does not have to be on disk first: an outcome, or a refusal.
func (v *Vault) note(e Event) {
	e.ID, e.At = rand.Text(), v.now()
	v.Audit.Later(e)
}

// place says where a connection's credential is sealed.
func place(c *Connection, field string) seal.Place {
	return seal.Place{
		Table: "connections", Org: c.Owner.Org, User: c.Owner.User, Record: c.ID, Field: field,
		Version: c.Version, Bind: c.Bind, Salt: c.Salt,
	}
}

func (v *Vault) sealCredential(c *Connection, cred *Credential) error {
	plain, err := cred.encode()
	if err != nil {
		return err
	}
	c.Sealed, err = v.Box.Seal(place(c, "credential"), plain)
	clear(plain)
	return err
}

func (v *Vault) openCredential(ctx context.Context, c *Connection) (*Credential, error) {
	plain, err := v.open(ctx, place(c, "credential"), c.Sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return decodeCredential(plain)
}

// open unseals. A data key that is not known yet was made by another process.
func (v *Vault) open(ctx context.Context, p seal.Place, sealed []byte) ([]byte, error) {
	plain, err := v.Box.Open(p, sealed)
	if errors.Is(err, seal.ErrUnknownKey) {
		if err := v.Box.Reload(ctx); err != nil {
			return nil, err
		}
		plain, err = v.Box.Open(p, sealed)
	}
	if errors.Is(err, seal.ErrTampered) {
		return nil, ErrTampered.Because(err)
	}
	return plain, err
}

// flow gathers what a connector needs of a stored connection.
func (v *Vault) flow(ctx context.Context, c *Connection) (*Flow, error) {
	definition, err := v.provider(c.Provider)
	if err != nil {
		return nil, err
	}
	p, err := definition.Resolve(c.Vars)
	if err != nil {
		return nil, ErrConfig.Say("the definition of %s does not fit this connection any more; sign in again", c.Provider).Because(err)
	}
	if bind(p, c.Method) != c.Bind {
		return nil, ErrReauth.Say("the definition of %s changed where credentials are sent; the user has to sign in again", p.Name).Because(errRebound)
	}
	f := &Flow{Provider: p, Definition: definition, Connection: c, Vars: c.Vars, RedirectURI: v.redirectURI(p), Now: v.now()}
	return f, v.addApp(ctx, f, c.Owner)
}

// errRebound marks a connection whose credential its definition may not use any more.
var errRebound = errors.New("issuer or endpoints are not those that the credential is bound to")

// addApp puts the OAuth app into the flow when its method needs one: a connection's own, or for a sign-in the owner's nearest.
func (v *Vault) addApp(ctx context.Context, f *Flow, o Owner) error {
	method := f.method()
	if !needsApp(method) {
		return nil
	}
	var app *App
	var err error
	if f.Connection != nil {
		app, err = v.appOf(ctx, f.Connection)
	} else {
		app, err = v.app(ctx, o, f.Provider.ID, method)
	}
	if errors.Is(err, ErrNotFound) && method == MethodClientCredentials && o != Local {
		return ErrNoApp.Say("no OAuth app of your own is registered for %s, and another's speaks for whoever registered it; enter yours on the page, or on /apps", f.Provider.Name)
	}
	if errors.Is(err, ErrNotFound) {
		return ErrNoApp.Say("no OAuth app is registered for %s; enter its client id on the page, or run: latchpost app set %s --client-id ID", f.Provider.Name, f.Provider.ID)
	}
	if err != nil {
		return err
	}
	bound, err := appBind(f.Definition, f.Vars)
	if err != nil {
		return err
	}
	if app.Bind != bound {
		return ErrNoApp.Say("the definition of %s changed where its client secret is sent; register the OAuth app again: latchpost app set %s --client-id ID", f.Provider.Name, f.Provider.ID)
	}
	f.ClientID = app.ClientID
	if app.Sealed == nil {
		return nil
	}
	plain, err := v.open(ctx, appPlace(app), app.Sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	f.Client = NewSecret(string(plain))
	return nil
}

func needsApp(method string) bool {
	return method == MethodOAuthCode || method == MethodDeviceCode || method == MethodClientCredentials
}

// bind names what a credential of this method may be used with. A definition that
// changes it can no longer use the credential.
func bind(p *providers.Provider, method string) string {
	switch {
	case needsApp(method) && p.OAuth2 != nil:
		return strings.Join(append([]string{p.OAuth2.Issuer, p.OAuth2.Token.URL}, p.OAuth2.Elsewhere()...), " ")
	case method == MethodAPIKey && p.APIKey == nil, method == MethodBrowser && p.Browser == nil:
		return "" // nothing says any more how it is used
	}
	return p.ID
}

// appBind names what a client secret may be used with. Variables of a closed list
// (regions) do not count: a callback may change them, and the definition vouches
// for all of them. A host that a person types does count.
func appBind(definition *providers.Provider, vars map[string]string) (string, error) {
	fixed := maps.Clone(vars)
	for name, x := range definition.Vars {
		if len(x.Enum) > 0 && fixed != nil {
			fixed[name] = orDefault(x.Default, x.Enum[0])
		}
	}
	p, err := definition.Resolve(fixed)
	if err != nil {
		return "", ErrInvalid.Say("%s", err)
	}
	return bind(p, MethodOAuthCode), nil
}

// redirectURI is one per provider (RFC 9700 section 4.4) and never made from a request's Host.
func (v *Vault) redirectURI(p *providers.Provider) string {
	base := v.BaseURL()
	if p.OAuth2 != nil && p.OAuth2.Client.Loopback == "localhost" {
		base = strings.Replace(base, "http://127.0.0.1:", "http://localhost:", 1)
	}
	return base + "/callback/" + p.ID
}

// clip bounds a text from outside that is repeated in a message.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "")
}
