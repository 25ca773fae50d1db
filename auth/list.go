package auth

import (
	"context"
	"time"
)

// List gives the owner's connections, never a secret. Access and Release say what
// the caller's client may do with each.
func (v *Vault) List(ctx context.Context, c Caller, provider string) ([]Info, error) {
	if provider != "" {
		if _, err := v.provider(provider); err != nil {
			return nil, err
		}
	}
	found, grants, err := v.Grants.Granted(ctx, c.Owner, c.Client, provider, "", v.now())
	if err != nil {
		return nil, err
	}
	infos := make([]Info, len(found))
	for i := range found {
		infos[i] = *v.infoWith(c, &found[i], grants)
	}
	return infos, nil
}

func (v *Vault) info(ctx context.Context, c Caller, conn *Connection) (*Info, error) {
	grants, err := v.Grants.Grants(ctx, c.Owner, c.Client, conn.ID, v.now())
	if err != nil {
		return nil, err
	}
	return v.infoWith(c, conn, grants), nil
}

func (v *Vault) infoWith(c Caller, conn *Connection, grants []Grant) *Info {
	i := &Info{
		ID: conn.ID, Provider: conn.Provider, ProviderName: conn.Provider, Account: conn.Account, Method: conn.Method,
		State: v.stateOf(conn), Cause: conn.Cause, Scopes: conn.Scopes, Hosts: conn.Hosts,
		CreatedAt: conn.CreatedAt, ExpiresAt: conn.ExpiresAt, RefreshExpiresAt: conn.RefreshExpiresAt, LastUsedAt: conn.LastUsedAt,
	}
	if i.State == NeedsReauth {
		i.Cause = orDefault(i.Cause, causeEnded)
	}
	if p, err := v.Catalog.Get(conn.Provider); err == nil {
		i.ProviderName = p.Name
	}
	for _, g := range grants {
		if g.Connection != conn.ID {
			continue
		}
		if g.Kind == Release {
			i.Release = true
		} else if i.Access != Write {
			i.Access = g.Access
		}
	}
	if i.Access != "" && (v.Release[conn.Provider] || v.Release["*"]) {
		i.Release = true
	}
	i.Release = i.Release && c.holds(ScopeRelease)
	return i
}

// stateOf adds what the clock knows to the stored state: a sign-in that ends
// within a day is expiring, and one that ended is not healthy whatever is stored.
func (v *Vault) stateOf(c *Connection) State {
	if c.State != Active {
		return c.State
	}
	now := v.now()
	if !c.ExpiresAt.IsZero() && now.After(c.ExpiresAt) {
		if _, err := v.provider(c.Provider); err != nil {
			return ProviderDown // this process cannot renew it
		}
	}
	end := c.RefreshExpiresAt
	if end.IsZero() && !v.renewable(c) {
		end = c.ExpiresAt
	}
	switch {
	case end.IsZero():
		return Active
	case now.After(end):
		return NeedsReauth
	case now.Add(24*time.Hour).After(end) && end.Sub(c.IssuedAt) > 48*time.Hour:
		return Expiring
	}
	return Active
}

// renewable reports whether the connection can be renewed without the person.
func (v *Vault) renewable(c *Connection) bool {
	conn, err := v.connector(c.Method)
	if err != nil || c.final() {
		return false
	}
	_, ok := conn.(Refresher)
	return ok
}

// allLacks is what this machine lacks for each method that needs something of it, looked at once.
func (v *Vault) allLacks(ctx context.Context) map[string]error {
	all := map[string]error{}
	for _, c := range v.Connectors {
		if n, ok := c.(Needer); ok {
			all[c.Method()] = n.Ready(ctx)
		}
	}
	return all
}

// Providers searches the catalogue, in the order of its ids. limit 0 is 50.
func (v *Vault) Providers(ctx context.Context, c Caller, query, method string, limit int) ([]ProviderInfo, error) {
	if limit <= 0 || limit > 500 {
		limit = 50
	}
	found := v.Catalog.Search(query, method, limit)
	lacks := v.allLacks(ctx)
	infos := make([]ProviderInfo, 0, len(found))
	for _, p := range found {
		i := ProviderInfo{ID: p.ID, Name: p.Name, Custom: p.Custom}
		for _, m := range p.Methods() {
			if !v.offers(m) {
				continue
			}
			i.Methods = append(i.Methods, m)
			ready, err := v.ready(ctx, c.Owner, p, m)
			if err != nil {
				return nil, err
			}
			i.Ready = i.Ready || ready && lacks[m] == nil
			if ready && lacks[m] != nil {
				i.Missing = lacks[m].Error()
			}
		}
		if p.OAuth2 != nil {
			i.Scopes = p.OAuth2.Scopes.Default
		}
		switch {
		case i.Ready:
			i.Missing = ""
		case i.Missing == "":
			i.Missing = "an OAuth app: request_auth gives a link where the user can enter it, or run: latchpost app set " + p.ID + " --client-id ID"
		}
		if len(i.Methods) == 0 {
			i.Missing = "this server offers none of its ways to sign in"
		}
		infos = append(infos, i)
	}
	return infos, nil
}
