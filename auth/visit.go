package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// Visitor is a person's browser in front of one of our pages.
type Visitor struct {
	Browser []byte // SHA-256 of the flow cookie; nil = it has none
	Owner   *Owner // who is signed in; nil = nobody
}

// Visit is what a Visitor can do about one request. Every method checks that this
// is the person the request was made for: when the page opens, when it is
// confirmed, and at the callback before anything is redeemed.
type Visit struct {
	vault *Vault
	who   Visitor
}

// Visit is the people's door to one request.
func (v *Vault) Visit(who Visitor) Visit { return Visit{v, who} }

// View is what the connect page shows.
type View struct {
	Request  Request // without Private
	Provider *providers.Provider
	Asks     []Question // variables the definition needs from the person
	Extra    []string   // scopes beyond the definition's defaults: off until the person ticks them
	AppReady bool       // false: the person has to enter an OAuth app first
	Methods  []string   // other ways to sign in that are ready
	Confirms bool       // this browser has confirmed
	Redirect string     // where AppReady leads: the redirect URI to register at the provider
	Access   string     // what the client may do with the connection that is renewed; "" = nothing yet

	Held *HeldSignIn // what is asked when Request is Held
}

// Question is a variable of a definition.
type Question struct {
	Name, Ask, Default, Pattern string
	Enum                        []string
}

// Open shows a request. It changes nothing.
func (s Visit) Open(ctx context.Context, id string) (*View, error) {
	r, err := s.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := s.vault.provider(r.Provider)
	if err != nil {
		return nil, err
	}
	extra, err := s.vault.extraScopes(ctx, p, r)
	if err != nil {
		return nil, err
	}
	view := &View{Request: *r, Provider: p, Extra: extra, Confirms: r.Browser != nil, Redirect: s.vault.redirectURI(p)}
	view.Request.Private = nil
	if r.State == Held {
		held, err := s.vault.unhold(ctx, r)
		if err != nil {
			return nil, err
		}
		view.Held = &HeldSignIn{Account: held.Called}
		if r.Cause == HeldPlaces {
			view.Held.Places = held.Outcome.Places
		}
		c, err := s.vault.Connections.Connection(ctx, r.Owner, r.Renews)
		switch {
		case err == nil && c.State != Revoked:
			view.Held.Connection = c.Account
		case err != nil && !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	if view.AppReady, err = s.vault.ready(ctx, r.Owner, p, r.Method); err != nil {
		return nil, err
	}
	for _, m := range p.Methods() {
		if ok, _ := s.vault.ready(ctx, r.Owner, p, m); ok && m != r.Method && s.vault.offers(m) {
			view.Methods = append(view.Methods, m)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		x := p.Vars[name]
		view.Asks = append(view.Asks, Question{Name: name, Ask: x.Ask, Default: orDefault(r.Vars[name], x.Default), Pattern: x.Pattern, Enum: x.Enum})
	}
	view.Access, err = s.vault.access(ctx, r)
	return view, err
}

// access is what the client of a request may do already with the connection that it renews.
func (v *Vault) access(ctx context.Context, r *Request) (access string, err error) {
	if r.Renews == "" {
		return "", nil
	}
	grants, err := v.Grants.Grants(ctx, r.Owner, r.Client, r.Renews, v.now())
	for _, g := range grants {
		if g.whole() && access != Write {
			access = g.Access
		}
	}
	return access, err
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// enter reads a request and checks the visitor.
func (s Visit) enter(ctx context.Context, id string) (*Request, error) {
	r, err := s.vault.Requests.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, r); err != nil {
		return nil, err
	}
	if !r.State.Over() && r.State != Claimed && s.vault.now().After(r.ExpiresAt) { // what came in time is redeemed
		r.State = Expired
	}
	return r, nil
}

// Request reads the request as it is now; one whose time is over is Expired.
func (s Visit) Request(ctx context.Context, id string) (*Request, error) {
	r, err := s.enter(ctx, id)
	if err != nil {
		return nil, err
	}
	r.Private = nil
	return r, nil
}

// check refuses whom the request was not made for (docs/identity.md). What it refuses is on record.
func (s Visit) check(ctx context.Context, r *Request) error {
	if s.who.Owner == nil && s.vault.Identified {
		return ErrNotYours.Say("sign in first, then open the link again")
	}
	if s.who.Owner != nil && *s.who.Owner != r.Owner { // also where nobody has to sign in
		e := requestEvent(r, "identity_mismatch", "deny")
		e.Detail = map[string]string{"visitor": s.who.Owner.String()}
		s.vault.note(e)
		s.mark(ctx, r)
		return ErrNotYours.Say("this request belongs to another account; if you did not ask for it, close this page")
	}
	if r.Browser != nil && subtle.ConstantTimeCompare(r.Browser, s.who.Browser) != 1 && !s.mayTakeOver(r) {
		s.vault.note(requestEvent(r, "second_browser", "deny"))
		s.mark(ctx, r)
		return ErrNotYours.Say("this sign-in was started in another browser; go on there, or ask the agent for a new link")
	}
	return nil
}

// mayTakeOver reports whether another browser than the one that confirmed may go on: that of the same person, whom the server knows,
// with a sign-in that is on this server's screen and not in that browser.
func (s Visit) mayTakeOver(r *Request) bool {
	return s.vault.Identified && s.who.Owner != nil && *s.who.Owner == r.Owner && r.Method == MethodBrowser && r.State == Redirected
}

// mark has the agent's status show that somebody tried who may not.
func (s Visit) mark(ctx context.Context, r *Request) {
	if r.Cause == "" && !r.State.Over() {
		r.Cause = "opened_elsewhere"
		_ = s.vault.Requests.MoveRequest(ctx, r, r.State) // a lost race changes nothing
	}
}

// Decline ends a request because the person said no.
func (s Visit) Decline(ctx context.Context, id string) error {
	r, err := s.change(ctx, id, func(r *Request) error {
		if err := stillOpen(r); err != nil {
			return err
		}
		r.State, r.UpdatedAt = Declined, s.vault.now()
		return nil
	})
	if err == nil {
		s.vault.note(requestEvent(r, "request.decline", "deny"))
	}
	return err
}

// change moves a request as decide says, who is asked anew when somebody else was first.
func (s Visit) change(ctx context.Context, id string, decide func(r *Request) error) (*Request, error) {
	return s.vault.decideAnew(ctx, func() (*Request, error) { return s.enter(ctx, id) }, decide)
}

// Callback takes what a provider sent to /callback/{provider}. The request's id is
// given beside most errors, so that the page can say where to go.
func (s Visit) Callback(ctx context.Context, provider string, q url.Values) (id string, err error) {
	state := q.Get("state")
	if state == "" || len(q["state"]) > 1 || len(state) > MaxState {
		return "", errUnasked
	}
	sum := sha256.Sum256([]byte(state))
	r, err := s.vault.Requests.RequestByState(ctx, sum[:])
	if errors.Is(err, ErrNotFound) {
		return "", errUnasked
	}
	if err != nil {
		return "", err
	}
	if err := s.check(ctx, r); err != nil {
		if r.State != Redirected || s.vault.now().After(r.ExpiresAt) {
			return "", errUnasked // to a stranger, too, a spent state reads like one that never was
		}
		return "", err
	}
	if r.Provider != provider { // RFC 9700 section 4.4.2: one redirect URI per authorization server
		return "", errUnasked
	}
	if err := s.take(ctx, r); err != nil {
		return "", err
	}
	return r.ID, s.vault.redeem(ctx, r, Input{Query: q})
}

// One sentence for unknown, spent and expired: the answer must not tell them apart.
var errUnasked = ErrInvalid.Say("nobody here is waiting for this answer, or it was used already; ask the agent for a new link")

// take claims a redirected request: of any number at once, one wins.
func (s Visit) take(ctx context.Context, r *Request) error {
	if r.State == Redirected && s.vault.now().After(r.ExpiresAt) {
		return errUnasked
	}
	if r.State != Redirected {
		s.vault.note(requestEvent(r, "request.replay", "deny"))
		return errUnasked
	}
	e := requestEvent(r, "request.redeem", "allow")
	if _, err := s.vault.record(ctx, e); err != nil {
		return err
	}
	err := s.vault.move(ctx, r, func(r *Request) { r.State, r.UpdatedAt = Claimed, s.vault.now() })
	if errors.Is(err, ErrConflict) {
		s.vault.note(requestEvent(r, "request.replay", "deny"))
		return errUnasked
	}
	return err
}

// Submit takes a posted key form or a captured browser session.
// A key that the provider refuses leaves the request open for another try.
func (s Visit) Submit(ctx context.Context, id string, in Input) error {
	r, err := s.enter(ctx, id)
	if err != nil {
		return err
	}
	if err := stillOpen(r); err != nil {
		return err
	}
	if r.Browser == nil || r.Method != MethodAPIKey && r.Method != MethodBrowser {
		return ErrInvalid.Say("this request does not wait for a form; open its link again")
	}
	if err := s.take(ctx, r); err != nil {
		return err
	}
	return s.vault.redeem(ctx, r, in)
}

// SetApp enters the OAuth app that the request lacks, with the answers to the
// definition's questions, on which the app's addresses may depend. One that is there
// is not replaced: whoever has a link need not be the owner, and connections live by it.
func (s Visit) SetApp(ctx context.Context, id, clientID string, secret Secret, vars map[string]string) error {
	r, err := s.enter(ctx, id)
	if err != nil {
		return err
	}
	if err := stillOpen(r); err != nil {
		return err
	}
	p, err := s.vault.provider(r.Provider)
	if err != nil {
		return err
	}
	ready, err := s.vault.ready(ctx, r.Owner, p, r.Method)
	if err != nil {
		return err
	}
	if ready {
		return ErrConflict.Say("%s has its OAuth app already; open the link again, or change the app on /apps", p.Name)
	}
	if err := s.vault.Desk(r.Owner).SetApp(ctx, r.Provider, clientID, secret, vars); err != nil {
		return err
	}
	_, err = s.change(ctx, id, func(r *Request) error {
		if r.Reason == NoOAuthApp {
			r.Reason = NotConnected
		}
		if r.State == Created || r.State == Confirmed { // else a sign-in with answers of its own is under way, or over
			r.Vars = vars
		}
		r.UpdatedAt = s.vault.now()
		return stillOpen(r)
	})
	return err
}

const redeemTime = 60 * time.Second
