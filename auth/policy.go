package auth

import (
	"context"
	"slices"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Rules that decide a brokered call. The agent, the audit and `latchpost explain`
// name them in the same words.
const (
	RuleGrant    = "grant"     // allowed by a grant
	RuleApproval = "approval"  // allowed once by the owner
	RuleHost     = "host"      // the host is not one of the connection's: never allowed
	RuleDenyPath = "deny_path" // the definition keeps this path from agents: never allowed
	RuleNoGrant  = "no_grant"  // this client was never let in: the owner is asked
	RuleReadOnly = "read_only" // the grant covers reading, the call writes: the owner is asked
	RuleScope    = "scope"     // the grant names other methods, paths or hosts: the owner is asked
	RuleRelease  = "release"   // the raw credential needs a grant of its own
)

// Verdict is what the policy says about one call.
type Verdict struct {
	Allow bool
	Ask   bool   // the owner may allow it
	Rule  string // one of the Rule constants
	Grant string // id of the grant that allows
}

// judge decides whether grants let a client send method to t with c's credential.
// p is resolved with the connection's variables.
func judge(p *providers.Provider, c *Connection, grants []Grant, method string, t egress.Target) Verdict {
	hosts, err := reach(p, c.Method, c.Vars)
	if err != nil || !t.MatchHost(c.Hosts) || !t.MatchHost(hosts) {
		return Verdict{Rule: RuleHost}
	}
	if p.Denied(method, t.Authority(), t.Path) {
		return Verdict{Rule: RuleDenyPath}
	}
	why := RuleNoGrant
	reads := p.Reads(method, t.Authority(), t.Path)
	for _, g := range grants {
		switch {
		case g.Kind != Use:
		case !g.covers(method, t):
			why = RuleScope
		case g.Access != Write && !reads:
			why = RuleReadOnly
		default:
			return Verdict{Allow: true, Rule: RuleGrant, Grant: g.ID}
		}
	}
	return Verdict{Ask: true, Rule: why}
}

// covers reports whether the call is within the grant's methods, paths and hosts.
func (g Grant) covers(method string, t egress.Target) bool {
	if len(g.Methods) > 0 && !slices.Contains(g.Methods, method) {
		return false
	}
	if len(g.Hosts) > 0 && !t.MatchHost(g.Hosts) {
		return false
	}
	return len(g.Paths) == 0 || slices.ContainsFunc(g.Paths, func(path string) bool {
		return providers.PathRule{Path: path}.Matches(method, t.Authority(), t.Path)
	})
}

// Explain says what Call would do, and which rule or grant decides. It sends
// nothing, asks nobody and changes nothing. ErrNotFound: there is no connection.
func (v *Vault) Explain(ctx context.Context, c Caller, call Call) (Verdict, error) {
	conn, err := v.pick(ctx, c.Owner, call.Provider, call.Account)
	if err != nil {
		return Verdict{}, err
	}
	p, err := v.provider(conn.Provider)
	if err != nil {
		return Verdict{}, err
	}
	if p, err = p.Resolve(conn.Vars); err != nil {
		return Verdict{}, err
	}
	out, err := v.outgoing(p, conn, call)
	if err != nil {
		return Verdict{}, err
	}
	grants, err := v.Grants.Grants(ctx, c.Owner, c.Client, conn.ID, v.now())
	if err != nil {
		return Verdict{}, err
	}
	return judge(p, conn, grants, out.Method, out.Target), nil
}
