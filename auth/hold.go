package auth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// heldOutcome is what a held request keeps, sealed.
type heldOutcome struct {
	Credential []byte
	Outcome    Outcome
	Called     string // what the page calls its account
	Revocation string // id of the one that ends the sign-in, should nobody want it; "" = none
	Bind       string // what the credential is good with, as in a Connection
}

// Why a request is Held: the words of Request.Cause, and of Status.Cause.
const (
	HeldOther       = "other_account"   // signed in as another account than asked, or as one without a name
	HeldUnconfirmed = "confirm_account" // it may be somebody else's account
	HeldPlaces      = "choose_place"    // signed in to several places
)

// HeldSignIn is what a person is asked about a held request.
type HeldSignIn struct {
	Account    string  // "" = the provider did not name it
	Connection string  // label of the connection that it can take the place of; "" = of none, or of none any more
	Places     *Places // with HeldPlaces
}

// encodeOutcome is the form in which a request keeps what it brought, beside what held says of it.
func (v *Vault) encodeOutcome(r *Request, out *Outcome, held heldOutcome) ([]byte, error) {
	_, bound, err := v.resolved(r, out)
	if err != nil {
		return nil, err
	}
	cred, err := out.Credential.encode()
	if err != nil {
		return nil, err
	}
	defer clear(cred)
	held.Credential, held.Outcome, held.Bind = cred, *out, bound
	held.Outcome.Credential = nil
	return json.Marshal(held)
}

// hold keeps the outcome until the person says what to do with it.
// The old credential stays as it is. The new one is on the list of revocations from
// now on, for the time when the request has expired.
func (v *Vault) hold(ctx context.Context, r *Request, out *Outcome, cause string) error {
	held := heldOutcome{Called: clip(v.heldAs(ctx, r, out), maxAccount)}
	rev, err := v.signInRevocation(ctx, r, out)
	if err != nil {
		return err
	}
	if rev != nil {
		held.Revocation, rev.NextTryAt = rev.ID, r.ExpiresAt.Add(time.Minute)
		if err := v.Revocations.AddRevocation(ctx, *rev); err != nil {
			return err
		}
	}
	plain, err := v.encodeOutcome(r, out, held)
	if err != nil {
		return err
	}
	defer clear(plain)
	private, err := v.sealedPrivate(r, plain)
	if err != nil {
		return err
	}
	v.note(requestEvent(r, "request."+cause, "deny"))
	renews := r.Renews // which may have come out just now
	err = v.move(ctx, r, func(r *Request) {
		r.State, r.Cause, r.Renews, r.Private, r.UpdatedAt = Held, cause, renews, private, v.now()
	})
	if err != nil {
		return errors.Join(err, v.unwanted(ctx, &held))
	}
	return nil
}

// heldAs is what the page calls the account of a held sign-in. The connection's own, or one that is called so, is told from it
// by its place, or by the scopes that it goes without.
func (v *Vault) heldAs(ctx context.Context, r *Request, out *Outcome) string {
	c, err := v.Connections.Connection(ctx, r.Owner, r.Renews)
	if err != nil || c.Account != out.Account && (out.AccountID == "" || c.AccountID != out.AccountID) {
		return out.Account
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return out.Account
	}
	moved := movedTo(append(told(p), lookedUp(p)...), out, *c)
	switch fewer := narrowed(p, r, out, c); {
	case len(moved) > 0 && c.Account == out.Account:
		return atPlace(out.Account, label(strings.Join(moved, ", "), out.Credential.Secrets()))
	case len(moved) == 0 && len(fewer) > 0:
		return out.Account + " without " + strings.Join(fewer, " ")
	}
	return out.Account
}

// atPlace is the label of an account that has several places.
func atPlace(account, place string) string {
	if account == "" {
		return place
	}
	return account + " at " + place
}

// unconfirmed reports whether the account of a sign-in waits for the person's yes whichever it is: on a server of many users
// the one who typed the code may be anybody who saw it, signed in as themselves (BCP 247). Such a server's users are none of
// the process that serves this machine's own person, but it may be the one that asks the provider.
func (v *Vault) unconfirmed(r *Request) bool {
	return r.Method == MethodDeviceCode && (v.Identified || r.Owner != Local)
}

// unwanted makes the revocation of a held sign-in due.
func (v *Vault) unwanted(ctx context.Context, held *heldOutcome) error {
	if held.Revocation == "" {
		return nil
	}
	return v.Revocations.EndRevocation(ctx, held.Revocation, v.now())
}

// Settle says what becomes of a held request: SettleAdd, SettleReplace or SettleDiscard.
// It does not end when the browser goes away: the tokens are nowhere else.
func (s Visit) Settle(ctx context.Context, id, how string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	v := s.vault
	r, held, err := s.held(ctx, id)
	switch {
	case err != nil:
		return err
	case how == SettleDiscard:
		if err := v.move(ctx, r, func(r *Request) { r.State, r.Cause, r.Private, r.UpdatedAt = Declined, "", nil, v.now() }); err != nil {
			return err
		}
		return v.unwanted(ctx, held)
	case r.Cause == HeldPlaces:
		return errNoPlace
	case how == SettleReplace:
		return v.settle(ctx, r, held, v.replace)
	case how == SettleAdd:
		return v.settle(ctx, r, held, v.add)
	}
	return errUnsettled
}

// Choose says which of the places that the provider listed a held request is for, by its value. Where another one was expected, the
// request is held once more.
func (s Visit) Choose(ctx context.Context, id, value string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	r, held, err := s.held(ctx, id)
	switch {
	case err != nil:
		return err
	case r.Cause != HeldPlaces:
		return errUnsettled
	}
	places := held.Outcome.Places
	i := slices.IndexFunc(places.List, func(p Place) bool { return p.Value == value })
	if i < 0 {
		return errNoPlace
	}
	return s.vault.settle(ctx, r, held, func(ctx context.Context, r *Request, out *Outcome) error {
		out.Places, out.Vars[places.Store] = nil, value
		out.Account = atPlace(out.Account, places.List[i].Label)
		return s.vault.complete(ctx, r, out)
	})
}

var (
	errNoPlace   = ErrInvalid.Say("choose one of the places that are listed, or discard this sign-in")
	errUnsettled = ErrInvalid.Say("say what becomes of this sign-in: %s, %s or %s", SettleAdd, SettleReplace, SettleDiscard)
)

// held reads a request that is Held, and what it keeps.
func (s Visit) held(ctx context.Context, id string) (*Request, *heldOutcome, error) {
	r, err := s.enter(ctx, id)
	switch {
	case err != nil:
		return nil, nil, err
	case r.State == Expired:
		return nil, nil, ErrExpired
	case r.State != Held:
		return nil, nil, ErrUsed
	}
	held, err := s.vault.unhold(ctx, r)
	return r, held, err
}

// settle claims a held request and has its outcome stored.
func (v *Vault) settle(ctx context.Context, r *Request, held *heldOutcome, store func(context.Context, *Request, *Outcome) error) error {
	if !v.goodHere(r, held) {
		return ErrConfig.Say("the definition of %s changed where credentials are sent; discard this sign-in, and ask the agent for a new link", clip(r.Provider, 40))
	}
	if err := v.move(ctx, r, func(r *Request) { r.State, r.Cause, r.UpdatedAt = Claimed, "", v.now() }); err != nil {
		return err
	}
	err := store(ctx, r, &held.Outcome)
	if held.Revocation == "" || err != nil && r.State != Stored { // not stored, it is still on the list of revocations
		return err
	}
	return errors.Join(err, v.Revocations.EndRevocation(ctx, held.Revocation, time.Time{}))
}

// add stores a held sign-in as what it would have been without the request to renew another.
func (v *Vault) add(ctx context.Context, r *Request, out *Outcome) error {
	if r.Renews != "" {
		if c, err := v.target(ctx, r, out); err != nil || c.ID != r.Renews {
			r.Renews, r.Account = "", ""
		}
	}
	return v.completeAs(ctx, r, out, func(ctx context.Context, r *Request, out *Outcome) (*Connection, error) {
		c, err := v.target(ctx, r, out)
		if !errors.Is(err, errOtherAccount) {
			return c, err
		}
		held, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "") // it is one of them, with fewer scopes
		r.Renews = ""
		return v.another(r, out, held), err
	})
}

// replace stores a held sign-in in the place of the connection that the request renews. Nobody here has the tokens
// of the account that was there any more, so its provider is told to forget them. Those of the same account it keeps, and of one
// that was never named, which may be the same: there are providers that end with one token all that the person gave to the app.
// An account that has a connection of its own already goes on with that, and the one that it was to replace ends.
func (v *Vault) replace(ctx context.Context, r *Request, out *Outcome) error {
	p, err := v.provider(r.Provider)
	if err != nil {
		return err
	}
	var old *Connection
	err = v.completeAs(ctx, r, out, func(ctx context.Context, r *Request, out *Outcome) (c *Connection, err error) {
		if old, err = v.Connections.Connection(ctx, r.Owner, r.Renews); err != nil {
			return nil, err
		}
		return v.replaced(ctx, p, r, old, out)
	})
	if err != nil || r.State != Stored { // held once more
		return err
	}
	another := old.AccountID != "" && out.AccountID != "" && old.AccountID != out.AccountID
	tell := another || askedElsewhere(p, r, out, *old) || toldElsewhere(p, out, *old)
	switch {
	case r.Connection != old.ID && tell:
		_, err = v.revoke(ctx, Caller{Owner: r.Owner, Client: ClientOwner, Verified: true}, old)
	case r.Connection != old.ID:
		err = v.forget(ctx, old)
	case tell:
		err = errors.Join(v.orphan(ctx, old), v.orphanAnswer(ctx, old))
	}
	return err
}

// forget ends c here, by the owner's word, and leaves it alone at the provider.
func (v *Vault) forget(ctx context.Context, c *Connection) error {
	v.lament(ctx, Event{Owner: c.Owner, Client: ClientOwner, Kind: "revoke", Provider: c.Provider, Connection: c.ID, Decision: "allow"})
	if err := v.Revocations.RevokeConnection(ctx, c.Owner, c.ID, nil); err != nil {
		return unkept(err)
	}
	v.stopCalls(c.ID)
	return nil
}

// replaced is the connection that a request renews, under its new account. It begins anew, which ends what
// was allowed before: the label may be the same, or the provider may not have told the new one.
func (v *Vault) replaced(ctx context.Context, p *providers.Provider, r *Request, old *Connection, out *Outcome) (*Connection, error) {
	if old.State == Revoked {
		return nil, ErrConflict
	}
	others, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "")
	if err != nil {
		return nil, err
	}
	others = slices.DeleteFunc(others, func(o Connection) bool { return o.ID == old.ID })
	its := isFor(p, r, out)
	if i := slices.IndexFunc(others, its); i >= 0 && !its(*old) {
		return renewed(p, r, out, &others[i])
	}
	c := *old
	c.Account, c.AccountID, c.CreatedAt = freeLabel(others, orDefault(out.Account, c.Account)), out.AccountID, v.now()
	return &c, nil
}

// How a held request is settled.
const (
	SettleAdd     = "add"     // keep it: as a second account, if it is another one
	SettleReplace = "replace" // the new account takes the old one's place
	SettleDiscard = "discard"
)

func (v *Vault) unhold(ctx context.Context, r *Request) (*heldOutcome, error) {
	plain, err := v.open(ctx, privatePlace(r), r.Private)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var h heldOutcome
	if err := json.Unmarshal(plain, &h); err != nil {
		return nil, err
	}
	if len(h.Credential) == 0 { // it is what the connector keeps between two steps
		return &h, nil
	}
	h.Outcome.Credential, err = decodeCredential(h.Credential)
	clear(h.Credential)
	return &h, err
}

// goodHere reports whether the definition, with what stands in the request, still sends a credential where it was got.
func (v *Vault) goodHere(r *Request, held *heldOutcome) bool {
	_, bound, err := v.resolved(r, &held.Outcome)
	return err == nil && bound == held.Bind
}

// resolved gives the variables of an outcome, with the app and the region that it came from, and what its credential is bound to by them.
func (v *Vault) resolved(r *Request, out *Outcome) (vars map[string]string, bound string, err error) {
	p, err := v.provider(r.Provider)
	if err != nil {
		return nil, "", err
	}
	vars = cloneVars(r.Vars)
	maps.Copy(vars, out.Vars)
	if p, err = p.Resolve(vars); err != nil {
		return nil, "", err
	}
	return vars, bind(p, r.Method), nil
}
