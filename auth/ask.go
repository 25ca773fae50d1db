package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/latchpost/latchpost/providers"
)

const (
	maxScopes  = 50
	maxScope   = 200 // bytes of one scope
	maxAccount = 100 // bytes of a label
	pollAfter  = 2 * time.Second
)

// Request gives the connection that the wish is about when the caller can use it
// now, and otherwise makes a request: the error is then *AuthRequired (the person
// has to sign in) or *ApprovalRequired (the person has to let this client in).
func (v *Vault) Request(ctx context.Context, c Caller, w Wish) (*Info, error) {
	p, err := v.provider(w.Provider)
	if err != nil {
		return nil, err
	}
	if err := checkWish(p, w); err != nil {
		return nil, err
	}
	conn, err := v.pick(ctx, c.Owner, w.Provider, w.Account)
	w.Account = plainLabel(w.Account)
	if errors.Is(err, ErrNotFound) {
		return nil, v.ask(ctx, c, p, w, nil, NotConnected)
	}
	if err != nil {
		return nil, err
	}
	reason, err := v.lacking(ctx, conn, w.Scopes)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, v.ask(ctx, c, p, w, conn, reason)
	}
	info, err := v.info(ctx, c, conn)
	if err != nil {
		return nil, err
	}
	info.Missing = missingOf(p, conn, w.Scopes)
	if info.Access == "" {
		return nil, v.askApproval(ctx, c, p, conn, Approval{Kind: Use, Why: RuleNoGrant})
	}
	return info, nil
}

// checkWish refuses what no definition could mean (RFC 6749 section 3.3 for scopes).
func checkWish(p *providers.Provider, w Wish) error {
	if w.Method != "" && !slices.Contains(p.Methods(), w.Method) {
		return ErrInvalid.Say("%s cannot be connected by %q; it offers %s", p.Name, clip(w.Method, 40), strings.Join(p.Methods(), ", "))
	}
	if err := checkAccount(w.Account); err != nil {
		return err
	}
	return checkScopes(w.Scopes)
}

func checkAccount(account string) error {
	control := strings.ContainsFunc(account, func(r rune) bool { return r < ' ' || r == 0x7f })
	if len(account) > maxAccount || control || account != "" && plainLabel(account) == "" {
		return ErrInvalid.Say("account is a label with letters, of at most %d bytes without control characters; list_connections shows those that exist", maxAccount)
	}
	return nil
}

func checkScopes(scopes []string) error {
	if len(scopes) > maxScopes {
		return ErrInvalid.Say("at most %d scopes can be asked at once", maxScopes)
	}
	for _, s := range scopes {
		bad := strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' })
		if s == "" || len(s) > maxScope || bad {
			return ErrInvalid.Say("scope %q is not a scope: printable ASCII without space, quote and backslash; list_providers names the usual ones", clip(s, 40))
		}
	}
	return nil
}

// plainLabel takes out of a label, whoever gave it, what Markdown or a reader would take for a
// link or an image, and what nobody sees, such as the selectors behind an emoji: mcp does not show it, and an agent could
// not name such an account.
func plainLabel(s string) string { return strings.TrimSpace(clip(unmarked(s), maxAccount)) }

func unmarked(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("[]()<>`\\|", r) || !unicode.IsPrint(r) || r == utf8.RuneError ||
			unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
			return -1
		}
		return r
	}, s)
	for strings.Contains(s, "://") {
		s = strings.ReplaceAll(s, "://", ":")
	}
	return s
}

// pick finds the one connection that is meant. Ambiguity is a question, not a guess.
func (v *Vault) pick(ctx context.Context, o Owner, provider, account string) (*Connection, error) {
	if err := checkAccount(account); err != nil {
		return nil, err
	}
	found, err := v.Connections.Connections(ctx, o, provider, account)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0 && account != "":
		return v.shownAs(ctx, o, provider, account)
	}
	return only(found, provider)
}

// granted is pick, with the grants of the caller's client on the connection.
func (v *Vault) granted(ctx context.Context, c Caller, provider, account string) (*Connection, []Grant, error) {
	if err := checkAccount(account); err != nil {
		return nil, nil, err
	}
	found, grants, err := v.Grants.Granted(ctx, c.Owner, c.Client, provider, account, v.now())
	switch {
	case err != nil:
		return nil, nil, err
	case len(found) == 0 && account != "":
		conn, err := v.shownAs(ctx, c.Owner, provider, account)
		if err != nil {
			return nil, nil, err
		}
		grants, err := v.Grants.Grants(ctx, c.Owner, c.Client, conn.ID, v.now())
		return conn, grants, err
	}
	conn, err := only(found, provider)
	return conn, grants, err
}

// shownAs finds the one connection that is shown under the same label as account would be: agents know no other, and a row
// may have been stored when less was taken out of labels.
func (v *Vault) shownAs(ctx context.Context, o Owner, provider, account string) (*Connection, error) {
	all, err := v.Connections.Connections(ctx, o, provider, "")
	if err != nil {
		return nil, err
	}
	var found []Connection
	shown := plainLabel(account)
	for _, c := range all {
		if plainLabel(c.Account) == shown {
			found = append(found, c)
		}
	}
	return only(found, provider)
}

// only is the one connection that was found. Several are a question, not a guess.
func only(found []Connection, provider string) (*Connection, error) {
	switch len(found) {
	case 0:
		return nil, ErrNotFound
	case 1:
		return &found[0], nil
	}
	labels := make([]string, len(found))
	for i, c := range found {
		labels[i] = plainLabel(c.Account)
	}
	return nil, ErrAmbiguous.Say("%d accounts of %s are connected; name one as account: %s", len(found), provider, strings.Join(labels, ", "))
}

// ask makes the request (or finds the equal one that is open) and gives it as *AuthRequired.
func (v *Vault) ask(ctx context.Context, c Caller, p *providers.Provider, w Wish, renews *Connection, reason string) error {
	if renews == nil {
		if err := v.unlike(ctx, c.Owner, p, w.Account); err != nil {
			return err
		}
	}
	method, ready, err := v.chooseMethod(ctx, c.Owner, p, w.Method, renews)
	if err != nil {
		return err
	}
	now := v.now()
	r := &Request{
		ID: rand.Text(), Owner: c.Owner, Client: c.Client, Verified: c.Verified, ClientName: c.ClientName,
		Provider: p.ID, Method: method, Account: w.Account, Scopes: wantedScopes(p, method, w.Scopes, renews), Reason: reason,
		MatchCode: matchCode(), State: Created, CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(v.requestTTL()),
	}
	if renews != nil {
		r.Renews, r.Account, r.Vars = renews.ID, renews.Account, renews.Vars
	}
	if !ready {
		r.Reason = NoOAuthApp
	}
	tooMany := ErrLimit.Say("%d sign-ins are open already; finish or revoke one first, or wait until they expire", v.openRequests())
	if full, err := v.full(ctx, r); err != nil {
		return err
	} else if full {
		return tooMany
	}
	if _, err := v.record(ctx, requestEvent(r, "request.create", "allow")); err != nil {
		return err
	}
	if _, err := v.Requests.CreateRequest(ctx, r, v.openRequests()); errors.Is(err, ErrLimit) {
		return tooMany
	} else if err != nil {
		return err
	}
	return v.authRequired(p, r, renews)
}

// unlike refuses a label for a new account that a person could take for the label of one that is there: the pages
// name accounts by their labels, and the agent chose this one.
func (v *Vault) unlike(ctx context.Context, o Owner, p *providers.Provider, account string) error {
	if account == "" {
		return nil
	}
	held, err := v.Connections.Connections(ctx, o, p.ID, "")
	if err != nil {
		return err
	}
	for _, c := range held {
		if providers.Lookalike(account, c.Account) {
			return ErrInvalid.Say("account %s looks like %s, which is connected; name that one exactly so, or call a new account something else", clip(account, maxAccount), plainLabel(c.Account))
		}
	}
	return nil
}

// full reports whether there is no room for r, before it is put on record: an agent that asks in
// a loop must not make the record grow. The store decides again, for those who ask at the same time.
func (v *Vault) full(ctx context.Context, r *Request) (bool, error) {
	open, err := v.Pending.OpenRequests(ctx, r.Owner)
	if err != nil {
		return false, err
	}
	live := 0
	for i := range open {
		switch {
		case !open[i].ExpiresAt.After(r.CreatedAt):
		case open[i].SameWish(r):
			return false, nil
		default:
			live++
		}
	}
	return live >= v.openRequests(), nil
}

func (v *Vault) authRequired(p *providers.Provider, r *Request, renews *Connection) *AuthRequired {
	a := &AuthRequired{
		RequestID: r.ID, ProviderID: p.ID, ProviderName: p.Name, Method: r.Method, Reason: r.Reason, Scopes: r.Scopes,
		URL: v.BaseURL() + "/c/" + r.ID, MatchCode: r.MatchCode, UserCode: r.UserCode, ExpiresAt: r.ExpiresAt, PollAfter: pollAfter,
	}
	reason := reasonText(p, r.Reason)
	if r.Reason == ReasonReauth && renews != nil {
		reason += ": " + whyReauth(orDefault(renews.Cause, causeEnded))
	}
	a.Message = fmt.Sprintf("%s. Show the user this link and the code %s, which the page shows too: %s — then call wait_for_auth with request_id %s.",
		reason, a.MatchCode, a.URL, a.RequestID)
	return a
}

func reasonText(p *providers.Provider, reason string) string {
	switch reason {
	case ReasonReauth:
		return "The user has to sign in to " + p.Name + " again"
	case InsufficientScope:
		return "The user has to allow more at " + p.Name
	case NoOAuthApp:
		return "The user has to sign in to " + p.Name + ", and to enter an OAuth app for it first; the page says how"
	}
	return "The user has to sign in to " + p.Name
}

// chooseMethod takes the wished method, else the connection's, else the first one
// that can start now, or else the first one. ready is false when its OAuth app is missing.
func (v *Vault) chooseMethod(ctx context.Context, o Owner, p *providers.Provider, wished string, renews *Connection) (method string, ready bool, err error) {
	if wished == "" && renews != nil {
		wished = renews.Method
	}
	first, hasApp := "", false
	for _, m := range p.Methods() {
		if wished != "" && m != wished || !v.offers(m) {
			continue
		}
		ready, err := v.ready(ctx, o, p, m)
		if first == "" {
			first, hasApp = m, ready
		}
		if err != nil || ready && v.lacks(ctx, m) == nil {
			return m, ready, err
		}
	}
	if first == "" {
		if wished == MethodDeviceCode && v.Identified && !v.DeviceFlow {
			return "", false, ErrDenied.Say("the device code flow is off on a server of many users (BCP 247); ask for another method")
		}
		return "", false, ErrInvalid.Say("%s cannot be connected on this server by %s", p.Name, orAny(wished))
	}
	return first, hasApp, nil
}

func orAny(method string) string {
	if method == "" {
		return "any of its methods"
	}
	return method
}

func (v *Vault) offers(method string) bool {
	if method == MethodDeviceCode && v.Identified && !v.DeviceFlow {
		return false
	}
	_, err := v.connector(method)
	return err == nil
}

// lacks is what this machine lacks for a sign-in by method, nil for nothing.
func (v *Vault) lacks(ctx context.Context, method string) error {
	conn, err := v.connector(method)
	if err != nil {
		return err
	}
	if n, ok := conn.(Needer); ok {
		return n.Ready(ctx)
	}
	return nil
}

// ready reports whether the OAuth app that a sign-in by method needs is there.
func (v *Vault) ready(ctx context.Context, o Owner, p *providers.Provider, method string) (bool, error) {
	if !needsApp(method) {
		return true, nil
	}
	_, err := v.app(ctx, o, p.ID, method)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// wantedScopes is what the sign-in asks for: the wish, or the definition's default,
// what tells whose account it is, and everything the old connection had.
func wantedScopes(p *providers.Provider, method string, wish []string, renews *Connection) []string {
	if p.OAuth2 == nil || !needsApp(method) {
		return nil
	}
	scopes := slices.Clone(wish)
	if len(scopes) == 0 {
		scopes = slices.Clone(p.OAuth2.Scopes.Default)
	}
	scopes = append(scopes, identityScopes(p, method)...)
	if renews != nil {
		scopes = append(scopes, renews.Scopes...)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// matchCode is what the person compares between agent and page. It protects against
// mix-ups, not against guessing: the request's id and the browser binding do that.
func matchCode() string {
	words := strings.Fields("AMBER BIRCH BLUE CEDAR CLOUD CORAL DELTA EMBER FJORD GOLD GREEN HAZEL IVORY JADE LEMON LILAC LUNAR MAPLE MINT OCEAN OLIVE OPAL PEARL PLUM RIVER ROSE SAGE SOLAR STONE TEAL TULIP WAVE")
	n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(words)*90))) // crypto/rand does not fail
	return fmt.Sprintf("%s-%d", words[n.Int64()%int64(len(words))], 10+n.Int64()/int64(len(words)))
}

func requestEvent(r *Request, kind, decision string) Event {
	return Event{Owner: r.Owner, Client: r.Client, Kind: kind, Provider: r.Provider, Request: r.ID, Decision: decision}
}
