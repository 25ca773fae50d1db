package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/providers"
)

// Choice is what the person decided on the connect page.
type Choice struct {
	Access string            // Read or Write
	Extra  []string          // ticked extra scopes
	Vars   map[string]string // answers
	Method string            // "" = the request's
}

// Confirm binds the request to this browser and starts the sign-in.
func (s Visit) Confirm(ctx context.Context, id string, choice Choice) (*Step, error) {
	var p *providers.Provider
	r, err := s.change(ctx, id, func(r *Request) (err error) {
		if err := stillOpen(r); err != nil {
			return err
		}
		if len(s.who.Browser) != sha256.Size {
			return ErrInvalid.Say("the browser must accept cookies; allow them for this page and open the link again")
		}
		if p, err = s.vault.decide(ctx, r, choice); err != nil {
			return err
		}
		r.Browser, r.State, r.UpdatedAt = s.who.Browser, Confirmed, s.vault.now()
		r.NextPollAt = time.Time{} // a device code of before is not asked about any more
		_, err = s.vault.record(ctx, confirmEvent(r))
		return err
	})
	if errors.Is(err, ErrConflict) {
		return nil, ErrNotYours.Say("this sign-in was just started in another browser; go on there, or ask the agent for a new link")
	}
	if err != nil {
		return nil, err
	}
	return s.vault.begin(ctx, r, p)
}

func stillOpen(r *Request) error {
	switch r.State {
	case Created, Confirmed, Redirected:
		return nil
	case Expired:
		return ErrExpired
	case Declined:
		return ErrDeclined.Say("this request was declined; ask the agent for a new link")
	}
	return ErrUsed
}

func confirmEvent(r *Request) Event {
	e := requestEvent(r, "request.confirm", "allow")
	e.Detail = map[string]string{"method": r.Method, "access": r.Access}
	return e
}

// decide writes the person's choice into r and gives the definition resolved with it.
func (v *Vault) decide(ctx context.Context, r *Request, choice Choice) (*providers.Provider, error) {
	p, err := v.provider(r.Provider)
	if err != nil {
		return nil, err
	}
	if choice.Method != "" && choice.Method != r.Method {
		if !slices.Contains(p.Methods(), choice.Method) || !v.offers(choice.Method) {
			return nil, ErrInvalid.Say("%s cannot be connected that way", p.Name)
		}
		r.Method = choice.Method
	}
	r.Access = Read
	if choice.Access == Write {
		r.Access = Write
	}
	extra, err := v.extraScopes(ctx, p, r)
	if err != nil {
		return nil, err
	}
	r.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), func(scope string) bool {
		return slices.Contains(extra, scope) && !slices.Contains(choice.Extra, scope)
	})
	vars := cloneVars(choice.Vars)
	for name, x := range p.Vars {
		if vars[name] == "" {
			vars[name] = orDefault(r.Vars[name], x.Default)
		}
	}
	for _, name := range lookedUp(p) { // the site or tenant that the connection has, to be found again among several
		if delete(vars, name); r.Vars[name] != "" {
			vars[name] = r.Vars[name]
		}
	}
	resolved, err := p.Resolve(vars)
	if err != nil {
		return nil, ErrInvalid.Say("%s", err)
	}
	r.Vars = vars
	return resolved, nil
}

// extraScopes are those that neither the definition proposes nor the old connection had.
// An agent that names them gets none of them unless the person ticks them.
func (v *Vault) extraScopes(ctx context.Context, p *providers.Provider, r *Request) ([]string, error) {
	if p.OAuth2 == nil {
		return nil, nil
	}
	known := slices.Concat(p.OAuth2.Scopes.Default, p.OAuth2.Scopes.Offline)
	if r.Renews != "" {
		held, err := v.Connections.Connection(ctx, r.Owner, r.Renews)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err == nil {
			known = append(known, held.Scopes...)
		}
	}
	return slices.DeleteFunc(slices.Clone(r.Scopes), func(s string) bool { return slices.Contains(known, s) }), nil
}

// longestRequest is how long after the agent asked a sign-in may end at the latest, however often it is begun again.
const longestRequest = time.Hour

// begin lets the connector start and notes where the person goes.
func (v *Vault) begin(ctx context.Context, r *Request, p *providers.Provider) (*Step, error) {
	conn, err := v.connector(r.Method)
	if err != nil {
		return nil, err
	}
	if lacks := v.lacks(ctx, r.Method); lacks != nil { // nobody but the operator can go on
		return nil, v.fail(ctx, r, ErrConfig.Say("this server cannot sign in that way yet; whoever runs it has to install %s", lacks))
	}
	f, err := v.requestFlow(ctx, r, p)
	if err != nil {
		return nil, err
	}
	step, err := conn.Begin(ctx, f)
	if err != nil {
		return nil, err
	}
	private, err := v.sealedPrivate(r, step.Private)
	if err != nil {
		return nil, err
	}
	step.Private = nil
	err = v.move(ctx, r, func(r *Request) {
		r.State, r.UserCode, r.VerifyURL, r.Cause, r.Private = Redirected, step.UserCode, step.VerifyURL, "", private
		r.StateHash = nil
		if step.State != "" {
			sum := sha256.Sum256([]byte(step.State))
			r.StateHash = sum[:]
		}
		// From here on the person has their own time, however long the link lay there.
		r.ExpiresAt = earliest(v.now().Add(cmp.Or(step.ExpiresIn, v.requestTTL())), r.CreatedAt.Add(longestRequest))
		if step.PollAfter > 0 {
			r.NextPollAt = v.now().Add(step.PollAfter)
		}
	})
	if errors.Is(err, ErrConflict) {
		return nil, ErrConflict.Say("this sign-in was begun anew or ended meanwhile; open the link again")
	}
	if err != nil {
		return nil, err
	}
	if step.Redirect == "" && step.Page == "" && step.UserCode == "" { // nothing for the person to do
		return &step, v.redeem(ctx, r, Input{})
	}
	return &step, nil
}

// requestFlow is the Flow of a sign-in.
func (v *Vault) requestFlow(ctx context.Context, r *Request, p *providers.Provider) (*Flow, error) {
	definition, err := v.provider(r.Provider)
	if err != nil {
		return nil, err
	}
	f := &Flow{Provider: p, Definition: definition, Request: r, Vars: r.Vars, RedirectURI: v.redirectURI(p), Now: v.now()}
	if err := v.addApp(ctx, f, r.Owner); err != nil {
		return nil, err
	}
	if r.Private == nil {
		return f, nil
	}
	f.Private, err = v.open(ctx, privatePlace(r), r.Private)
	return f, err
}

func (v *Vault) sealedPrivate(r *Request, private []byte) ([]byte, error) {
	if private == nil {
		return nil, nil
	}
	return v.Box.Seal(privatePlace(r), private)
}

func privatePlace(r *Request) seal.Place {
	return seal.Place{Table: "requests", Org: r.Owner.Org, User: r.Owner.User, Record: r.ID, Field: "private"}
}
