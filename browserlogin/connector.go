package browserlogin

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
)

// Connector is browser login among the ways to sign in: auth.Connector,
// auth.Carrier and auth.Prober.
type Connector struct {
	Pool *Pool
	Out  *egress.Client
	// Vault gets what was captured. It is set after the vault, which holds this connector, is made.
	Vault *auth.Vault
	// Loopback lets a site be http on 127.0.0.1 (--unsafe-loopback).
	Loopback bool
	Log      *slog.Logger // nil discards

	jars jars
}

// Method is auth.MethodBrowser.
func (*Connector) Method() string { return auth.MethodBrowser }

// Ready says what of the programs behind a browser login is not here.
func (c *Connector) Ready(ctx context.Context) error { return c.Pool.Ready(ctx) }

// Begin reserves a browser and leads to its live view. ErrLimit when too many are open.
func (c *Connector) Begin(_ context.Context, f *auth.Flow) (auth.Step, error) {
	if f.Provider.Browser == nil {
		return auth.Step{}, auth.ErrConfig.Say("%s has no browser sign-in; use another method", f.Provider.Name)
	}
	r := *f.Request
	path, err := c.Pool.Start(Login{
		Request: r.ID, Owner: r.Owner.String(), Name: f.Provider.Name, Asked: asked(&r), Site: f.Provider.Browser, After: "/done/" + r.ID,
		Ended: func(ctx context.Context) error { return c.ended(ctx, &r) },
		Done:  func(ctx context.Context, got *Captured, err error) error { return c.hand(ctx, &r, got, err) },
	})
	switch {
	case errors.Is(err, ErrBusy):
		return auth.Step{}, auth.ErrLimit.Say("%s", ErrBusy).After(30)
	case err != nil:
		return auth.Step{}, auth.ErrUnavailable.Say("the browser cannot be used now; try again in a moment").Because(err)
	}
	return auth.Step{Page: path, ExpiresIn: c.Pool.opt.Total + time.Minute}, nil
}

func asked(r *auth.Request) string {
	if r.Verified || r.Client == "" {
		return r.Client
	}
	return r.Client + " (unverified)"
}

// ended tells why the request does not wait for this login any more. The agent may have cancelled it, or the owner, or another
// process gone on with it. A store that does not answer ends nobody's login.
func (c *Connector) ended(ctx context.Context, was *auth.Request) error {
	now, err := c.Vault.Visit(auth.Visitor{Browser: was.Browser, Owner: &was.Owner}).Request(ctx, was.ID)
	switch {
	case errors.Is(err, auth.ErrNotFound):
		return ErrTimeout
	case err != nil:
		return nil
	case now.State == auth.Declined:
		return ErrCancelled
	case now.State == auth.Expired:
		return ErrTimeout
	case now.State.Over() || now.Method != was.Method || !maps.Equal(now.Vars, was.Vars):
		return errReplaced
	}
	return nil
}

// why is the field in which Finish gets the reason of a login that gave nothing.
const why = "why"

// hand gives the vault what came of a login, in the name of the person who confirmed it.
func (c *Connector) hand(ctx context.Context, r *auth.Request, got *Captured, failed error) error {
	visit := c.Vault.Visit(auth.Visitor{Browser: r.Browser, Owner: &r.Owner})
	if errors.Is(failed, ErrCancelled) {
		return visit.Decline(ctx, r.ID)
	}
	in := auth.Input{}
	if failed != nil {
		in.Fields = map[string]auth.Secret{why: auth.NewSecret(Reason(failed))}
	} else {
		in.Bundle = got.Bundle.Seal()
	}
	err := visit.Submit(ctx, r.ID, in)
	if failed != nil {
		return nil // the vault repeats what it was told
	}
	if err != nil && c.Log != nil {
		c.Log.Warn("a browser session was captured and not stored", "provider", r.Provider, "error", err)
	}
	return err
}

// Finish turns a verified bundle into the outcome. A login that failed ends the
// request with its reason: timeout, browser_exited or browser_unavailable.
func (c *Connector) Finish(_ context.Context, f *auth.Flow, in auth.Input) (*auth.Outcome, error) {
	if in.Bundle.Empty() {
		return nil, failure(in.Fields[why].Reveal())
	}
	b, err := OpenBundle(in.Bundle)
	if err != nil {
		return nil, auth.ErrInvalid.Because(err)
	}
	site := f.Provider.Browser
	expires := b.ExpiresAt(time.Duration(site.AssumeTTL) * time.Second)
	return &auth.Outcome{
		Credential: &auth.Credential{Session: in.Bundle}, ExpiresAt: expires, RefreshExpiresAt: expires, Account: b.in().Account, AccountID: b.in().Account,
	}, nil
}

func failure(reason string) error {
	switch reason {
	case "timeout":
		return &auth.Error{Code: reason, Message: ErrTimeout.Error()}
	case "browser_exited":
		return &auth.Error{Code: reason, Message: ErrBrowserExited.Error()}
	case "unavailable":
		return &auth.Error{Code: "browser_unavailable", Message: "the browser could not be used; the operator can run latchpost browser check"}
	}
	return auth.ErrInvalid.Say("nothing came from the browser; open the link again")
}

// Revoke is not possible in general: sites have no common way to sign out.
func (c *Connector) Revoke(_ context.Context, f *auth.Flow, cred *auth.Credential) (told bool, err error) {
	if b, err := OpenBundle(cred.Session); err == nil {
		c.Pool.hangUp(b.in().ID)
	}
	return false, nil
}

var _ interface {
	auth.Connector
	auth.Needer
	auth.Carrier
	auth.Sequenced
	auth.Prober
	auth.Revoker
} = (*Connector)(nil)
