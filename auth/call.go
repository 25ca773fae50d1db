package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// Call sends one HTTP request with the connection's credential and gives back what
// the API answered, without the credential. The order is the safety: target and
// headers are made canonical, the policy decides, the record is on disk, and only
// then the credential is opened. Redirects are not followed. A 401 is followed by
// one renewal and one more try; a call is otherwise never repeated.
//
// The error is *AuthRequired or *ApprovalRequired when a person has to act first:
// ask again with the same call when they have. Every decision is on record, once.
func (v *Vault) Call(ctx context.Context, c Caller, call Call) (*Response, error) {
	conn, grants, err := v.granted(ctx, c, call.Provider, call.Account)
	if errors.Is(err, ErrNotFound) || err == nil && v.signedOut(conn) { // usable asks for a sign-in
		if of, out, rule, err := v.hopeless(conn, call); err != nil {
			return nil, v.refuse(c, of, out.Method, out.Target, rule, err)
		}
		conn, grants, err = v.usable(ctx, c, call.Provider, call.Account, nil)
	}
	if err != nil {
		return nil, v.refuse(c, &Connection{Provider: clip(call.Provider, 40)}, call.Method, egress.Target{}, wordFor(err), err)
	}
	p, err := v.definition(conn)
	if err != nil {
		return nil, v.refuse(c, conn, call.Method, egress.Target{}, wordFor(err), err)
	}
	out, err := v.outgoing(p, conn, call)
	if err != nil {
		return nil, v.refuse(c, conn, out.Method, out.Target, "invalid", err)
	}
	verbs, err := methods(out)
	if err != nil {
		return nil, v.refuse(c, conn, out.Method, out.Target, "invalid", err)
	}
	method, verdict := methodOf(verbs), judge(p, conn, grants, verbs, out.Target)
	if verdict.Never() {
		return nil, v.refuse(c, conn, method, out.Target, verdict.Rule, never(p, conn, out, verdict.Rule))
	}
	free, err := v.limits.enter(c.Owner, v.now())
	if err != nil {
		return nil, v.refuse(c, conn, method, out.Target, "limit", err)
	}
	defer free()
	ctx, done := v.underWay(ctx, conn)
	defer done()
	judged, waited := conn, v.due(conn)
	if conn, err = v.fresh(ctx, conn, false); err != nil {
		err = v.mustReauth(ctx, c, Need{Provider: call.Provider, Account: call.Account}, err)
		return nil, v.refuse(c, &Connection{Provider: call.Provider}, method, out.Target, wordFor(err), err)
	}
	rule, err := v.permit(ctx, c, p, conn, out, verbs, verdict)
	if err == nil && waited { // a renewal takes its time
		conn, err = v.asItStands(ctx, judged, rule)
	}
	if err != nil {
		return nil, v.refuse(c, conn, method, out.Target, verdict.Rule, err)
	}
	return v.send(ctx, c, conn, method, out, rule)
}

// definition is the connection's provider, resolved with its variables.
func (v *Vault) definition(conn *Connection) (*providers.Provider, error) {
	p, err := v.provider(conn.Provider)
	if err != nil {
		return nil, err
	}
	if p, err = p.Resolve(conn.Vars); err != nil {
		return nil, ErrConfig.Say("the definition of %s does not fit this connection any more; the user has to sign in again", conn.Provider).Because(err)
	}
	return p, nil
}

// never says which rule refuses a call for good, and what the agent may do instead.
func never(p *providers.Provider, conn *Connection, out egress.Request, rule string) error {
	if rule == RuleHost {
		return ErrDenied.Say("rule host: the credential of %s goes to %s only, not to %s; use one of these hosts, or another connection", p.Name, strings.Join(conn.Hosts, ", "), out.Target.Authority())
	}
	return ErrDenied.Say("rule deny_path: agents cannot call this path of %s, because its answer would contain the credential in a form that cannot be removed; call another one", p.Name)
}

// permit lets a call pass that a grant allows, or that the owner allowed this once;
// otherwise the owner is asked.
func (v *Vault) permit(ctx context.Context, c Caller, p *providers.Provider, conn *Connection, out egress.Request, verbs []string, verdict Verdict) (rule string, err error) {
	if verdict.Allow {
		return RuleGrant + ":" + verdict.Grant.ID, nil
	}
	id, err := v.Approvals.Spend(ctx, c.Owner, c.Client, conn.ID, v.digest(c, conn, out), v.now())
	if errors.Is(err, ErrNotFound) {
		return "", v.askApproval(ctx, c, p, conn, v.frozen(c, p, conn, out, verbs, verdict.Rule))
	}
	return RuleApproval + ":" + id, err
}

// errMeanwhile is for a call whose ground was taken away before it was sent.
var errMeanwhile = ErrConflict.Say("the connection, or what you may do with it, changed meanwhile; repeat the call")

// asItStands gives conn as it is now, read again unless it is of the same generation and state still. It is an error when
// what rule allowed is not so any more: while somebody waited, for a renewal or for the record, the owner may have revoked
// the connection, taken the grant back, or signed in as somebody else.
func (v *Vault) asItStands(ctx context.Context, conn *Connection, rule string) (*Connection, error) {
	grant, granted := strings.CutPrefix(rule, RuleGrant+":")
	state, version, stands, err := v.Connections.Standing(ctx, conn.Owner, conn.ID, grant, v.now())
	if err != nil {
		return conn, err
	}
	now := conn
	if state != conn.State || version != conn.Version {
		if now, err = v.Connections.Connection(ctx, conn.Owner, conn.ID); err != nil {
			return conn, err
		}
	}
	switch {
	case now.State == Revoked:
		return now, errRevoked
	case !sameAccount(conn, now), granted && !stands:
		return now, errMeanwhile
	}
	return now, nil
}

// refuse notes that a call was refused, by which rule, and gives err.
func (v *Vault) refuse(c Caller, conn *Connection, method string, t egress.Target, rule string, err error) error {
	v.note(callEvent(c, conn, method, t, "deny", rule))
	return err
}

// wordFor is a word for the record: why the person has to act, or an error's code.
func wordFor(err error) string {
	if required, ok := errors.AsType[*AuthRequired](err); ok {
		return required.Reason
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known.Code
	}
	return "internal"
}

func callEvent(c Caller, conn *Connection, method string, t egress.Target, decision, rule string) Event {
	return Event{
		Owner: c.Owner, Client: c.Client, Kind: "call", Provider: conn.Provider, Connection: conn.ID, Decision: decision,
		Detail: map[string]string{"method": clip(method, 60), "host": t.Host, "path": clip(t.Path, 500), "rule": rule},
	}
}

// send makes the call, and once more with a renewed credential when the API answers 401.
func (v *Vault) send(ctx context.Context, c Caller, conn *Connection, method string, out egress.Request, rule string) (*Response, error) {
	id, err := v.record(ctx, callEvent(c, conn, method, out.Target, "allow", rule))
	if err != nil {
		return nil, err
	}
	a, err := v.try(ctx, conn, out, rule)
	if err == nil && a.resp.Status == http.StatusUnauthorized {
		a, err = v.tryAgain(ctx, a, out, rule)
	}
	var resp *Response
	if err == nil {
		resp = a.clean()
		v.limits.received(c.Owner, len(a.resp.Body), v.now())
	}
	v.note(outcome(c, conn, id, a, resp, err))
	switch {
	case errors.Is(err, ErrReauth):
		return nil, v.mustReauth(ctx, c, Need{Provider: conn.Provider, Account: conn.Account}, err)
	case err != nil:
		return nil, callError(ctx, err)
	}
	v.touch(conn)
	if more := a.wantsScope(); more != nil {
		if vain, _, err := v.inVain(ctx, a.conn, more); vain || err != nil {
			return resp, err
		}
		return nil, v.askAgain(ctx, c, Wish{Provider: conn.Provider, Account: conn.Account, Scopes: more}, conn, InsufficientScope)
	}
	return resp, nil
}

// outcome is the record of how a call ended. "failed" says that the API did not act
// on it, "unknown" that nobody can tell.
func outcome(c Caller, conn *Connection, of string, a *sending, resp *Response, err error) Event {
	e := Event{Of: of, Owner: c.Owner, Client: c.Client, Kind: "call.done", Provider: conn.Provider, Connection: conn.ID, Decision: "ok", Detail: map[string]string{}}
	if a.resp != nil {
		e.Detail["status"], e.Detail["bytes"] = strconv.Itoa(a.resp.Status), strconv.Itoa(len(a.resp.Body))
	}
	switch {
	case err != nil:
		e.Decision, e.Detail["cause"] = "failed", orDefault(string(egress.KindOf(err)), wordFor(err))
		if a.resp == nil && a.left && egress.Sent(err) {
			e.Decision = "unknown"
		}
	case resp.Redacted:
		e.Detail["redacted"] = "true"
	}
	return e
}

// sending is one try at a call: the connection as it stood in that moment, and
// every secret that was in play.
type sending struct {
	conn    *Connection
	flow    *Flow
	secrets []Secret
	carrier Carrier // nil: the credential was put into the request
	left    bool    // it was handed over for sending
	resp    *egress.Response
}

// try opens the credential as it is now, puts it on the request and sends it. The
// result is never nil.
func (v *Vault) try(ctx context.Context, conn *Connection, out egress.Request, rule string) (*sending, error) {
	a := &sending{}
	var err error
	// A revocation, here or in another process, that came before this is obeyed, and
	// one that comes after it finds the call under way and cancels it. So is the end of
	// the grant, which may have come while the record was written.
	if a.conn, err = v.asItStands(ctx, conn, rule); err != nil {
		return a, err
	}
	if !out.Target.MatchHost(a.conn.Hosts) { // signed in anew since the call was judged
		return a, errMeanwhile
	}
	p, err := v.definition(a.conn)
	if err != nil {
		return a, err
	}
	if bind(p, a.conn.Method) != a.conn.Bind {
		return a, ErrReauth.Say("the definition of %s changed where credentials are sent; the user has to sign in again", p.Name)
	}
	a.flow = &Flow{Provider: p, Connection: a.conn, Vars: a.conn.Vars, Now: v.now()} // a call needs no OAuth app
	cred, err := v.openCredential(ctx, a.conn)
	if err != nil {
		return a, err
	}
	method, err := v.connector(a.conn.Method)
	if err != nil {
		return a, err
	}
	a.secrets = cred.Secrets()
	if a.carrier, _ = method.(Carrier); a.carrier != nil {
		a.secrets = append(a.secrets, a.carrier.Secrets(cred)...)
	}
	if a.carrier != nil {
		out.MaxBody = maxCallAnswer + readAhead
		return a, v.carry(ctx, a, cred, out)
	}
	if out.Target, out.Header, err = inject(p, cred, a.conn.Method, a.conn.Vars, out.Target, out.Header); err != nil {
		return a, err
	}
	if basic, ok := strings.CutPrefix(out.Header.Get("Authorization"), "Basic "); ok {
		a.secrets = append(a.secrets, NewSecret(basic)) // an echo may encode it once more, and its parts may be too short to be looked for
	}
	a.secrets = append(a.secrets, spelt(p, a.conn.Method, a.secrets)...)
	out.MaxBody, out.Party = maxCallAnswer+readAhead, a.conn.Owner
	a.left = true
	resp, err := v.Out.Do(ctx, out)
	if err == nil { // otherwise it is a header without its body, and no answer
		a.resp = resp
	}
	return a, err
}

// callError says what went wrong outside, and nothing of the inside network.
func callError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errRevoked) {
		return errRevoked.Because(err)
	}
	known, ok := errors.AsType[*Error](err)
	if ok {
		return known
	}
	way, ok := errors.AsType[*egress.Error](err)
	switch {
	case errors.Is(err, context.Canceled), !ok:
		return err
	case way.Sent:
		return ErrUnavailable.Say("%s; the API may have acted on the call all the same, so look before you repeat it", way.Error()).Because(err)
	}
	return ErrUnavailable.Say("%s; nothing was sent", way.Error()).Because(err)
}

// wantsScope reads a 403 that asks for more scopes (RFC 6750 section 3.1), and goes by those that may be taken from an API.
// It is nil when signing in again would not help: the sign-in has no scopes, or has these.
func (a *sending) wantsScope() []string {
	if a.resp.Status != http.StatusForbidden || !needsApp(a.conn.Method) {
		return nil
	}
	for _, challenge := range a.resp.Header.Values("WWW-Authenticate") {
		if !insufficientScope.MatchString(challenge) {
			continue
		}
		wanted := scopeOf(challenge)
		if wanted == "" || a.redactor().RedactString(wanted) != wanted {
			continue
		}
		scopes := slices.DeleteFunc(strings.Fields(wanted), func(s string) bool { return !a.flow.takesScope(s) })
		held := func(s string) bool { return slices.Contains(a.conn.Scopes, s) }
		if checkScopes(scopes) == nil && slices.ContainsFunc(scopes, func(s string) bool { return !held(s) }) {
			return scopes
		}
	}
	return nil
}
