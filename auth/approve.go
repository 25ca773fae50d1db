package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const (
	approvalTTL   = 15 * time.Minute
	openApprovals = 20
	previewBytes  = 2 << 10
	shownValue    = 200 // bytes of a header, which is ASCII
)

// frozen are the facts of a call that the owner is asked about.
func (v *Vault) frozen(c Caller, p *providers.Provider, conn *Connection, out egress.Request, verbs []string, rule string) Approval {
	sum := sha256.Sum256(out.Body)
	shown := out.Target
	shown.RawQuery = hideValues(shown.RawQuery)
	a := Approval{
		Kind: Use, Digest: v.digest(c, conn, out), Method: methodOf(verbs), URL: shown.String(), Why: rule,
		BodyDigest: hex.EncodeToString(sum[:]),
	}
	if isText("", out.Body) { // the agent names the type, and an API may read the body all the same
		a.Preview = preview(out.Body)
	} else if len(out.Body) > 0 {
		a.Preview = fmt.Sprintf("%d bytes that are not text", len(out.Body))
	}
	a.Preview = opened(p, out.Header) + a.Preview
	return a
}

// opened are the headers of a call that only its definition lets agents set, for people: such a one may say on whose
// behalf, or in which account, the call acts.
func opened(p *providers.Provider, header http.Header) string {
	var lines []string
	for _, name := range p.API.HeadersAllowed {
		if value := header.Get(name); len(value) > shownValue {
			lines = append(lines, fmt.Sprintf("%s: %s… and %d bytes more\n", name, value[:shownValue], len(value)-shownValue))
		} else if value != "" {
			lines = append(lines, name+": "+value+"\n")
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "") + "\n"
}

// preview is what a person reads of a body. It hides nothing, and says when there is more.
func preview(body []byte) string {
	if len(body) <= previewBytes {
		return egress.Visible(string(body))
	}
	return egress.Visible(string(wholeRunes(body[:previewBytes]))) + fmt.Sprintf("\n… and %d bytes more", len(body)-previewBytes)
}

// hideValues keeps a query as it is sent, whatever that is, and shortens long values, which may be secret.
func hideValues(raw string) string {
	parts := strings.Split(raw, "&")
	for i, part := range parts {
		if name, value, _ := strings.Cut(part, "="); len(value) > 40 {
			parts[i] = name + "=" + value[:20] + "…"
		}
	}
	return strings.Join(parts, "&")
}

// digest binds an approval to exactly one call: caller, connection, method, URL, headers and body.
func (v *Vault) digest(c Caller, conn *Connection, out egress.Request) []byte {
	facts := []string{Use, c.Org, c.User, c.Client, conn.ID, conn.Account, began(conn), out.Method, out.Target.String(), string(out.Body)}
	for _, name := range slices.Sorted(maps.Keys(out.Header)) {
		facts = append(append(facts, name), out.Header[name]...)
	}
	return v.bound(facts...)
}

// IsFor reports whether a connection still has the account that the owner was asked about: another one may be called the same.
func (a *Approval) IsFor(c *Connection) bool {
	return c.Account == a.Account && !a.CreatedAt.Before(c.CreatedAt)
}

// began tells two accounts that had a connection one after the other apart, whatever they are called.
func began(conn *Connection) string { return strconv.FormatInt(conn.CreatedAt.UnixMilli(), 10) }

// sameAccount reports whether a connection still has the account that it had: another one may be called the same.
func sameAccount(a, b *Connection) bool { return a.Account == b.Account && began(a) == began(b) }

// bound is a keyed digest of facts, each with its length, so that no two lists are alike.
func (v *Vault) bound(facts ...string) []byte {
	var b []byte
	for _, f := range facts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return v.Box.MAC("approval")(b)
}

// askApproval freezes the question to the owner and gives it as *ApprovalRequired.
func (v *Vault) askApproval(ctx context.Context, c Caller, p *providers.Provider, conn *Connection, a Approval) error {
	now := v.now()
	a.ID, a.Owner, a.Client, a.Verified, a.ClientName = rand.Text(), c.Owner, c.Client, c.Verified, c.ClientName
	a.Connection, a.Provider, a.Account = conn.ID, conn.Provider, conn.Account
	a.State, a.CreatedAt, a.ExpiresAt = Waiting, now, now.Add(approvalTTL)
	if a.Digest == nil {
		a.Digest = v.bound(a.Kind, c.Org, c.User, c.Client, conn.ID, conn.Account, began(conn))
	}
	existing, err := v.Approvals.AddApproval(ctx, &a, openApprovals)
	if errors.Is(err, ErrLimit) {
		return ErrLimit.Say("%d approvals are waiting already; the user has to decide them first: %s/approvals", openApprovals, v.BaseURL())
	}
	if err != nil {
		return err
	}
	if !existing {
		v.note(approvalEvent(&a, "approval.ask", "deny"))
		v.announce(&a)
	}
	required := &ApprovalRequired{
		RequestID: a.ID, ProviderID: p.ID, ProviderName: p.Name, Account: conn.Account, Reason: a.Why,
		URL: v.BaseURL() + "/approvals/" + a.ID, ExpiresAt: a.ExpiresAt, PollAfter: pollAfter,
	}
	required.Message = fmt.Sprintf("%s Show the user this link: %s — then call wait_for_auth with request_id %s, and repeat this call unchanged.",
		askText(p, &a), required.URL, a.ID)
	return required
}

func askText(p *providers.Provider, a *Approval) string {
	switch a.Why {
	case RuleReadOnly:
		return fmt.Sprintf("Rule read_only: the user let you read from %s, and this %s would change something; the user has to allow it.", p.Name, a.Method)
	case RuleScope:
		return fmt.Sprintf("Rule scope: this call to %s is outside of what the user granted; the user has to allow it.", p.Name)
	case RuleRelease:
		return fmt.Sprintf("Rule release: the raw credential of %s is released only when the user says so; call_api works without it.", p.Name)
	}
	return fmt.Sprintf("Rule no_grant: %s is connected, but the user has not let you use it yet.", p.Name)
}

func approvalEvent(a *Approval, kind, decision string) Event {
	return Event{
		Owner: a.Owner, Client: a.Client, Kind: kind, Provider: a.Provider, Connection: a.Connection, Request: a.ID, Decision: decision,
		Detail: map[string]string{"kind": a.Kind, "method": a.Method, "rule": a.Why},
	}
}

// announce tells the owner, by the operator's hooks, that something waits.
func (v *Vault) announce(a *Approval) {
	if v.Announce != nil {
		v.Announce(*a)
	}
}

// Decision is the owner's word on an approval.
type Decision struct {
	Allow  bool          // this one call, unless For or Always say more
	For    time.Duration // a grant of this length
	Always bool          // a grant without end: this client, this host and path
	Access string        // of a grant that lets a client in: Read or Write
}

// decideApproval carries out the owner's word.
func (v *Vault) decideApproval(ctx context.Context, o Owner, id string, d Decision) error {
	a, err := v.Approvals.Approval(ctx, o, id)
	if errors.Is(err, ErrNotFound) {
		v.noteUnknown(Caller{Owner: o, Client: ClientOwner})
	}
	if err != nil {
		return err
	}
	now := v.now()
	if a.State != Waiting {
		return ErrUsed.Say("this was decided already")
	}
	if now.After(a.ExpiresAt) {
		return ErrExpired.Say("this question is too old; the agent has to ask again")
	}
	if !d.Allow {
		v.lament(ctx, approvalEvent(a, "approval.refuse", "deny"))
		return v.Approvals.Decide(ctx, o, id, Refused, false, nil, now)
	}
	conn, err := v.Connections.Connection(ctx, o, a.Connection)
	if err != nil {
		return err
	}
	replaced := ErrConflict.Say("%s was replaced by another account meanwhile; the agent has to ask again", a.Account)
	if !a.IsFor(conn) {
		return replaced
	}
	g, err := grantOf(a, d, now)
	if err != nil {
		return err
	}
	e := approvalEvent(a, "approval.allow", "allow")
	e.Detail["once"] = fmt.Sprint(g == nil)
	if g != nil && !g.Until.IsZero() {
		e.Detail["until"] = g.Until.UTC().Format(time.RFC3339)
	}
	allowed, err := v.record(ctx, e)
	if err != nil {
		return err
	}
	if err = v.Approvals.Decide(ctx, o, id, Approved, g == nil, g, now); err == nil {
		return nil
	}
	failed := approvalEvent(a, "approval.done", "failed") // the record says that it was allowed
	failed.Of, failed.Detail["cause"] = allowed, wordFor(err)
	v.note(failed)
	if errors.Is(err, ErrConflict) {
		return replaced
	}
	return err
}

// maxRelease is how long the raw credential may be released for.
const maxRelease = 24 * time.Hour

// grantOf makes the grant that a decision means; nil when it is for once. A call
// that was approved for longer is approved for this client, method, host and path.
func grantOf(a *Approval, d Decision, now time.Time) (*Grant, error) {
	g := &Grant{ID: rand.Text(), Owner: a.Owner, Client: a.Client, ClientName: a.ClientName, Connection: a.Connection, Kind: a.Kind, CreatedAt: now, Origin: "approval:" + a.ID}
	if d.For > 0 {
		g.Until = now.Add(d.For)
	}
	switch {
	case a.Kind == Release && (d.Always || d.For <= 0 || d.For > maxRelease):
		return nil, ErrInvalid.Say("the raw credential is released for a time of at most a day; choose one")
	case a.Kind == Release:
		return g, nil
	case a.Method == "": // the question was whether the client may come in at all
		g.Access = Read
		if d.Access == Write {
			g.Access = Write
		}
		return g, nil
	case !d.Always && d.For <= 0:
		return nil, nil
	}
	t, err := url.Parse(a.URL)
	if err != nil {
		return nil, err
	}
	path, ok := exactly(t.EscapedPath())
	if !ok {
		return nil, ErrInvalid.Say("this path has a star in it, which would stand for every path; allow it once instead")
	}
	g.Access, g.Methods, g.Hosts, g.Paths = Write, []string{a.Method}, []string{t.Host}, []string{path}
	return g, nil
}
