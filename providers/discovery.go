package providers

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// Metadata is what we take from an authorization server's discovery document
// (RFC 8414 section 2, OpenID Connect Discovery section 3).
type Metadata struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Device        string `json:"device_authorization_endpoint"`
	PAR           string `json:"pushed_authorization_request_endpoint"`
	Revocation    string `json:"revocation_endpoint"`
	Introspection string `json:"introspection_endpoint"`
	UserInfo      string `json:"userinfo_endpoint"`
	JWKS          string `json:"jwks_uri"`

	// RequirePAR: the server takes pushed requests only (RFC 9126 section 5).
	RequirePAR bool `json:"require_pushed_authorization_requests"`
	// IssInCallback: every callback carries iss (RFC 9207 section 3).
	IssInCallback bool `json:"authorization_response_iss_parameter_supported"`

	PKCE      []string `json:"code_challenge_methods_supported"`
	TokenAuth []string `json:"token_endpoint_auth_methods_supported"`
}

// MetadataOptions are what a definition knows about its server's document.
type MetadataOptions struct {
	// Loopback lets http://127.0.0.1 endpoints pass, for a loopback issuer only.
	Loopback bool
	// IssuerTemplate is a second spelling of the issuer that is accepted (oauth2.issuer_template).
	IssuerTemplate string
	// RequirePKCE refuses a document that does not list S256 (oauth2.pkce is required).
	RequirePKCE bool
}

// ParseMetadata reads and checks a discovery document, at most 256 KiB of it. Its issuer
// must equal the one asked for byte for byte (RFC 8414 section 3.3), every endpoint must
// be https on a public name, and a list of PKCE methods must contain S256.
func ParseMetadata(issuer string, data []byte, opt MetadataOptions) (*Metadata, error) {
	m := new(Metadata)
	if err := strictjson.Decode(data, m, strictjson.Limits{Unknown: true}); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	if m.Issuer == "" || m.Issuer != issuer && m.Issuer != opt.IssuerTemplate {
		return nil, errors.New("discovery document: issuer is not the one that was asked for")
	}
	urls := Options{Loopback: opt.Loopback && strings.HasPrefix(issuer, "http://127.0.0.1")}
	for _, e := range m.endpoints() {
		if *e.url == "" {
			continue
		}
		if err := checkURL(*e.url, urls); err != nil {
			return nil, fmt.Errorf("discovery document: %s: %w", e.name, err)
		}
	}
	switch {
	case m.PKCE == nil && opt.RequirePKCE:
		return nil, errors.New("discovery document: code_challenge_methods_supported is missing, and this provider must have S256")
	case m.PKCE != nil && !slices.Contains(m.PKCE, "S256"):
		return nil, errors.New("discovery document: code_challenge_methods_supported does not list S256")
	}
	return m, nil
}

type endpoint struct {
	name string
	url  *string
}

func (m *Metadata) endpoints() []endpoint {
	return []endpoint{
		{"authorization_endpoint", &m.Authorization}, {"token_endpoint", &m.Token},
		{"device_authorization_endpoint", &m.Device}, {"pushed_authorization_request_endpoint", &m.PAR},
		{"revocation_endpoint", &m.Revocation}, {"introspection_endpoint", &m.Introspection},
		{"userinfo_endpoint", &m.UserInfo}, {"jwks_uri", &m.JWKS},
	}
}

// WellKnown lists where an issuer's document may be, in the order to try: inserted before
// the path (RFC 8414 section 3.1), then appended (OpenID Connect Discovery section 4). An
// http://127.0.0.1 issuer passes; whether it may be dialled is decided elsewhere.
func WellKnown(issuer string) ([]string, error) {
	if strings.Contains(issuer, "?") {
		return nil, errors.New("issuer must not have a query")
	}
	if err := checkURL(issuer, Options{Loopback: true}); err != nil {
		return nil, fmt.Errorf("issuer %w", err)
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, errors.New("issuer is not a URL")
	}
	origin, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{
		origin + "/.well-known/oauth-authorization-server" + path,
		origin + path + "/.well-known/openid-configuration",
	}, nil
}

// MetadataURLs lists where the document of a resolved provider may be, in the order to
// try. It is empty when the definition has no discovery.
func (o *OAuth2) MetadataURLs() ([]string, error) {
	switch o.Discovery {
	case "":
		return nil, nil
	case "oidc", "rfc8414":
		urls, err := WellKnown(o.Issuer)
		if err == nil && o.Discovery == "oidc" {
			slices.Reverse(urls)
		}
		return urls, err
	}
	return []string{o.Discovery}, nil
}

// WithMetadata returns a copy in which what the definition leaves empty comes from the
// document. What the definition says stays.
func (p *Provider) WithMetadata(m *Metadata) *Provider {
	out := p.clone()
	o := out.OAuth2
	if o == nil || m == nil {
		return out
	}
	o.Authorize.URL = cmp.Or(o.Authorize.URL, m.Authorization)
	o.Token.URL = cmp.Or(o.Token.URL, m.Token)
	o.Revoke = fillEndpoint(o.Revoke, m.Revocation)
	o.Introspect = fillEndpoint(o.Introspect, m.Introspection)
	if o.Has("device") {
		o.Device = fillEndpoint(o.Device, m.Device)
	}
	if m.RequirePAR || o.PAR != nil {
		o.PAR = fillEndpoint(o.PAR, m.PAR)
	}
	if m.IssInCallback {
		o.Callback.Iss = "required"
	}
	if o.Client.Auth == "" {
		o.Client.Auth = "basic" // the default of RFC 8414 section 2
		if len(m.TokenAuth) > 0 && !slices.Contains(m.TokenAuth, "client_secret_basic") && slices.Contains(m.TokenAuth, "client_secret_post") {
			o.Client.Auth = "post"
		}
	}
	if out.Identity != nil {
		out.Identity.URL = cmp.Or(out.Identity.URL, m.UserInfo)
	} else if m.UserInfo != "" {
		out.Identity = &Identity{URL: m.UserInfo, Label: []string{"email", "preferred_username", "name"}, ID: "sub"}
	}
	return out
}

func fillEndpoint(e *Endpoint, found string) *Endpoint {
	if found == "" {
		return e
	}
	if e == nil {
		return &Endpoint{URL: found}
	}
	e.URL = cmp.Or(e.URL, found)
	return e
}
