package auth

import (
	"context"
	"errors"
	"slices"

	"github.com/latchpost/latchpost/providers"
)

// lacking says why the person has to sign in again before conn can serve scopes; "" when it can, or when that would not help.
func (v *Vault) lacking(ctx context.Context, conn *Connection, scopes []string) (reason string, err error) {
	if v.signedOut(conn) {
		return ReasonReauth, nil
	}
	if len(scopes) == 0 {
		return "", nil
	}
	p, err := v.provider(conn.Provider)
	if err != nil {
		return "", err
	}
	if p.OAuth2 == nil || !needsApp(conn.Method) {
		return "", nil // keys and sessions have no scopes
	}
	always := slices.Concat(p.OAuth2.Scopes.Identity, p.OAuth2.Scopes.Offline) // whatever is named
	wanted := without(without(scopes, conn.Scopes), always)
	if len(wanted) == 0 {
		return "", nil
	}
	vain, known, err := v.inVain(ctx, conn, wanted)
	if err != nil || vain || !known && len(missingOf(p, conn, wanted)) == 0 { // who was never asked may have them without naming them
		return "", err
	}
	return InsufficientScope, nil
}

// signedOut reports whether conn serves nobody before the person signs in again.
func (v *Vault) signedOut(conn *Connection) bool {
	return conn.State == NeedsReauth || conn.State == Revoked || v.ended(conn)
}

// inVain reports whether the provider was asked for the scopes that conn does not have, when the person signed in last, and
// gave none of them. It is forgotten with the request, so that another link has its chance; then nothing is known.
func (v *Vault) inVain(ctx context.Context, conn *Connection, scopes []string) (vain, known bool, err error) {
	last, err := v.Requests.LastSignIn(ctx, conn.Owner, conn.ID)
	if errors.Is(err, ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	return len(without(without(scopes, conn.Scopes), last.Scopes)) == 0, true, nil
}

// without gives the scopes that are not in those.
func without(scopes, those []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(those, s) })
}

// missingOf are the scopes that conn does not have. Keys and sessions have no scopes.
func missingOf(p *providers.Provider, conn *Connection, scopes []string) []string {
	if p.OAuth2 == nil || !needsApp(conn.Method) || len(scopes) == 0 {
		return nil
	}
	return missingScopes(p.OAuth2, scopes, append([]string{}, conn.Scopes...)) // that none are named is known
}
