package auth

import (
	"context"
	"errors"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Sequenced is a Carrier whose credentials know which of two is the later state of
// the same session.
type Sequenced interface {
	// Newer reports whether a is a later state than b.
	Newer(a, b *Credential) bool
}

// carry lets the connector send the request itself, and keeps the session as the
// site changed it.
func (v *Vault) carry(ctx context.Context, a *sending, cred *Credential, out egress.Request) error {
	a.left = true
	resp, rolled, err := a.carrier.Carry(ctx, a.flow, cred, out)
	if rolled != nil { // by a call that failed, too
		a.secrets = append(a.secrets, a.carrier.Secrets(rolled)...) // the answer may tell the new ones
		v.keepRolled(ctx, a, rolled)
	}
	if err != nil {
		return err
	}
	a.resp = resp
	return nil
}

// probe asks whether a credential still works, and keeps a session as the site changed it on that occasion. That it is
// asked is on disk first, and a clear no follows; where the definition has nothing to ask, nothing is sent and nothing on record but that.
func (v *Vault) probe(ctx context.Context, p Prober, a *sending, cred *Credential) error {
	e := Event{Owner: a.conn.Owner, Kind: "probe", Provider: a.conn.Provider, Connection: a.conn.ID, Decision: "allow"}
	if probeSends(a.flow.Provider, a.conn.Method) {
		if _, err := v.record(ctx, e); err != nil {
			return err
		}
	}
	rolled, err := p.Probe(ctx, a.flow, cred)
	if rolled != nil {
		v.keepRolled(ctx, a, rolled)
	}
	if errors.Is(err, ErrReauth) {
		e.Decision = "failed"
		v.note(e)
	}
	return err
}

// probeSends reports whether a probe of the method is a request. Without one in the definition a key counts as alive,
// and a session until its cookies end.
func probeSends(p *providers.Provider, method string) bool {
	switch method {
	case MethodAPIKey:
		return p.APIKey != nil && p.APIKey.Verify != nil
	case MethodBrowser:
		return p.Browser != nil && p.Browser.Probe != nil
	}
	return true
}

// keepRolled stores a rolled session. When that fails the site has acted all the same, so its answer counts.
func (v *Vault) keepRolled(ctx context.Context, a *sending, rolled *Credential) {
	if err := v.saveRolled(context.WithoutCancel(ctx), a, rolled); err != nil {
		v.log().Error("rolled session not stored", "connection", a.conn.ID, "error", err)
	}
}

// saveRolled writes back a session that the site rolled. When another call was
// quicker, the later state of the two is kept: an old cookie never comes back.
func (v *Vault) saveRolled(ctx context.Context, a *sending, rolled *Credential) error {
	for {
		next := *a.conn
		next.Version++ // sealed for the generation that it becomes
		if err := v.sealCredential(&next, rolled); err != nil {
			return err
		}
		next.Version = a.conn.Version
		err := v.Connections.SaveSealed(ctx, &next)
		if err == nil {
			a.conn = &next
			return nil
		}
		order, ordered := a.carrier.(Sequenced)
		if !errors.Is(err, ErrConflict) || !ordered {
			return ignoreConflict(err)
		}
		now, err := v.Connections.Connection(ctx, a.conn.Owner, a.conn.ID)
		if err != nil || now.State == Revoked || now.Version == a.conn.Version {
			return err
		}
		stored, err := v.openCredential(ctx, now)
		if err != nil || !order.Newer(rolled, stored) {
			return err
		}
		a.conn = now
	}
}

// ignoreConflict: without an order, who came first is as new as who came second.
func ignoreConflict(err error) error {
	if errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}
