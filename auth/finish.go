package auth

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth/seal"
)

// redeem lets the connector finish a claimed request and stores what comes of it.
// It does not end when the browser goes away: a code that was sent must not be lost.
func (v *Vault) redeem(ctx context.Context, r *Request, in Input) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redeemTime)
	defer cancel()
	out, err := v.finish(ctx, r, in)
	if err != nil {
		return v.fail(ctx, r, in, err)
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
	return conn.Finish(ctx, f, in)
}

// fail ends a request with one of a fixed set of causes. A form that was filled in
// wrongly may be filled in again.
func (v *Vault) fail(ctx context.Context, r *Request, in Input, err error) error {
	var known *Error
	cause := "internal"
	if errors.As(err, &known) {
		cause = known.Code
	}
	from := r.State
	r.State, r.Cause, r.UpdatedAt = Failed, cause, v.now()
	if errors.Is(err, ErrDeclined) {
		r.State = Declined
	}
	if in.Query == nil && (errors.Is(err, ErrInvalid) || errors.Is(err, ErrRefused) || errors.Is(err, ErrUnavailable)) && r.Method != MethodClientCredentials && r.Method != MethodDeviceCode {
		r.State = Redirected
	}
	e := requestEvent(r, "request.fail", "failed")
	e.Detail = map[string]string{"cause": cause}
	v.note(e)
	if moveErr := v.Requests.MoveRequest(ctx, r, from); moveErr != nil {
		return errors.Join(err, moveErr)
	}
	return err
}

// complete stores the outcome of a sign-in: as a new connection, as a new
// generation of the one it renews, or held when the person signed in as somebody
// else than the request was about.
func (v *Vault) complete(ctx context.Context, r *Request, out *Outcome) error {
	c, err := v.target(ctx, r, out)
	if errors.Is(err, errOtherAccount) {
		return v.hold(ctx, r, out)
	}
	if err != nil {
		return v.fail(ctx, r, Input{}, err)
	}
	return v.store(ctx, r, c, out)
}

var errOtherAccount = errors.New("signed in as another account")

// target decides which connection an outcome becomes.
func (v *Vault) target(ctx context.Context, r *Request, out *Outcome) (*Connection, error) {
	held, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "")
	if err != nil {
		return nil, err
	}
	if r.Renews != "" {
		i := slices.IndexFunc(held, func(c Connection) bool { return c.ID == r.Renews })
		if i >= 0 && held[i].AccountID != out.AccountID && held[i].AccountID != "" {
			return nil, errOtherAccount
		}
		if i >= 0 {
			return &held[i], nil
		}
	}
	if out.AccountID != "" { // a re-login of an account that is here already renews it
		if i := slices.IndexFunc(held, func(c Connection) bool { return c.AccountID == out.AccountID && c.Method == r.Method }); i >= 0 {
			return &held[i], nil
		}
	}
	label := freeLabel(held, orDefault(r.Account, orDefault(out.Account, "default")))
	return &Connection{ID: rand.Text(), Owner: r.Owner, Provider: r.Provider, Account: label, CreatedAt: v.now()}, nil
}

func freeLabel(held []Connection, label string) string {
	taken := func(l string) bool {
		return slices.ContainsFunc(held, func(c Connection) bool { return c.Account == l })
	}
	free := label
	for n := 2; taken(free); n++ {
		free = fmt.Sprintf("%s (%d)", label, n)
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
	vars := maps.Clone(r.Vars)
	if vars == nil {
		vars = map[string]string{}
	}
	maps.Copy(vars, out.Vars)
	resolved, err := p.Resolve(vars)
	if err != nil {
		return v.fail(ctx, r, Input{}, ErrRefused.Say("%s sent a value that its definition does not allow; nothing was stored", p.Name).Because(err))
	}
	if c.Hosts, err = resolved.Hosts(vars); err != nil {
		return v.fail(ctx, r, Input{}, ErrRefused.Say("%s sent an address that its definition does not allow; nothing was stored", p.Name).Because(err))
	}
	c.Vars, c.Bind, c.Method = vars, bind(resolved, r.Method), r.Method
	c.State, c.Cause, c.UpdatedAt, c.IssuedAt = Active, "", now, now
	c.Salt = seal.NewSalt()
	c.Version++
	c.Refresh = RefreshState{Fence: c.Refresh.Fence}
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
		return v.fail(ctx, r, Input{}, err)
	}
	grant := Grant{ID: rand.Text(), Owner: r.Owner, Client: r.Client, Connection: c.ID, Kind: Use, Access: orDefault(r.Access, Read), CreatedAt: now, Origin: "request:" + r.ID}
	r.State, r.Cause, r.Connection, r.Private, r.UpdatedAt = Stored, "", c.ID, nil, now
	err = v.Requests.CompleteRequest(ctx, r, c, []Grant{grant})
	if errors.Is(err, ErrConflict) { // revoked or cancelled while the provider answered: what came is an orphan
		v.note(requestEvent(r, "connection.orphan", "deny"))
		return errors.Join(ErrConflict.Say("the request was cancelled meanwhile; nothing was stored, and the provider is told to forget the sign-in"), v.orphan(ctx, c))
	}
	return err
}

// orphan queues a credential that must not be used for revocation at the provider.
func (v *Vault) orphan(ctx context.Context, c *Connection) error {
	rev, err := v.revocation(ctx, c)
	if err != nil || rev == nil {
		return err
	}
	return v.Revocations.AddRevocation(ctx, *rev)
}

// heldOutcome is what a held request keeps, sealed.
type heldOutcome struct {
	Credential []byte
	Outcome    Outcome
}

// hold keeps the outcome until the person says what to do with the other account.
// The old credential stays as it is.
func (v *Vault) hold(ctx context.Context, r *Request, out *Outcome) error {
	cred, err := out.Credential.encode()
	if err != nil {
		return err
	}
	rest := *out
	rest.Credential = nil
	plain, err := json.Marshal(heldOutcome{cred, rest})
	if err != nil {
		return err
	}
	defer clear(plain)
	if err := v.sealPrivate(r, plain); err != nil {
		return err
	}
	v.note(requestEvent(r, "request.other_account", "deny"))
	r.State, r.Cause, r.UpdatedAt = Held, clip(out.Account, maxAccount), v.now()
	return v.Requests.MoveRequest(ctx, r, Claimed)
}

// Settle says what becomes of a held request: SettleAdd, SettleReplace or SettleDiscard.
func (s Visit) Settle(ctx context.Context, id, how string) error {
	v := s.vault
	r, err := s.enter(ctx, id)
	if err != nil {
		return err
	}
	if r.State != Held {
		return ErrUsed
	}
	out, err := v.unhold(ctx, r)
	if err != nil {
		return err
	}
	claimed := *r
	claimed.State, claimed.Cause = Claimed, ""
	if err := v.Requests.MoveRequest(ctx, &claimed, Held); err != nil {
		return err
	}
	r = &claimed
	switch how {
	case SettleAdd:
		r.Renews, r.Account = "", ""
		return v.complete(ctx, r, out)
	case SettleReplace:
		c, err := v.Connections.Connection(ctx, r.Owner, r.Renews)
		if err != nil {
			return err
		}
		c.Account, c.AccountID = orDefault(out.Account, c.Account), out.AccountID
		return v.store(ctx, r, c, out)
	}
	err = v.discard(ctx, r, out)
	r.State, r.Private, r.UpdatedAt = Declined, nil, v.now()
	return errors.Join(err, v.Requests.MoveRequest(ctx, r, Claimed))
}

// How a held request is settled.
const (
	SettleAdd     = "add"     // keep both: a second account
	SettleReplace = "replace" // the new account takes the old one's place
	SettleDiscard = "discard"
)

func (v *Vault) unhold(ctx context.Context, r *Request) (*Outcome, error) {
	plain, err := v.open(ctx, privatePlace(r), r.Private)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var h heldOutcome
	if err := json.Unmarshal(plain, &h); err != nil {
		return nil, err
	}
	h.Outcome.Credential, err = decodeCredential(h.Credential)
	return &h.Outcome, err
}

// discard has the provider forget a sign-in that was not wanted.
func (v *Vault) discard(ctx context.Context, r *Request, out *Outcome) error {
	p, err := v.provider(r.Provider)
	if err != nil {
		return err
	}
	if p, err = p.Resolve(r.Vars); err != nil {
		return err
	}
	c := &Connection{ID: rand.Text(), Owner: r.Owner, Provider: r.Provider, Method: r.Method, Vars: r.Vars, Bind: bind(p, r.Method), Salt: seal.NewSalt(), Version: 1}
	if err := v.sealCredential(c, out.Credential); err != nil {
		return err
	}
	return v.orphan(ctx, c)
}
