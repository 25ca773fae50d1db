package auth

import (
	"context"
	"errors"
	"slices"
	"strings"

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
	RuleToken    = "token"     // the caller's token lacks ScopeRelease: nobody is asked
)

// Verdict is what the policy says about one call.
type Verdict struct {
	Allow bool
	Ask   bool   // the owner may allow it
	Rule  string // one of the Rule constants
	Grant *Grant // that allows; nil otherwise
}

// Never reports that nobody can allow the call.
func (v Verdict) Never() bool { return !v.Allow && !v.Ask }

// judge decides whether grants let a client make a call to t with c's credential. The
// API may take it for any of verbs. p is resolved with the connection's variables.
func judge(p *providers.Provider, c *Connection, grants []Grant, verbs []string, t egress.Target) Verdict {
	hosts, err := reach(p, c.Method, c.Vars)
	if err != nil || !t.MatchHost(c.Hosts) || !t.MatchHost(hosts) {
		return Verdict{Rule: RuleHost}
	}
	if slices.ContainsFunc(verbs, func(verb string) bool { return p.Denied(verb, t.Authority(), t.Path) }) {
		return Verdict{Rule: RuleDenyPath}
	}
	why := RuleNoGrant
	reads := onlyReads(p, verbs, t)
	for _, g := range grants {
		switch {
		case g.Kind != Use:
		case !g.covers(verbs, t):
			why = RuleScope
		case g.Access != Write && !reads:
			why = RuleReadOnly
		default:
			return Verdict{Allow: true, Rule: RuleGrant, Grant: &g}
		}
	}
	return Verdict{Ask: true, Rule: why}
}

// onlyReads reports whether the call reads, whichever of verbs the API takes it for.
func onlyReads(p *providers.Provider, verbs []string, t egress.Target) bool {
	return !slices.ContainsFunc(verbs, func(verb string) bool { return !p.Reads(verb, t.Authority(), t.Path) })
}

// covers reports whether the call is within the grant's methods and its paths and hosts. A call of several verbs is
// that together in one word of the grant's methods, which allows none of them alone, or each of them is.
func (g Grant) covers(verbs []string, t egress.Target) bool {
	missing := func(verb string) bool { return !slices.Contains(g.Methods, verb) }
	if len(g.Methods) > 0 && missing(methodOf(verbs)) && slices.ContainsFunc(verbs, missing) {
		return false
	}
	if len(g.Hosts) > 0 && !t.MatchHost(g.Hosts) {
		return false
	}
	return len(g.Paths) == 0 || slices.ContainsFunc(g.Paths, func(pattern string) bool { return matchPath(pattern, t.Path) })
}

// matchPath compares a canonical path with a pattern: * is exactly one segment, **
// at the end is the rest, and every other segment stands for itself. Nothing is
// decoded: both sides are spelt in the one way of egress.CanonicalPath.
func matchPath(pattern, path string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, segment := range want {
		switch {
		case segment == "**" && i == len(want)-1:
			return len(have) > i
		case i >= len(have), segment == "*" && have[i] == "", segment != "*" && segment != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// exactly is the pattern that matches one canonical path only. A path may hold a
// star of its own, which must not become a wildcard when the owner says always.
func exactly(path string) (pattern string, ok bool) {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "*" || segment == "**" {
			return "", false
		}
	}
	return path, true
}

// Explanation is what Call would do, and why.
type Explanation struct {
	Verdict
	Account string
	State   State    // of the connection
	Method  string   // as it would be sent; POST as DELETE when the query or the body names the second one
	URL     string   // canonical, without query
	Reads   bool     // the call only reads
	Hosts   []string // where the credential may go
}

// Explain says what Call would do, and which rule or grant decides. It sends
// nothing, asks nobody and changes nothing. ErrNotFound: there is no connection.
func (v *Vault) Explain(ctx context.Context, c Caller, call Call) (*Explanation, error) {
	if _, err := v.provider(call.Provider); err != nil {
		return nil, err
	}
	conn, grants, err := v.granted(ctx, c, call.Provider, call.Account)
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotFound.Say("%s is not connected%s, so every call is answered with auth_required; latchpost connect %s signs in", call.Provider, ofAccount(call.Account), call.Provider)
	}
	if err != nil {
		return nil, err
	}
	p, err := v.definition(conn)
	if err != nil {
		return nil, err
	}
	out, err := v.outgoing(p, conn, call)
	if err != nil {
		return nil, err
	}
	verbs, err := methods(out)
	if err != nil {
		return nil, err
	}
	return &Explanation{
		Verdict: judge(p, conn, grants, verbs, out.Target), Account: conn.Account, State: v.stateOf(conn),
		Method: methodOf(verbs), URL: out.Target.Origin() + out.Target.Path, Reads: onlyReads(p, verbs, out.Target), Hosts: conn.Hosts,
	}, nil
}
