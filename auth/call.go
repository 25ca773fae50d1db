package auth

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const (
	maxCallBody   = 1 << 20 // bytes that an agent may send
	maxCallAnswer = 1 << 20 // decoded bytes that come back
)

var callMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// Call sends one HTTP request with the connection's credential and gives back what
// the API answered, without the credential. The order is the safety: target and
// headers are made canonical, the policy decides, the record is on disk, and only
// then the credential is opened. Redirects are not followed. A 401 is followed by
// one renewal and one more try; a call is otherwise never repeated.
func (v *Vault) Call(ctx context.Context, c Caller, call Call) (*Response, error) {
	conn, grants, err := v.usable(ctx, c, call.Provider, call.Account, nil)
	if err != nil {
		return nil, err
	}
	p, err := v.provider(conn.Provider)
	if err != nil {
		return nil, err
	}
	if p, err = p.Resolve(conn.Vars); err != nil {
		return nil, ErrConfig.Say("the definition of %s does not fit this connection any more; the user has to sign in again", conn.Provider).Because(err)
	}
	out, err := v.outgoing(p, conn, call)
	if err != nil {
		v.note(callEvent(c, conn, call.Method, egress.Target{}, "deny", "invalid"))
		return nil, err
	}
	rule, err := v.permit(ctx, c, p, conn, grants, out)
	if err != nil {
		return nil, err
	}
	free, err := v.limits.enter(c.Owner)
	if err != nil {
		v.note(callEvent(c, conn, out.Method, out.Target, "deny", "limit"))
		return nil, err
	}
	defer free()
	ctx, done := v.running.add(ctx, conn.ID)
	defer done()
	resp, err := v.send(ctx, c, conn, out, rule)
	if errors.Is(err, ErrReauth) {
		return nil, v.mustReauth(ctx, c, Need{Provider: conn.Provider, Account: conn.Account}, err)
	}
	return resp, err
}

// outgoing is the request as it will be sent, before the credential is in it.
func (v *Vault) outgoing(p *providers.Provider, conn *Connection, call Call) (egress.Request, error) {
	var out egress.Request
	method := strings.ToUpper(orDefault(call.Method, http.MethodGet))
	if !slices.Contains(callMethods, method) {
		return out, ErrInvalid.Say("method must be one of %s", strings.Join(callMethods, ", "))
	}
	if len(call.Body) > maxCallBody {
		return out, ErrInvalid.Say("the body has %d bytes; at most %d are sent", len(call.Body), maxCallBody)
	}
	target, err := v.callTarget(p, conn, call)
	if err != nil {
		return out, err
	}
	header, err := egress.RequestHeaders(call.Headers, p.API.HeadersAllowed)
	if err != nil {
		return out, ErrInvalid.Say("%s", err)
	}
	return egress.Request{Method: method, Target: target, Header: header, Body: call.Body, MaxBody: maxCallAnswer, Truncate: true}, nil
}

// callTarget makes the URL of a call canonical.
func (v *Vault) callTarget(p *providers.Provider, conn *Connection, call Call) (egress.Target, error) {
	opt := egress.ParseOptions{Loopback: v.Loopback}
	raw := call.URL
	switch {
	case (call.URL == "") == (call.Path == ""):
		return egress.Target{}, ErrInvalid.Say("give either url or path")
	case call.Path != "":
		base, err := base(p, conn.Method, conn.Vars)
		if err != nil {
			return egress.Target{}, ErrConfig.Say("the base address of %s cannot be made; give the whole url", p.Name).Because(err)
		}
		if base == "" {
			return egress.Target{}, ErrInvalid.Say("%s has no base address; give the whole url", p.Name)
		}
		raw = base
	}
	t, err := egress.Parse(raw, opt)
	if err == nil && call.Path != "" {
		t, err = t.JoinPath(call.Path)
	}
	if err != nil {
		return egress.Target{}, ErrInvalid.Say("%s", err)
	}
	if len(call.Query) > 0 {
		t.RawQuery = strings.TrimPrefix(t.RawQuery+"&"+url.Values(call.Query).Encode(), "&")
	}
	return t, nil
}

// permit lets the policy decide. What it refuses is on record, and says which rule
// refused and what the agent may do instead.
func (v *Vault) permit(ctx context.Context, c Caller, p *providers.Provider, conn *Connection, grants []Grant, out egress.Request) (rule string, err error) {
	verdict := judge(p, conn, grants, out.Method, out.Target)
	switch {
	case verdict.Allow:
		return verdict.Rule, nil
	case verdict.Ask:
		id, err := v.Approvals.Spend(ctx, c.Owner, c.Client, conn.ID, v.digest(c, conn, out), v.now())
		if err == nil {
			return RuleApproval + ":" + id, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return "", err
		}
		v.note(callEvent(c, conn, out.Method, out.Target, "deny", verdict.Rule))
		return "", v.askApproval(ctx, c, p, conn, v.frozen(c, conn, out, verdict.Rule))
	}
	v.note(callEvent(c, conn, out.Method, out.Target, "deny", verdict.Rule))
	if verdict.Rule == RuleHost {
		return "", ErrDenied.Say("rule host: the credential of %s goes to %s only, not to %s", p.Name, strings.Join(conn.Hosts, ", "), out.Target.Authority())
	}
	return "", ErrDenied.Say("rule deny_path: agents cannot call this path of %s, because its answer would contain the credential in a form that cannot be removed", p.Name)
}

func callEvent(c Caller, conn *Connection, method string, t egress.Target, decision, rule string) Event {
	return Event{
		Owner: c.Owner, Client: c.Client, Kind: "call", Provider: conn.Provider, Connection: conn.ID, Decision: decision,
		Detail: map[string]string{"method": clip(method, 10), "host": t.Host, "path": clip(t.Path, 500), "rule": rule},
	}
}

// send makes the call, and once more with a renewed credential when the API answers 401.
func (v *Vault) send(ctx context.Context, c Caller, conn *Connection, out egress.Request, rule string) (*Response, error) {
	conn, err := v.fresh(ctx, conn, false)
	if err != nil {
		return nil, err
	}
	id, err := v.record(ctx, callEvent(c, conn, out.Method, out.Target, "allow", rule))
	if err != nil {
		return nil, err
	}
	resp, cred, err := v.once(ctx, conn, out)
	if err == nil && resp.Status == http.StatusUnauthorized && v.renewable(conn) {
		renewed, renewErr := v.fresh(ctx, conn, true)
		if err = renewErr; err == nil && renewed.Version != conn.Version {
			conn = renewed
			if resp, cred, err = v.once(ctx, conn, out); err == nil && resp.Status == http.StatusUnauthorized {
				v.refused(ctx, conn)
			}
		}
	} else if err == nil && resp.Status == http.StatusUnauthorized {
		v.refused(ctx, conn)
	}
	v.noteOutcome(c, conn, id, resp, err)
	if err != nil {
		return nil, callError(err)
	}
	v.touch(conn)
	v.limits.received(c.Owner, len(resp.Body))
	if more := wantsScope(resp); more != nil {
		return nil, v.askAgain(ctx, c, Wish{Provider: conn.Provider, Account: conn.Account, Scopes: more}, conn, InsufficientScope)
	}
	return v.clean(conn, cred, resp), nil
}

// once opens the credential, puts it on the request and sends it.
func (v *Vault) once(ctx context.Context, conn *Connection, out egress.Request) (*egress.Response, *Credential, error) {
	f, err := v.flow(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	cred, err := v.openCredential(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	method, err := v.connector(conn.Method)
	if err != nil {
		return nil, nil, err
	}
	if carrier, ok := method.(Carrier); ok {
		resp, rolled, err := carrier.Carry(ctx, f, cred, out)
		if err == nil && rolled != nil {
			err = v.saveRolled(ctx, conn, rolled)
		}
		return resp, cred, err
	}
	out.Target, out.Header, err = inject(f.Provider, cred, conn.Method, conn.Vars, out.Target, out.Header)
	if err != nil {
		return nil, nil, err
	}
	resp, err := v.Out.Do(ctx, out)
	return resp, cred, err
}

// saveRolled writes back a session that the site rolled. Losing a race is no harm:
// the winner's cookies are as new as ours.
func (v *Vault) saveRolled(ctx context.Context, conn *Connection, rolled *Credential) error {
	next := *conn
	next.Version++
	if err := v.sealCredential(&next, rolled); err != nil {
		return err
	}
	if err := v.Connections.SaveSealed(context.WithoutCancel(ctx), &next); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// refused notes that the API does not take a credential that was just made, or
// that nobody can renew.
func (v *Vault) refused(ctx context.Context, conn *Connection) {
	err := v.Connections.SetState(context.WithoutCancel(ctx), conn.Owner, conn.ID, conn.Version, NeedsReauth, "refused_by_api")
	if err != nil && !errors.Is(err, ErrConflict) {
		v.log().Error("state of a connection not noted", "connection", conn.ID, "error", err)
	}
}

func (v *Vault) noteOutcome(c Caller, conn *Connection, of string, resp *egress.Response, err error) {
	e := Event{Of: of, Owner: c.Owner, Client: c.Client, Kind: "call.done", Provider: conn.Provider, Connection: conn.ID, Decision: "ok", Detail: map[string]string{}}
	if err != nil {
		e.Decision, e.Detail["cause"] = "failed", string(egress.KindOf(err))
		if egress.Sent(err) {
			e.Decision = "unknown"
		}
	} else {
		e.Detail["status"], e.Detail["bytes"] = strconv.Itoa(resp.Status), strconv.Itoa(len(resp.Body))
	}
	v.note(e)
}

// callError says what went wrong outside, and nothing of the inside network.
func callError(err error) error {
	var known *Error
	var way *egress.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &way) && way.Sent:
		return ErrUnavailable.Say("%s; the API may have acted on the call all the same, so look before you repeat it", way.Error()).Because(err)
	case errors.As(err, &way):
		return ErrUnavailable.Say("%s; nothing was sent", way.Error()).Because(err)
	}
	return err
}

// wantsScope reads a 403 that asks for more scopes (RFC 6750 section 3.1).
func wantsScope(resp *egress.Response) []string {
	challenge := resp.Header.Get("WWW-Authenticate")
	if resp.Status != http.StatusForbidden || !strings.Contains(challenge, `error="insufficient_scope"`) {
		return nil
	}
	_, rest, found := strings.Cut(challenge, `scope="`)
	if found && !strings.HasPrefix(rest, `"`) {
		list, _, _ := strings.Cut(rest, `"`)
		scopes := strings.Fields(list)
		if len(scopes) > 0 && checkScopes(scopes) == nil {
			return scopes
		}
	}
	return nil
}

// clean takes the secrets and the harmful bytes out of an answer.
func (v *Vault) clean(conn *Connection, cred *Credential, resp *egress.Response) *Response {
	redactor := v.redactor(conn, cred)
	out := &Response{Status: resp.Status, Headers: map[string]string{}, ContentType: resp.Header.Get("Content-Type"), Truncated: resp.Truncated, Account: conn.Account}
	for name, values := range egress.ResponseHeaders(resp.Header) {
		out.Headers[strings.ToLower(name)] = redactor.RedactString(strings.Join(values, ", "))
	}
	out.LocationHost = out.Headers["location-host"]
	delete(out.Headers, "location-host")
	out.Body = redactor.Redact(resp.Body)
	out.Redacted = !bytes.Equal(out.Body, resp.Body)
	if out.Text = isText(out.ContentType, out.Body); out.Text {
		out.Body = []byte(egress.Sanitize(string(out.Body)))
	}
	return out
}

func (v *Vault) redactor(conn *Connection, cred *Credential) *egress.Redactor {
	secrets := cred.Secrets()
	if method, err := v.connector(conn.Method); err == nil {
		if carrier, ok := method.(Carrier); ok {
			secrets = carrier.Secrets(cred)
		}
	}
	raw := make([][]byte, len(secrets))
	for i, s := range secrets {
		raw[i] = []byte(s.Reveal())
	}
	return egress.NewRedactor(raw...)
}

// isText decides by the bytes: what the API calls its answer is a hint.
func isText(contentType string, body []byte) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	for _, binary := range []string{"image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/octet-stream"} {
		if strings.HasPrefix(kind, binary) {
			return false
		}
	}
	return utf8.Valid(body) && !slices.Contains(body, 0)
}
