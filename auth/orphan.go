package auth

import (
	"context"
	"crypto/rand"
	"slices"

	"github.com/latchpost/latchpost/auth/seal"
)

// orphan queues a credential that must not be used for revocation at the provider.
func (v *Vault) orphan(ctx context.Context, c *Connection) error {
	rev, err := v.revocation(ctx, c)
	if err != nil || rev == nil {
		return err
	}
	return v.Revocations.AddRevocation(ctx, *rev)
}

// orphanTokens is orphan for what the provider gave c and c does not take. A nil out is nothing.
func (v *Vault) orphanTokens(ctx context.Context, c *Connection, out *Outcome) error {
	if out == nil {
		return nil
	}
	next := *c
	if err := v.sealCredential(&next, out.Credential); err != nil {
		return err
	}
	return v.orphan(ctx, &next)
}

// discard has the provider forget a sign-in that is not wanted, or failed after it had given tokens. A nil out is nothing.
func (v *Vault) discard(ctx context.Context, r *Request, out *Outcome) error {
	if out == nil {
		return nil
	}
	rev, err := v.signInRevocation(ctx, r, out)
	if err != nil || rev == nil {
		return err
	}
	return v.Revocations.AddRevocation(ctx, *rev)
}

// discardBeside has the provider forget the tokens that came beside those of out, whatever became of these. The owner's other
// connections to it may hold the same ones, for there are providers that give a token twice: then they stay.
func (v *Vault) discardBeside(ctx context.Context, r *Request, out *Outcome) {
	if out == nil || len(out.Beside) == 0 {
		return
	}
	held, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "")
	if err == nil && slices.ContainsFunc(held, func(c Connection) bool { return c.ID != r.Connection }) {
		return
	}
	for i := 0; err == nil && i < len(out.Beside); i++ {
		err = v.discard(ctx, r, &Outcome{Credential: out.Beside[i], Vars: out.Vars})
	}
	if err != nil {
		v.log().Error("tokens that came beside a sign-in are not on the list of revocations", "request", r.ID, "error", err)
	}
}

// signInRevocation is what ends an outcome at its provider; nil when nothing does.
func (v *Vault) signInRevocation(ctx context.Context, r *Request, out *Outcome) (*Revocation, error) {
	vars, bound, err := v.resolved(r, out)
	if err != nil {
		return nil, err
	}
	c := &Connection{ID: rand.Text(), Owner: r.Owner, Provider: r.Provider, Method: r.Method, Vars: vars, Bind: bound, Salt: seal.NewSalt(), Version: 1}
	if err := v.sealCredential(c, out.Credential); err != nil {
		return nil, err
	}
	return v.revocation(ctx, c)
}
