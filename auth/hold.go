package auth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// heldOutcome is what a held request keeps, sealed.
type heldOutcome struct {
	Credential []byte
	Outcome    Outcome
	Revocation string // id of the one that ends the sign-in, should nobody want it; "" = none
}

// encodeOutcome is the form in which a request keeps what it brought.
func encodeOutcome(out *Outcome, revocation string) ([]byte, error) {
	cred, err := out.Credential.encode()
	if err != nil {
		return nil, err
	}
	defer clear(cred)
	held := heldOutcome{Credential: cred, Outcome: *out, Revocation: revocation}
	held.Outcome.Credential = nil
	return json.Marshal(held)
}

// hold keeps the outcome until the person says what to do with the other account.
// The old credential stays as it is. The new one is on the list of revocations from
// now on, for the time when the request has expired.
func (v *Vault) hold(ctx context.Context, r *Request, out *Outcome) error {
	held := heldOutcome{}
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
	plain, err := encodeOutcome(out, held.Revocation)
	if err != nil {
		return err
	}
	defer clear(plain)
	private, err := v.sealedPrivate(r, plain)
	if err != nil {
		return err
	}
	why := "request.other_account"
	if v.unconfirmed(r) {
		why = "request.unconfirmed"
	}
	v.note(requestEvent(r, why, "deny"))
	called := v.heldAs(ctx, r, out)
	err = v.move(ctx, r, func(r *Request) {
		r.State, r.Cause, r.Private, r.UpdatedAt = Held, clip(called, maxAccount), private, v.now()
	})
	if err != nil {
		return errors.Join(err, v.unwanted(ctx, &held))
	}
	return nil
}

// heldAs is what the page calls the account of a held sign-in. One that is called as the connection's is told from it by
// its place, or by the scopes that it goes without.
func (v *Vault) heldAs(ctx context.Context, r *Request, out *Outcome) string {
	c, err := v.Connections.Connection(ctx, r.Owner, r.Renews)
	if err != nil || c.Account != out.Account {
		return out.Account
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return out.Account
	}
	moved := movedTo(append(told(p), lookedUp(p)...), out, *c)
	switch fewer := narrowed(p, r, out, c); {
	case len(moved) > 0:
		return out.Account + " at " + label(strings.Join(moved, ", "), out.Credential.Secrets())
	case len(fewer) > 0:
		return out.Account + " without " + strings.Join(fewer, " ")
	}
	return out.Account
}

// unconfirmed reports whether the account of a sign-in waits for the person's yes whichever it is: on a server of many users
// the one who typed the code may be anybody who saw it, signed in as themselves (BCP 247).
func (v *Vault) unconfirmed(r *Request) bool { return v.Identified && r.Method == MethodDeviceCode }

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
	v := s.vault
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	r, err := s.enter(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case r.State == Expired:
		return ErrExpired
	case r.State != Held:
		return ErrUsed
	case how != SettleAdd && how != SettleReplace && how != SettleDiscard:
		return ErrInvalid.Say("say what becomes of this sign-in: %s, %s or %s", SettleAdd, SettleReplace, SettleDiscard)
	}
	held, err := v.unhold(ctx, r)
	if err != nil {
		return err
	}
	if how == SettleDiscard {
		if err := v.move(ctx, r, func(r *Request) { r.State, r.Private, r.UpdatedAt = Declined, nil, v.now() }); err != nil {
			return err
		}
		return v.unwanted(ctx, held)
	}
	if err := v.move(ctx, r, func(r *Request) { r.State, r.Cause, r.UpdatedAt = Claimed, "", v.now() }); err != nil {
		return err
	}
	if how == SettleReplace {
		err = v.replace(ctx, r, &held.Outcome)
	} else {
		err = v.add(ctx, r, &held.Outcome)
	}
	if err != nil || held.Revocation == "" { // not stored, it is still on the list of revocations
		return err
	}
	return v.Revocations.EndRevocation(ctx, held.Revocation, time.Time{})
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
// of the account that was there any more, so its provider is told to forget them. Those of the same account it keeps: there
// are providers that end with one token all that the person gave to the app.
func (v *Vault) replace(ctx context.Context, r *Request, out *Outcome) error {
	var old *Connection
	err := v.completeAs(ctx, r, out, func(ctx context.Context, r *Request, out *Outcome) (c *Connection, err error) {
		if old, err = v.Connections.Connection(ctx, r.Owner, r.Renews); err != nil {
			return nil, err
		}
		return v.replaced(ctx, r, old, out)
	})
	if err != nil {
		return err
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return err
	}
	another := old.AccountID != "" && out.AccountID != "" && old.AccountID != out.AccountID
	if !another && !askedElsewhere(p, r, out, *old) && !toldElsewhere(p, out, *old) {
		return nil
	}
	return errors.Join(v.orphan(ctx, old), v.orphanAnswer(ctx, old))
}

// replaced is the connection that a request renews, under its new account. It begins anew, which ends what
// was allowed before: the label may be the same, or the provider may not have told the new one.
func (v *Vault) replaced(ctx context.Context, r *Request, old *Connection, out *Outcome) (*Connection, error) {
	if old.State == Revoked {
		return nil, ErrConflict
	}
	c := *old
	others, err := v.Connections.Connections(ctx, r.Owner, r.Provider, "")
	if err != nil {
		return nil, err
	}
	others = slices.DeleteFunc(others, func(o Connection) bool { return o.ID == c.ID })
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
