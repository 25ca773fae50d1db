package auth

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const maxCallBody = 1 << 20 // bytes that an agent may send

var callMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// outgoing is the request as it will be sent, before the credential is in it. What
// can be told of it is given beside an error, for the record.
func (v *Vault) outgoing(p *providers.Provider, conn *Connection, call Call) (out egress.Request, err error) {
	out.Truncate = true
	out.Method = strings.ToUpper(orDefault(call.Method, http.MethodGet))
	if !slices.Contains(callMethods, out.Method) {
		return out, ErrInvalid.Say("method must be one of %s", strings.Join(callMethods, ", "))
	}
	if out.Target, err = v.callTarget(p, conn, call); err != nil {
		return out, err
	}
	if out.Header, err = egress.RequestHeaders(call.Headers, p.API.HeadersAllowed); err != nil {
		return out, ErrInvalid.Say("%s", err)
	}
	body, kind, err := call.body()
	switch {
	case err != nil:
		return out, err
	case len(body) > maxCallBody:
		return out, ErrInvalid.Say("the body has %d bytes; at most %d are sent", len(body), maxCallBody)
	case len(body) > 0 && (out.Method == http.MethodGet || out.Method == http.MethodHead):
		return out, ErrInvalid.Say("%s has no body; put its content into query, or use another method", out.Method)
	case kind != "" && out.Header.Get("Content-Type") != "":
		return out, ErrInvalid.Say("header content-type is made from the form; leave it out")
	case kind != "":
		out.Header.Set("Content-Type", kind)
	}
	out.Body = body
	return out, nil
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
		if _, err := egress.Parse(t.String(), opt); err != nil { // it may be too long now
			return t, ErrInvalid.Say("%s", err)
		}
	}
	return t, reservedQuery(p, conn, t)
}

// reservedQuery refuses a parameter that the credential belongs in, where the
// provider wants it in the query.
func reservedQuery(p *providers.Provider, conn *Connection, t egress.Target) error {
	var reserved []string
	for _, s := range sends(p, conn.Method) {
		if s.In != "query" {
			continue
		}
		name, err := expand(p, s.Name, conn.Vars)
		if err != nil {
			return err
		}
		reserved = append(reserved, name)
	}
	for part := range strings.FieldsFuncSeq(t.RawQuery, endsField) {
		key, _, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(key)
		if err != nil {
			return ErrInvalid.Say("the query cannot be read; encode it properly")
		}
		if slices.Contains(reserved, name) {
			return ErrInvalid.Say("query parameter %s is where the credential goes; leave it out", name)
		}
	}
	return nil
}
