package authtest

import (
	"net"
	"net/http"
	"net/url"
	"slices"
)

// Client is a registered OAuth app.
type Client struct {
	ID     string
	Name   string // shown on the consent page; empty means the ID
	Secret string // empty means a public client, which proves itself by PKCE alone

	// Auth is "basic" or "post"; a confidential client that uses the other way is
	// refused. Empty means either.
	Auth string

	// RawBasic compares Basic credentials as they are, not form-decoded as
	// RFC 6749 section 2.3.1 wants it. Several real providers do.
	RawBasic bool

	// RedirectURIs are compared byte for byte, but for the port of an http
	// loopback address, which is free (RFC 8252 section 7.3). Nil means any path
	// on a loopback address.
	RedirectURIs []string
}

// User can sign in at a Server or a Site.
type User struct {
	Name     string
	Password string
	Email    string
}

// DefaultClients are one of each kind. The secrets need escaping, so that a
// client that forgets to do it fails.
func DefaultClients() []Client {
	return []Client{
		{ID: "public"},
		{ID: "basic", Secret: "basic secret/+:%&=", Auth: "basic"},
		{ID: "post", Secret: "post secret/+:%&=", Auth: "post"},
	}
}

// DefaultUsers are alice and bob, whose passwords are "wonderland" and "builder".
func DefaultUsers() []User {
	return []User{
		{Name: "alice", Password: "wonderland", Email: "alice@example.com"},
		{Name: "bob", Password: "builder", Email: "bob@example.com"},
	}
}

func (o Options) client(id string) (Client, bool) {
	for _, c := range o.Clients {
		if c.ID == id {
			return c, true
		}
	}
	return Client{}, false
}

func (o Options) user(name string) (User, bool) {
	for _, u := range o.Users {
		if u.Name == name {
			return u, true
		}
	}
	return User{}, false
}

// hints are the users to show on a sign-in page.
func (o Options) hints() []User {
	if o.Hints {
		return o.Users
	}
	return nil
}

// authenticate finds the client of a back channel request. form is its body.
func (o Options) authenticate(r *http.Request, form url.Values) (Client, *oauthError) {
	id, secret, auth := form.Get("client_id"), form.Get("client_secret"), "post"
	if user, password, ok := r.BasicAuth(); ok {
		if form.Has("client_secret") {
			return Client{}, refuse(400, "invalid_request", "two ways of client authentication at once")
		}
		id, secret, auth = user, password, "basic"
	}
	client, known := o.client(id)
	if auth == "basic" && !client.RawBasic {
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return Client{}, refuse(401, "invalid_client", "id and secret must be form-encoded")
		}
		client, known = o.client(id)
	}
	switch {
	case !known:
		return Client{}, refuse(401, "invalid_client", "no such client")
	case client.Secret != secret:
		return Client{}, refuse(401, "invalid_client", "wrong client secret")
	case client.Secret != "" && client.Auth != "" && client.Auth != auth:
		return Client{}, refuse(401, "invalid_client", "this client authenticates by "+client.Auth)
	}
	return client, nil
}

// allowsRedirect compares as RFC 8252 section 7.3 says.
func (c Client) allowsRedirect(asked string) bool {
	u, err := url.Parse(asked)
	if err != nil || u.Host == "" || u.Fragment != "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
	if c.RedirectURIs == nil {
		return loopback
	}
	if slices.Contains(c.RedirectURIs, asked) {
		return true
	}
	if !loopback {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		r, err := url.Parse(registered)
		return err == nil && r.Scheme == u.Scheme && r.Hostname() == u.Hostname() &&
			r.EscapedPath() == u.EscapedPath() && r.RawQuery == u.RawQuery
	})
}
