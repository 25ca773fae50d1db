package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const (
	backTime = 20 * time.Second
	backBody = 512 << 10 // read with its copies in less than 2 MiB of memory
)

// tokenRequest is any request of the back channel, in the protocol's own words. The
// endpoint's definition says what becomes of them on the wire.
type tokenRequest struct {
	endpoint providers.Endpoint
	params   url.Values
	values   map[string]string // for the endpoint's templates
	subject  Secret            // the token that a request with auth bearer is about
	nameless bool              // without client authentication, do not even send client_id
}

// send makes exactly one request: a code or a rotating token must not be sent twice,
// not even to find out which way of authentication the server likes. A redirect is
// a refusal (RFC 9700 section 4.12).
func (o *OAuth) send(ctx context.Context, f *Flow, r tokenRequest) (*answer, error) {
	req, err := o.build(f, r)
	if err != nil {
		return nil, err
	}
	res, err := o.Out.Do(ctx, req)
	if err != nil {
		return nil, unreachable(f.Provider, err)
	}
	if res.Status >= 300 && res.Status < 400 {
		return nil, ErrUnavailable.Say("%s answered with a redirect, which is not followed; if that goes on, its definition has to be corrected", f.Provider.Name)
	}
	return &answer{Status: res.Status, RetryAfter: retryAfter(res.Header.Get("Retry-After"), f.Now), Body: res.Body}, nil
}

// build puts a request into the form that the definition describes.
func (o *OAuth) build(f *Flow, r tokenRequest) (egress.Request, error) {
	e := r.endpoint
	header := http.Header{"Accept": {"application/json"}}
	params, err := o.parameters(f, r, header)
	if err != nil {
		return egress.Request{}, err
	}
	for name, template := range e.Headers {
		value, err := expand(f.Provider, template, r.values)
		if err != nil {
			return egress.Request{}, err
		}
		header.Set(name, value)
	}
	target, err := o.target(f.Provider, e.URL, r.values)
	if err != nil {
		return egress.Request{}, err
	}
	req := egress.Request{Method: orDefault(e.Method, http.MethodPost), Target: target, Header: header, MaxBody: backBody, Timeout: backTime, Close: true}
	switch bodyForm(e) {
	case "query":
		req.Target.RawQuery, err = joinQuery(f.Provider, target.RawQuery, params)
	case "json":
		header.Set("Content-Type", "application/json")
		req.Body, err = json.Marshal(flat(params))
	case "form":
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Body = []byte(params.Encode())
	}
	return req, err
}

// parameters renames the protocol's words, adds the definition's own and proves who we are.
func (o *OAuth) parameters(f *Flow, r tokenRequest, header http.Header) (url.Values, error) {
	params := url.Values{}
	for name, values := range r.params {
		params[name] = values
	}
	if err := authenticate(f, r, params, header); err != nil {
		return nil, err
	}
	params = renamed(params, f.Provider.OAuth2.Client.Names, r.endpoint.Names)
	for name, template := range r.endpoint.Params {
		value, err := expand(f.Provider, template, r.values)
		if err != nil {
			return nil, err
		}
		params.Set(name, value)
	}
	return params, nil
}

// authenticate proves the client in one way and never in two (RFC 6749 section 2.3).
func authenticate(f *Flow, r tokenRequest, params url.Values, header http.Header) error {
	client := f.Provider.OAuth2.Client
	how := orDefault(r.endpoint.Auth, orDefault(client.Auth, "basic"))
	if f.Client.Empty() && how != "bearer" {
		how = "none"
	}
	switch how {
	case "basic":
		id, secret := f.ClientID, f.Client.Reveal()
		if !client.RawBasic {
			id, secret = url.QueryEscape(id), url.QueryEscape(secret)
		}
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
	case "post":
		params.Set("client_id", f.ClientID)
		params.Set("client_secret", f.Client.Reveal())
	case "none":
		if f.ClientID != "" && !r.nameless {
			params.Set("client_id", f.ClientID)
		}
	case "bearer":
		header.Set("Authorization", "Bearer "+r.subject.Reveal())
	default:
		return ErrConfig.Say("%s wants its clients to authenticate by %s, which is not available here", f.Provider.Name, how)
	}
	return nil
}

// renamed maps parameter names; the later list wins, and "" leaves a parameter out.
func renamed(params url.Values, lists ...map[string]string) url.Values {
	out := url.Values{}
	for name, values := range params {
		to := name
		for _, names := range lists {
			if n, ok := names[name]; ok {
				to = n
			}
		}
		if to != "" {
			out[to] = values
		}
	}
	return out
}

func bodyForm(e providers.Endpoint) string {
	if e.Body == "" && e.Method == http.MethodGet {
		return "query"
	}
	return orDefault(e.Body, "form")
}

func flat(params url.Values) map[string]string {
	out := make(map[string]string, len(params))
	for name := range params {
		out[name] = params.Get(name)
	}
	return out
}

// joinQuery keeps the query that is there and doubles no parameter (RFC 6749 section 3.1).
func joinQuery(p *providers.Provider, query string, params url.Values) (string, error) {
	have, err := url.ParseQuery(query)
	if err != nil {
		return "", ErrConfig.Say("an address in the definition of %s has a query that cannot be read; correct it", p.Name)
	}
	for name := range params {
		if have.Has(name) {
			return "", ErrConfig.Say("the definition of %s sets the parameter %s twice; correct it", p.Name, name)
		}
	}
	if query != "" && len(params) > 0 {
		query += "&"
	}
	return query + params.Encode(), nil
}

// target makes an address of the definition into one that may be called.
func (o *OAuth) target(p *providers.Provider, template string, values map[string]string) (egress.Target, error) {
	return targetOf(p, template, values, o.Loopback)
}

func targetOf(p *providers.Provider, template string, values map[string]string, loopback bool) (egress.Target, error) {
	if template == "" {
		return egress.Target{}, ErrConfig.Say("the definition of %s lacks an address that is needed here; correct it", p.Name)
	}
	raw, err := expand(p, template, values)
	if err != nil {
		return egress.Target{}, err
	}
	t, err := egress.Parse(raw, egress.ParseOptions{Loopback: loopback})
	if err != nil {
		return t, unreachable(p, err)
	}
	return t, nil
}

func expand(p *providers.Provider, template string, values map[string]string) (string, error) {
	s, err := p.Expand(template, values)
	if err != nil {
		return "", ErrConfig.Say("the definition of %s cannot be used with this sign-in: %s", p.Name, err)
	}
	return s, nil
}

// addResource names the resource in every request of a flow (RFC 8707 section 2).
func addResource(f *Flow, params url.Values) error {
	resource, err := resourceOf(f)
	if err == nil && resource != "" {
		params.Set("resource", resource)
	}
	return err
}

// resourceOf is an absolute URI without a fragment, or "".
func resourceOf(f *Flow) (string, error) {
	template := f.Provider.OAuth2.Token.Params["resource"]
	if template == "" {
		return "", nil
	}
	resource, err := expand(f.Provider, template, credentialValues(f, nil))
	if err != nil {
		return "", err
	}
	if u, err := url.Parse(resource); err != nil || !u.IsAbs() || u.Fragment != "" {
		return "", ErrConfig.Say("the definition of %s names a resource that is not an absolute URI without a fragment; correct it", f.Provider.Name)
	}
	return resource, nil
}
