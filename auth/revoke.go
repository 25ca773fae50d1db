package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
)

// Revoke ends connections (all of the provider's accounts when there is one, the
// named one otherwise) or cancels a pending request. Local use stops first, then
// the provider is told; what cannot be told now is tried again later. It works
// when the audit log cannot be written.
func (v *Vault) Revoke(ctx context.Context, c Caller, u Unwanted) (*Ended, error) {
	if u.RequestID != "" {
		return v.cancel(ctx, c, u.RequestID)
	}
	conn, err := v.pick(ctx, c.Owner, u.Provider, u.Account)
	if errors.Is(err, ErrNotFound) {
		if _, err := v.provider(u.Provider); err != nil {
			return nil, err
		}
		return nil, ErrNotFound.Say("there is no connection to %s%s; list_connections shows those that exist", clip(u.Provider, 40), ofAccount(u.Account))
	}
	if err != nil {
		return nil, err
	}
	at, err := v.revoke(ctx, c, conn)
	if err != nil {
		return nil, err
	}
	return &Ended{Connections: []EndedConnection{{conn.Provider, conn.Account, at}}}, nil
}

func ofAccount(account string) string {
	if account == "" {
		return ""
	}
	return " with account " + clip(account, maxAccount)
}

func (v *Vault) cancel(ctx context.Context, c Caller, id string) (*Ended, error) {
	var was Request
	r, err := v.decideAnew(ctx, func() (*Request, error) { return v.ownRequest(ctx, c, id) }, func(r *Request) error {
		if r.State.Over() {
			return ErrUsed.Say("this request has ended already (%s)", r.State)
		}
		v.lament(ctx, requestEvent(r, "request.cancel", "allow"))
		was = *r
		r.State, r.Cause, r.Private, r.UpdatedAt = Declined, "cancelled", nil, v.now()
		return nil
	})
	if err != nil {
		return nil, unkept(err)
	}
	if was.State == Held { // its sign-in is on the list of revocations already
		if held, err := v.unhold(ctx, &was); err != nil {
			v.log().Error("a held sign-in does not open", "request", r.ID, "error", err)
		} else if err := v.unwanted(ctx, held); err != nil {
			return nil, err
		}
	}
	return &Ended{Request: r.ID}, nil
}

func (v *Vault) ownRequest(ctx context.Context, c Caller, id string) (*Request, error) {
	r, err := v.Requests.Request(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
		v.noteUnknown(c)
		err = errNoRequest
	case err == nil && r.Owner != c.Owner:
		v.noteForeign(c)
		err = errNoRequest
	}
	return r, err
}

// unkept says that ending something did not get to the disk, where it would count.
func unkept(err error) error {
	if _, known := errors.AsType[*Error](err); known {
		return err
	}
	return ErrAudit.Say("this could not be written to the store, so nothing has ended; try again in a minute, or end it at the provider").Because(err)
}

// lament records an event whose effect must happen all the same: stopping is
// never held up by a full disk.
func (v *Vault) lament(ctx context.Context, e Event) {
	if _, err := v.record(ctx, e); err != nil {
		v.log().Error("audit record not written", "kind", e.Kind, "connection", e.Connection, "error", err)
	}
}

// revoke kills conn locally and then tries once, for a short while, to tell the provider.
func (v *Vault) revoke(ctx context.Context, c Caller, conn *Connection) (atProvider string, err error) {
	ctx = context.WithoutCancel(ctx)
	v.lament(ctx, Event{Owner: c.Owner, Client: c.Client, Kind: "revoke", Provider: conn.Provider, Connection: conn.ID, Decision: "allow"})
	rev, conn, err := v.kill(ctx, conn)
	if rev != nil && err != nil && !errors.Is(err, ErrNotFound) {
		return "", v.tellOnly(ctx, rev, conn, err)
	}
	if err != nil {
		return "", unkept(err)
	}
	v.stopCalls(conn.ID)
	if err := v.orphanAnswer(ctx, conn); err != nil {
		v.log().Error("an answer that waited was not queued for revocation", "connection", conn.ID, "error", err)
	}
	if rev == nil {
		return LocalOnly, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return v.tell(ctx, rev), nil
}

// tellOnly has the provider end a connection that the store, for cause, cannot end.
func (v *Vault) tellOnly(ctx context.Context, rev *Revocation, conn *Connection, cause error) error {
	v.stopCalls(conn.ID)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	told, err := v.tellOnce(ctx, rev)
	v.note(Event{Owner: conn.Owner, Kind: "revoke.done", Provider: conn.Provider, Connection: conn.ID, Decision: "failed"})
	if err != nil || !told {
		return unkept(cause)
	}
	return ErrConfig.Say("%s is ended at %s, but not here, because Latchpost's store cannot be written; end it again when it can", conn.Account, conn.Provider).Because(cause)
}

// kill ends conn in the store, with the tokens that stand there now: a refresh may
// have renewed them since conn was read.
func (v *Vault) kill(ctx context.Context, conn *Connection) (*Revocation, *Connection, error) {
	for try := 0; ; try++ {
		rev, err := v.revocation(ctx, conn)
		if err != nil {
			v.log().Error("the provider cannot be told of a revocation", "connection", conn.ID, "error", err)
		}
		if rev != nil {
			rev.NextTryAt = v.now().Add(time.Minute) // the keeper's turn, should this process die now
			if rev.Version = conn.Version; try == 5 {
				rev.Version = 0 // ending it here matters most
			}
		}
		err = v.Revocations.RevokeConnection(ctx, conn.Owner, conn.ID, rev)
		if !errors.Is(err, ErrConflict) {
			return rev, conn, err
		}
		if conn, err = v.Connections.Connection(ctx, conn.Owner, conn.ID); err != nil {
			return nil, nil, err
		}
	}
}

// orphanAnswer has the provider forget the tokens of an answer that was kept and
// never committed.
func (v *Vault) orphanAnswer(ctx context.Context, conn *Connection) error {
	answer, sentAt, err := v.leftover(ctx, conn)
	if err != nil || answer == nil {
		return err
	}
	defer clear(answer)
	f, err := v.flow(ctx, conn)
	if err != nil {
		return err
	}
	old, err := v.openCredential(ctx, conn)
	if err != nil {
		return err
	}
	method, err := v.connector(conn.Method)
	if err != nil {
		return err
	}
	out, _ := method.(Refresher).Refreshed(f, old, answer, sentAt)
	return v.orphanTokens(ctx, conn, out)
}

// revocation prepares what the provider has to be told about conn; nil when its
// method has no way to say it.
func (v *Vault) revocation(ctx context.Context, conn *Connection) (*Revocation, error) {
	method, err := v.connector(conn.Method)
	if err != nil {
		return nil, err
	}
	if _, ok := method.(Revoker); !ok || conn.Sealed == nil {
		return nil, nil
	}
	cred, err := v.openCredential(ctx, conn)
	if err != nil {
		return nil, err
	}
	rev := &Revocation{
		ID: rand.Text(), Owner: conn.Owner, Provider: conn.Provider, Connection: conn.ID, Method: conn.Method,
		Vars: conn.Vars, Bind: conn.Bind, Salt: seal.NewSalt(), CreatedAt: v.now(), NextTryAt: v.now(),
	}
	plain, err := cred.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	rev.Sealed, err = v.Box.Seal(revocationPlace(rev), plain)
	return rev, err
}

func revocationPlace(rev *Revocation) seal.Place {
	return seal.Place{Table: "revocations", Org: rev.Owner.Org, User: rev.Owner.User, Record: rev.ID, Field: "credential", Bind: rev.Bind, Salt: rev.Salt}
}

// tell makes one attempt at the provider and ends the revocation or puts it off.
func (v *Vault) tell(ctx context.Context, rev *Revocation) string {
	told, err := v.tellOnce(ctx, rev)
	result := AtProviderRevoked
	switch {
	case err != nil:
		result = AtProviderUnknown
	case !told:
		result = LocalOnly
	}
	e := Event{Owner: rev.Owner, Kind: "revoke.done", Provider: rev.Provider, Connection: rev.Connection, Decision: "ok", Detail: map[string]string{"at_provider": result}}
	if err != nil {
		e.Decision = "failed"
	}
	v.note(e)
	var next time.Time
	if err != nil && rev.Attempts < maxRevokeTries {
		next = v.now().Add(min(time.Minute<<min(rev.Attempts, 10), 6*time.Hour))
	}
	if endErr := v.Revocations.EndRevocation(context.WithoutCancel(ctx), rev.ID, next); endErr != nil {
		v.log().Error("revocation not updated", "connection", rev.Connection, "error", endErr)
	}
	return result
}

const maxRevokeTries = 20

func (v *Vault) tellOnce(ctx context.Context, rev *Revocation) (told bool, err error) {
	c := &Connection{ID: rev.Connection, Owner: rev.Owner, Provider: rev.Provider, Method: rev.Method, Vars: rev.Vars, Bind: rev.Bind}
	f, err := v.flow(ctx, c)
	if err != nil {
		return false, err
	}
	plain, err := v.open(ctx, revocationPlace(rev), rev.Sealed)
	if err != nil {
		return false, err
	}
	defer clear(plain)
	cred, err := decodeCredential(plain)
	if err != nil {
		return false, err
	}
	method, err := v.connector(rev.Method)
	if err != nil {
		return false, err
	}
	revoker, ok := method.(Revoker)
	if !ok {
		return false, nil
	}
	told, err = revoker.Revoke(ctx, f, cred)
	if errors.Is(err, errForgotten) {
		return v.tellRenewed(ctx, rev, f, cred, revoker)
	}
	return told, err
}
