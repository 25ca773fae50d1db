package auth

import (
	"context"
	"errors"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
)

// tellRenewed ends a sign-in whose provider can be told the access token only, and knows the one of rev no more: the refresh
// token, which may live, is used once, and what it brings is revoked. The connection is ended here already, so nobody else
// renews it. From then on rev is the revocation of the new tokens.
func (v *Vault) tellRenewed(ctx context.Context, rev *Revocation, f *Flow, cred *Credential, method Revoker) (told bool, err error) {
	refresher, ok := method.(Refresher)
	if !ok {
		return false, errForgotten
	}
	defer v.lasting()()
	whole := context.WithoutCancel(ctx) // the answer must not be lost; the request has a bound of its own
	sentAt := v.now()
	answer, err := refresher.Refresh(whole, f, cred)
	if err != nil {
		return false, err
	}
	out, err := refresher.Refreshed(f, cred, answer, sentAt)
	clear(answer)
	if errors.Is(err, ErrReauth) {
		if rev.Attempts == 0 {
			return true, nil // both tokens are dead
		}
		return false, ErrUnavailable.Say("%s accepts neither token any more, and an earlier try may have renewed them; end the sign-in on its own site", f.Provider.Name).Because(err)
	}
	if err != nil {
		return false, err
	}
	if err := v.supersede(whole, rev, out.Credential); err != nil {
		v.log().Error("renewed tokens are not on the list of revocations", "connection", rev.Connection, "error", err)
	}
	return method.Revoke(ctx, f, out.Credential)
}

// supersede puts the revocation of cred on the list in the place of rev, whose tokens are used up.
func (v *Vault) supersede(ctx context.Context, rev *Revocation, cred *Credential) error {
	c := &Connection{ID: rev.Connection, Owner: rev.Owner, Provider: rev.Provider, Method: rev.Method, Vars: rev.Vars, Bind: rev.Bind, Salt: seal.NewSalt(), Version: 1}
	if err := v.sealCredential(c, cred); err != nil {
		return err
	}
	next, err := v.revocation(ctx, c)
	if err != nil {
		return err
	}
	next.Attempts, next.NextTryAt = rev.Attempts, v.now().Add(time.Minute) // as in kill
	if err := v.Revocations.AddRevocation(ctx, *next); err != nil {
		return err
	}
	used := rev.ID
	*rev = *next
	return v.Revocations.EndRevocation(ctx, used, time.Time{})
}
