package auth

import (
	"context"
	"errors"
	"slices"
	"time"
)

// ScopeRelease is what a caller's token needs before a raw credential goes out,
// whatever the owner granted to its client.
const ScopeRelease = "latchpost:release"

// Get gives a handle for a connection that is ready, and the raw credential only
// where the owner (a release grant) or whoever started the process (Release)
// allowed it, and the caller's token has ScopeRelease. The error is *AuthRequired or *ApprovalRequired when a person has
// to act first; asking with Need.Raw is how an agent asks for a release grant,
// which only the owner can give. Every decision is on record, once.
func (v *Vault) Get(ctx context.Context, c Caller, n Need) (*Handle, error) {
	e := Event{Owner: c.Owner, Client: c.Client, Kind: "credential.handle", Provider: clip(n.Provider, 40), Decision: "allow"}
	if n.Raw {
		e.Kind = "credential.release"
	}
	conn, grants, err := v.usable(ctx, c, n.Provider, n.Account, n.Scopes)
	if err != nil {
		return nil, v.withhold(e, wordFor(err), err)
	}
	e.Provider, e.Connection = conn.Provider, conn.ID
	h := &Handle{Info: *v.infoWith(c, conn, grants), Handle: "latchpost:" + conn.Provider + "/" + conn.Account}
	if len(n.Scopes) > 0 {
		p, err := v.provider(conn.Provider)
		if err != nil {
			return nil, v.withhold(e, wordFor(err), err)
		}
		h.Missing = missingOf(p, conn, n.Scopes)
	}
	if n.Raw || h.Release {
		e.Kind, e.Detail = "credential.release", map[string]string{"form": clip(n.Form, 20)}
	}
	switch {
	case n.Raw && !c.holds(ScopeRelease):
		return nil, v.withhold(e, RuleToken, ErrDenied.Say("this token lacks the scope %s; sign in to Latchpost again with it, or use call_api", ScopeRelease))
	case n.Raw && !h.Release:
		return nil, v.askFor(ctx, c, conn, e, Approval{Kind: Release, Why: RuleRelease})
	case h.Access == "" && !h.Release:
		return nil, v.askFor(ctx, c, conn, e, Approval{Kind: Use, Why: RuleNoGrant})
	case !h.Release:
		_, err := v.record(ctx, e)
		return h, err
	}
	asked, waited := conn, v.due(conn)
	if conn, err = v.fresh(ctx, conn, false); err != nil {
		err = v.mustReauth(ctx, c, n, err)
		return nil, v.withhold(e, wordFor(err), err)
	}
	if waited {
		if conn, err = v.releasable(ctx, c, asked, h); err != nil {
			return nil, v.withhold(e, wordFor(err), err)
		}
		reason, err := v.lacking(ctx, conn, n.Scopes)
		if err == nil && reason == InsufficientScope { // the provider may have narrowed them
			err = v.askAgain(ctx, c, Wish{Provider: n.Provider, Account: n.Account, Scopes: n.Scopes}, conn, InsufficientScope)
		}
		if err != nil {
			return nil, v.withhold(e, wordFor(err), err)
		}
	}
	id, err := v.record(ctx, e) // on disk before the secret is even opened
	if err != nil {
		return nil, err
	}
	if conn, err = v.releasable(ctx, c, conn, h); err == nil { // the record takes its time
		h.Released, err = v.release(ctx, conn, n)
	}
	if err != nil { // the record says that it went out
		v.note(Event{
			Of: id, Owner: c.Owner, Client: c.Client, Kind: "credential.done", Provider: e.Provider, Connection: e.Connection, Decision: "failed",
			Detail: map[string]string{"cause": wordFor(err)},
		})
		return nil, err
	}
	v.touch(conn)
	return h, nil
}

// releasable gives conn as it is now, and h what is known of it, unless its credential may not go out to the caller any more.
func (v *Vault) releasable(ctx context.Context, c Caller, conn *Connection, h *Handle) (*Connection, error) {
	now, err := v.asItStands(ctx, conn, RuleRelease)
	if err != nil {
		return now, err
	}
	info, err := v.info(ctx, c, now)
	switch {
	case err != nil:
		return now, err
	case !info.Release:
		return now, errMeanwhile
	}
	info.Missing = h.Missing
	h.Info = *info
	return now, nil
}

// holds reports whether the caller's token has a scope.
func (c Caller) holds(scope string) bool { return c.Scopes == nil || slices.Contains(c.Scopes, scope) }

// askFor notes that something was refused and asks the owner for it.
func (v *Vault) askFor(ctx context.Context, c Caller, conn *Connection, e Event, a Approval) error {
	p, err := v.provider(conn.Provider)
	if err != nil {
		return v.withhold(e, wordFor(err), err)
	}
	return v.withhold(e, a.Why, v.askApproval(ctx, c, p, conn, a))
}

// withhold notes that nothing was given, by which rule, and gives err.
func (v *Vault) withhold(e Event, rule string, err error) error {
	e.Decision, e.Detail = "deny", map[string]string{"rule": rule}
	v.note(e)
	return err
}

// usable finds the connection and everything the caller's client was granted on
// it; *AuthRequired when the person has to sign in first.
func (v *Vault) usable(ctx context.Context, c Caller, provider, account string, scopes []string) (*Connection, []Grant, error) {
	if err := checkScopes(scopes); err != nil {
		return nil, nil, err
	}
	conn, grants, err := v.granted(ctx, c, provider, account)
	wish := Wish{Provider: provider, Account: account, Scopes: scopes}
	if errors.Is(err, ErrNotFound) {
		p, err := v.provider(provider)
		if err != nil {
			return nil, nil, err
		}
		return nil, nil, v.ask(ctx, c, p, wish, nil, NotConnected)
	}
	if err != nil {
		return nil, nil, err
	}
	reason, err := v.lacking(ctx, conn, scopes)
	if err != nil {
		return nil, nil, err
	}
	if reason != "" && !(reason == ReasonReauth && v.outlasts(conn)) {
		return nil, nil, v.askAgain(ctx, c, wish, conn, reason)
	}
	return conn, grants, nil
}

func (v *Vault) askAgain(ctx context.Context, c Caller, w Wish, conn *Connection, reason string) error {
	p, err := v.provider(conn.Provider)
	if err != nil {
		return err
	}
	return v.ask(ctx, c, p, w, conn, reason)
}

// mustReauth turns a dead sign-in into the link that mends it.
func (v *Vault) mustReauth(ctx context.Context, c Caller, n Need, err error) error {
	if !errors.Is(err, ErrReauth) {
		return err
	}
	conn, pickErr := v.pick(ctx, c.Owner, n.Provider, n.Account)
	if pickErr != nil {
		return errors.Join(err, pickErr)
	}
	return v.askAgain(ctx, c, Wish{Provider: n.Provider, Account: n.Account, Scopes: n.Scopes}, conn, ReasonReauth)
}

const releaseWarning = "This is the credential itself. Keep it out of files, logs and messages; call_api does the same without it."

// release opens the credential and gives the part that may leave: never a refresh token.
func (v *Vault) release(ctx context.Context, conn *Connection, n Need) (*Released, error) {
	cred, err := v.openCredential(ctx, conn)
	if err != nil {
		return nil, err
	}
	method, err := v.connector(conn.Method)
	if err != nil {
		return nil, err
	}
	if carrier, ok := method.(Carrier); ok {
		f, err := v.flow(ctx, conn)
		if err != nil {
			return nil, err
		}
		return carrier.Release(f, cred, n.Form, n.URL)
	}
	if n.Form != "" {
		return nil, ErrInvalid.Say("form is for browser logins; leave it out for %s", conn.Provider)
	}
	if conn.Method == MethodAPIKey {
		return &Released{Type: "api_key", Fields: cred.Fields, Warning: releaseWarning}, nil
	}
	return &Released{Type: "bearer", Value: cred.AccessToken, ExpiresAt: conn.ExpiresAt, Warning: releaseWarning}, nil
}

// touch notes the use, to the minute.
func (v *Vault) touch(conn *Connection) {
	now := v.now().Truncate(time.Minute)
	if !now.After(conn.LastUsedAt) {
		return
	}
	if err := v.Connections.Touch(context.Background(), conn.Owner, conn.ID, now); err != nil {
		v.log().Warn("last use not noted", "connection", conn.ID, "error", err)
	}
}
