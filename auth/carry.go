package auth

import (
	"context"
	"errors"

	"github.com/latchpost/latchpost/auth/egress"
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
	if err != nil {
		return err
	}
	a.resp = resp
	if rolled == nil {
		return nil
	}
	a.secrets = append(a.secrets, a.carrier.Secrets(rolled)...)                 // the answer may tell the new ones
	if err := v.saveRolled(context.WithoutCancel(ctx), a, rolled); err != nil { // the API has acted: its answer goes to the agent all the same
		v.log().Error("rolled session not stored", "connection", a.conn.ID, "error", err)
	}
	return nil
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
