package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/providers"
)

// redeem lets the connector finish a claimed request and stores what comes of it.
// It does not end when the browser goes away, and the process does not before it: a code that was sent must not be lost.
func (v *Vault) redeem(ctx context.Context, r *Request, in Input) error {
	defer v.lasting()()
	ctx = context.WithoutCancel(ctx)
	asking, cancel := context.WithTimeout(ctx, redeemTime)
	defer cancel()
	out, err := v.finish(asking, r, in)
	ctx, cancel = context.WithTimeout(ctx, storeTime)
	defer cancel()
	defer v.discardBeside(ctx, r, out)
	if err != nil {
		return errors.Join(v.fail(ctx, r, err), v.discard(ctx, r, out))
	}
	return v.complete(ctx, r, out)
}

func (v *Vault) finish(ctx context.Context, r *Request, in Input) (*Outcome, error) {
	conn, err := v.connector(r.Method)
	if err != nil {
		return nil, err
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return nil, err
	}
	if p, err = p.Resolve(r.Vars); err != nil {
		return nil, ErrConfig.Say("the definition of %s changed meanwhile; ask the agent for a new link", p.Name).Because(err)
	}
	f, err := v.requestFlow(ctx, r, p)
	if err != nil {
		return nil, err
	}
	f.received = func(ctx context.Context, out *Outcome) { v.keepOutcome(ctx, r, out) }
	return conn.Finish(ctx, f, in)
}

// keepOutcome seals what a request brought into it, so that, should this process die before it is stored, another
// one can tell the provider to forget it; one that is polled is claimed with it. Where that does not work the sign-in goes on all the same.
func (v *Vault) keepOutcome(ctx context.Context, r *Request, out *Outcome) {
	plain, err := v.encodeOutcome(r, out, heldOutcome{})
	if err == nil {
		defer clear(plain)
		var private []byte
		if private, err = v.sealedPrivate(r, plain); err == nil {
			err = v.move(ctx, r, func(r *Request) {
				r.State, r.UpdatedAt, r.NextPollAt, r.Private = Claimed, v.now(), time.Time{}, private
			})
		}
	}
	if err != nil && !errors.Is(err, ErrConflict) { // cancelled meanwhile
		v.log().Error("tokens of a sign-in not kept", "request", r.ID, "error", err)
	}
}

// discardKept has the provider forget what a request brought whose process died. There may be nothing yet.
func (v *Vault) discardKept(ctx context.Context, r *Request) error {
	if len(r.Private) == 0 {
		return nil
	}
	if needsApp(r.Method) {
		kept, err := v.unhold(ctx, r)
		switch {
		case err != nil:
		case kept.Revocation != "": // it died while a held sign-in was settled
			err = v.unwanted(ctx, kept)
		case kept.Outcome.Credential != nil && v.goodHere(r, kept):
			err = v.discard(ctx, r, &kept.Outcome)
		}
		if err != nil {
			return err
		}
	}
	return v.move(ctx, r, func(r *Request) { r.Private = nil })
}

// fail ends a request with one of a fixed set of causes. A form that was filled in
// wrongly may be filled in again.
func (v *Vault) fail(ctx context.Context, r *Request, err error) error {
	var known *Error
	cause := "internal"
	if errors.As(err, &known) {
		cause = known.Code
	}
	state := Failed
	if errors.Is(err, ErrDeclined) {
		state = Declined
	}
	form := r.Method == MethodAPIKey || r.Method == MethodBrowser
	if form && (errors.Is(err, ErrInvalid) || errors.Is(err, ErrRefused) || errors.Is(err, ErrUnavailable)) {
		state = Redirected
	}
	moveErr := v.move(ctx, r, func(r *Request) {
		r.State, r.Cause, r.UpdatedAt = state, cause, v.now()
		if state.Over() {
			r.Private = nil
		}
	})
	if !errors.Is(moveErr, ErrConflict) { // else it has ended otherwise, or was begun anew
		e := requestEvent(r, "request.fail", "failed")
		e.Detail = map[string]string{"cause": cause}
		v.note(e)
	}
	if moveErr != nil {
		return errors.Join(err, moveErr)
	}
	return err
}

// complete stores the outcome of a sign-in: as a new connection, as a new
// generation of the one it renews, or held when it is good for several places, or the person
// signed in as somebody else than the request was about.
func (v *Vault) complete(ctx context.Context, r *Request, out *Outcome) error {
	return v.completeAs(ctx, r, out, v.target)
}

// completeAs stores the outcome as the connection that target names. A connection that
// was renewed meanwhile, or lost its label to another sign-in, is looked at again; what
// cannot be stored the provider is told to forget, unless nobody can tell whether it is.
func (v *Vault) completeAs(ctx context.Context, r *Request, out *Outcome, target func(context.Context, *Request, *Outcome) (*Connection, error)) error {
	if out.Places != nil {
		return v.hold(ctx, r, out, HeldPlaces)
	}
	for try := 0; ; try++ {
		c, err := target(ctx, r, out)
		if errors.Is(err, errOtherAccount) {
			cause := HeldOther
			if v.unconfirmed(r) {
				cause = HeldUnconfirmed
			}
			return v.hold(ctx, r, out, cause)
		}
		if err == nil {
			err = v.store(ctx, r, c, out)
			if errors.Is(err, ErrConflict) && try < 5+v.openRequests() && v.stillWanted(ctx, r, c) { // any other open one may be first
				continue
			}
		}
		if err == nil {
			return nil
		}
		if _, known := errors.AsType[*Error](err); !known && c != nil {
			// It may be stored all the same: the answer of the store was lost. What works must not be revoked.
			now, readErr := v.Requests.Request(ctx, r.ID)
			if readErr != nil {
				return errors.Join(err, readErr)
			}
			if now.State == Stored && now.Connection == c.ID {
				*r = *now
				return nil
			}
		}
		if errors.Is(err, ErrConflict) {
			v.note(requestEvent(r, "connection.orphan", "deny"))
			err = ErrConflict.Say("the request was cancelled meanwhile; nothing was stored, and the provider is told to forget the sign-in")
		}
		return errors.Join(v.fail(ctx, r, err), v.discard(ctx, r, out))
	}
}

// stillWanted reports whether neither r was cancelled nor c revoked. Then r may be written again.
func (v *Vault) stillWanted(ctx context.Context, r *Request, c *Connection) bool {
	now, err := v.Requests.Request(ctx, r.ID)
	if err != nil || now.State.Over() || !sameSignIn(now, r) {
		return false
	}
	r.Moves = now.Moves
	held, err := v.Connections.Connection(ctx, c.Owner, c.ID)
	return errors.Is(err, ErrNotFound) || err == nil && held.State != Revoked
}

var errOtherAccount = errors.New("signed in as another account")

// target decides which connection an outcome becomes.
func (v *Vault) target(ctx context.Context, r *Request, out *Outcome) (*Connection, error) {
	held, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "")
	if err != nil {
		return nil, err
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return nil, err
	}
	there := inSamePlace(p, r, out)
	if r.Renews != "" {
		i := slices.IndexFunc(held, func(c Connection) bool { return c.ID == r.Renews })
		if i >= 0 && (held[i].AccountID != out.AccountID || !there(held[i]) || len(narrowed(p, r, out, &held[i])) > 0) {
			return nil, errOtherAccount
		}
		if i >= 0 {
			return &held[i], nil
		}
	}
	if i := slices.IndexFunc(held, isFor(p, r, out)); i >= 0 { // a re-login of an account that is here already renews it
		return renewed(p, r, out, &held[i])
	}
	return v.another(r, out, held), nil
}

// isFor reports whether a connection is of the account that a sign-in is of, in the same place. Where the provider told no id, none is.
func isFor(p *providers.Provider, r *Request, out *Outcome) func(Connection) bool {
	there := inSamePlace(p, r, out)
	told := out.AccountID != "" && !strings.HasPrefix(out.AccountID, namedOnly)
	return func(c Connection) bool {
		return told && c.AccountID == out.AccountID && c.Method == r.Method && there(c)
	}
}

// renewed is c, of the account that a sign-in is of. Where it would lose scopes, for which another client has use, the person is asked.
func renewed(p *providers.Provider, r *Request, out *Outcome, c *Connection) (*Connection, error) {
	if len(narrowed(p, r, out, c)) > 0 {
		r.Renews = c.ID
		return nil, errOtherAccount
	}
	return c, nil
}

// another is a connection beside those that are held.
func (v *Vault) another(r *Request, out *Outcome, held []Connection) *Connection {
	label := freeLabel(held, orDefault(r.Account, out.Account))
	return &Connection{ID: rand.Text(), Owner: r.Owner, Provider: r.Provider, Account: label, CreatedAt: v.now()}
}

// narrowed are the scopes that c has, that r did not ask for and out did not bring. A request that renews c asks for all it
// has: what the person took away there is meant.
func narrowed(p *providers.Provider, r *Request, out *Outcome, c *Connection) []string {
	if p.OAuth2 == nil || !needsApp(r.Method) || c.State == NeedsReauth {
		return nil
	}
	return missingScopes(p.OAuth2, c.Scopes, slices.Concat([]string{}, r.Scopes, out.Scopes))
}

// inSamePlace reports whether a connection is for the instance, company, site or tenant that a sign-in is for. An id is
// a provider's own: elsewhere it is somebody else's, or the same person's other books.
func inSamePlace(p *providers.Provider, r *Request, out *Outcome) func(Connection) bool {
	return func(c Connection) bool {
		return !askedElsewhere(p, r, out, c) && !toldElsewhere(p, out, c) && len(movedTo(lookedUp(p), out, c)) == 0
	}
}

// askedElsewhere reports whether the answers to the definition's questions differ.
func askedElsewhere(p *providers.Provider, r *Request, out *Outcome, c Connection) bool {
	for name, x := range p.Vars {
		now := orDefault(out.Vars[name], orDefault(r.Vars[name], x.Default))
		if orDefault(c.Vars[name], x.Default) != now {
			return true
		}
	}
	return false
}

// toldElsewhere reports whether the provider named another place in the callback or in the token answer.
func toldElsewhere(p *providers.Provider, out *Outcome, c Connection) bool {
	return len(movedTo(told(p), out, c)) > 0
}

// movedTo gives what out has of names where c has something else. What one of them does not say tells nothing:
// definitions learn to keep more.
func movedTo(names []string, out *Outcome, c Connection) (moved []string) {
	for _, name := range names {
		if before, now := c.Vars[name], out.Vars[name]; before != "" && now != "" && before != now {
			moved = append(moved, now)
		}
	}
	return moved
}

// told are the variables in which a provider says, with the code or the tokens, which place they are for.
func told(p *providers.Provider) (names []string) {
	if p.OAuth2 == nil {
		return nil
	}
	for name, x := range p.OAuth2.Callback.Capture {
		if !x.Secret {
			names = append(names, name)
		}
	}
	for name, x := range p.OAuth2.Response.Keep {
		if x.Place {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// lookedUp are the variables of the places that one sign-in may have several of: it is for one of them.
func lookedUp(p *providers.Provider) (names []string) {
	if p.OAuth2 == nil {
		return nil
	}
	for _, a := range p.OAuth2.After {
		names = append(names, a.Store)
	}
	return names
}

// freeLabel is the label, made plain, or with a number when another connection has it, or one that looks like it.
func freeLabel(held []Connection, label string) string {
	label = orDefault(plainLabel(label), "default")
	taken := func(l string) bool {
		return slices.ContainsFunc(held, func(c Connection) bool { return providers.Lookalike(c.Account, l) })
	}
	free := label
	for n := 2; taken(free); n++ {
		free = fmt.Sprintf("%s %d", label, n)
	}
	return free
}

// store seals the outcome as the next generation of c and completes the request,
// with the grant that the person chose for the client that asked.
func (v *Vault) store(ctx context.Context, r *Request, c *Connection, out *Outcome) error {
	p, err := v.provider(r.Provider)
	if err != nil {
		return err
	}
	now := v.now()
	vars := cloneVars(r.Vars)
	maps.Copy(vars, out.Vars)
	resolved, err := p.Resolve(vars)
	if err != nil {
		return ErrRefused.Say("%s sent a value that its definition does not allow; nothing was stored", p.Name).Because(err)
	}
	if c.Hosts, err = reach(resolved, r.Method, vars); err != nil {
		return ErrRefused.Say("%s sent an address that its definition does not allow; nothing was stored", p.Name).Because(err)
	}
	c.Vars, c.Bind, c.Method = vars, bind(resolved, r.Method), r.Method
	c.State, c.Cause, c.UpdatedAt, c.IssuedAt = Active, "", now, now
	c.Salt = seal.NewSalt()
	c.Version++
	c.Refresh = RefreshState{Fence: c.Refresh.Fence, DeadVersion: v.lastOf(c, resolved, out.Credential)}
	c.Scopes = out.Scopes
	if c.Scopes == nil {
		c.Scopes = r.Scopes
	}
	c.AccountID = orDefault(out.AccountID, c.AccountID)
	c.ExpiresAt, c.RefreshExpiresAt = out.ExpiresAt, out.RefreshExpiresAt
	if err := v.sealCredential(c, out.Credential); err != nil {
		return err
	}
	e := requestEvent(r, "connection.store", "allow")
	e.Connection, e.Detail = c.ID, map[string]string{"account": c.Account, "scopes": strings.Join(c.Scopes, " "), "access": r.Access}
	if _, err := v.record(ctx, e); err != nil {
		return err
	}
	grant := Grant{ID: rand.Text(), Owner: r.Owner, Client: r.Client, ClientName: r.ClientName, Connection: c.ID, Kind: Use, Access: orDefault(r.Access, Read), CreatedAt: now, Origin: "request:" + r.ID}
	stored := *r
	stored.State, stored.Cause, stored.Connection, stored.Private, stored.UpdatedAt = Stored, "", c.ID, nil, now
	stored.Scopes = without(r.Scopes, c.Scopes)
	if err := v.Requests.CompleteRequest(ctx, &stored, c, []Grant{grant}); err != nil {
		return err
	}
	*r = stored
	return nil
}
