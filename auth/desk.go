package auth

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
)

// Desk is what an owner sees and decides about everything that is theirs. Whoever
// calls it has made sure that it is the owner who asks.
type Desk struct {
	vault *Vault
	owner Owner
}

// Desk gives the owner's side of the vault.
func (v *Vault) Desk(o Owner) Desk { return Desk{v, o} }

// Connections of the owner. Access and Release are empty: they belong to clients, see Grants.
func (d Desk) Connections(ctx context.Context) ([]Info, error) {
	return d.vault.List(ctx, Caller{Owner: d.owner}, "")
}

// Requests that are open.
func (d Desk) Requests(ctx context.Context) ([]Request, error) {
	return d.vault.Pending.OpenRequests(ctx, d.owner)
}

// Revoke is Vault.Revoke by the owner.
func (d Desk) Revoke(ctx context.Context, u Unwanted) (*Ended, error) {
	return d.vault.Revoke(ctx, Caller{Owner: d.owner, Client: ClientOwner, Verified: true}, u)
}

// Approvals that wait for the owner's word.
func (d Desk) Approvals(ctx context.Context) ([]Approval, error) {
	return d.vault.Approvals.Approvals(ctx, d.owner, Waiting, d.vault.now())
}

// Approval by id, decided ones too.
func (d Desk) Approval(ctx context.Context, id string) (*Approval, error) {
	return d.vault.Approvals.Approval(ctx, d.owner, id)
}

// Decide an approval.
func (d Desk) Decide(ctx context.Context, id string, w Decision) error {
	return d.vault.decideApproval(ctx, d.owner, id, w)
}

// Grants of all clients on all connections.
func (d Desk) Grants(ctx context.Context) ([]Grant, error) {
	return d.vault.Grants.Grants(ctx, d.owner, "", "", d.vault.now())
}

// EndGrant takes a grant back. It works when the audit log cannot be written.
func (d Desk) EndGrant(ctx context.Context, id string) error {
	d.vault.lament(ctx, Event{Owner: d.owner, Client: ClientOwner, Kind: "grant.end", Decision: "allow", Detail: map[string]string{"grant": id}})
	return d.vault.Grants.EndGrant(ctx, d.owner, id)
}

const (
	outcomeTime = 5 * time.Minute // how long after a call its outcome can be on record: two tries and a renewal between them
	outcomes    = 10_000          // that are read beside a page of events
)

// Events of the audit log, newest first. Calls whose outcome is missing are marked. There may be more than the limit:
// those of the last millisecond come all, so that nothing is lost between two pages.
func (d Desk) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	all, err := d.vault.Audit.Events(ctx, d.owner, f)
	if err == nil && len(all) > 0 && len(all) == f.Limit {
		all, err = d.wholeMoment(ctx, f, all)
	}
	if err != nil {
		return nil, err
	}
	var calls []*Event
	for i := range all {
		if e := &all[i]; e.Kind == "call" && e.Decision == "allow" {
			calls = append(calls, e)
		}
	}
	if len(calls) == 0 {
		return all, nil
	}
	newest, oldest := calls[0].At, calls[len(calls)-1].At
	most := len(calls) + outcomes
	ends, err := d.vault.Audit.Events(ctx, d.owner, EventFilter{Kind: "call.done", Since: oldest, Before: newest.Add(outcomeTime), Limit: most})
	if err != nil || len(ends) == most { // so much goes on that they are not all known
		return all, err
	}
	ended := make(map[string]bool, len(ends))
	for _, e := range ends {
		ended[e.Of] = true
	}
	for _, e := range calls {
		if !ended[e.ID] {
			e.Outcome = "unknown"
		}
	}
	return all, nil
}

// wholeMoment completes the oldest millisecond of a page.
func (d Desk) wholeMoment(ctx context.Context, f EventFilter, page []Event) ([]Event, error) {
	oldest := page[len(page)-1].At.Truncate(time.Millisecond)
	f.Since, f.Before, f.Limit = oldest, oldest.Add(time.Millisecond), outcomes
	moment, err := d.vault.Audit.Events(ctx, d.owner, f)
	newer := slices.IndexFunc(page, func(e Event) bool { return e.At.Before(f.Before) })
	return append(page[:newer], moment...), err
}

// Apps that serve the owner.
func (d Desk) Apps(ctx context.Context) ([]App, error) {
	return d.vault.Apps.Apps(ctx, d.owner)
}

// SetApp registers the OAuth app (client id and secret) of a provider. vars are the
// definition's variables where the token endpoint depends on them. An empty secret
// is a public client. Connections keep to the client id that they were made with, see Stranded.
func (d Desk) SetApp(ctx context.Context, provider, clientID string, secret Secret, vars map[string]string) error {
	v := d.vault
	p, err := v.provider(provider)
	if err != nil {
		return err
	}
	if p.OAuth2 == nil {
		return ErrInvalid.Say("%s does not use OAuth; it needs no app", p.Name)
	}
	if bad := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	}; clientID == "" || len(clientID) > 1000 || bad(clientID) || bad(secret.Reveal()) || len(secret.Reveal()) > 16<<10 {
		return ErrInvalid.Say("the client id must not be empty, and neither id nor secret may hold control characters")
	}
	if secret.Empty() && p.OAuth2.Client.Secret == "required" {
		return ErrInvalid.Say("%s needs the client secret too; it stands on %s", p.Name, orDefault(p.Register, "the provider's page for developers"))
	}
	bound, err := appBind(p, vars)
	if err != nil {
		return err
	}
	app := App{ID: rand.Text(), Owner: d.owner, Provider: provider, ClientID: clientID, Bind: bound, Salt: seal.NewSalt(), CreatedAt: v.now()}
	if !secret.Empty() {
		if app.Sealed, err = v.Box.Seal(appPlace(&app), []byte(secret.Reveal())); err != nil {
			return err
		}
	}
	if _, err := v.record(ctx, Event{Owner: d.owner, Client: ClientOwner, Kind: "app.set", Provider: provider, Decision: "allow"}); err != nil {
		return err
	}
	return v.Apps.PutApp(ctx, app)
}

// RedirectURI is what has to be registered at a provider.
func (d Desk) RedirectURI(provider string) (string, error) {
	p, err := d.vault.provider(provider)
	if err != nil {
		return "", err
	}
	return d.vault.redirectURI(p), nil
}

// RemoveApp forgets an OAuth app. Connections made with it can no longer be renewed.
func (d Desk) RemoveApp(ctx context.Context, provider string) error {
	d.vault.lament(ctx, Event{Owner: d.owner, Client: ClientOwner, Kind: "app.remove", Provider: provider, Decision: "allow"})
	return d.vault.Apps.DeleteApp(ctx, d.owner, provider)
}

func appPlace(a *App) seal.Place {
	return seal.Place{Table: "apps", Org: a.Owner.Org, User: a.Owner.User, Record: a.ID, Field: "client_secret", Bind: a.Bind, Salt: a.Salt}
}
