package auth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const (
	documentAge  = 24 * time.Hour
	maxDocuments = 1000
)

// documents are the discovery documents that were read lately. The zero value is ready.
type documents struct {
	mu    sync.Mutex
	known map[string]datedMetadata
}

type datedMetadata struct {
	metadata *providers.Metadata
	until    time.Time
}

// discover completes the flow's definition with the server's discovery document, if
// the definition wants one. What the definition says itself stays.
func (o *OAuth) discover(ctx context.Context, f *Flow) (*Flow, error) {
	if err := offered(f); err != nil {
		return nil, err
	}
	if f.Provider.OAuth2.Discovery == "" {
		return f, nil
	}
	m, err := o.metadata(ctx, f)
	if err != nil {
		return nil, err
	}
	complete := *f
	complete.Provider = f.Provider.WithMetadata(m)
	return &complete, nil
}

// offered refuses what we cannot do before anything is sent, a key in the place of a secret above all.
func offered(f *Flow) error {
	def := f.Provider.OAuth2
	switch {
	case def == nil:
		return ErrConfig.Say("%s has no OAuth definition; use another method", f.Provider.Name)
	case def.DPoP:
		return ErrConfig.Say("%s wants sender-constrained tokens (DPoP), which are not available here; use another method", f.Provider.Name)
	case def.Client.Secret == "jwt-es256" || def.Client.Auth == "private_key_jwt" || def.Token.Auth == "private_key_jwt":
		return ErrConfig.Say("%s wants its clients to sign statements with a key, which is not available here; use another method", f.Provider.Name)
	case def.Callback.Mode == "form_post" && f.method() == MethodOAuthCode: // the flow cookie does not come with another site's form
		return ErrConfig.Say("%s sends its answer as a form, which is not taken here; use another method", f.Provider.Name)
	case def.Client.Secret == "required" && f.Client.Empty():
		return ErrConfig.Say("the OAuth app of %s needs its client secret; enter it with: latchpost app set %s --client-id ID", f.Provider.Name, f.Provider.ID)
	}
	return nil
}

// metadata is the server's document, at most a day old.
func (o *OAuth) metadata(ctx context.Context, f *Flow) (*providers.Metadata, error) {
	def := f.Provider.OAuth2
	key := def.Discovery + " " + def.Issuer + " " + f.Provider.ID
	if m := o.documents.get(key, f.Now); m != nil {
		return m, nil
	}
	urls, err := def.MetadataURLs()
	if err != nil {
		return nil, ErrConfig.Say("the definition of %s names an issuer that cannot be asked: %s", f.Provider.Name, err)
	}
	var first error
	for _, address := range urls {
		m, err := o.fetchMetadata(ctx, f.Provider, address)
		if err == nil {
			o.documents.put(key, m, f.Now)
			return m, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (o *OAuth) fetchMetadata(ctx context.Context, p *providers.Provider, address string) (*providers.Metadata, error) {
	target, err := egress.Parse(address, egress.ParseOptions{Loopback: o.Loopback})
	if err != nil {
		return nil, unreachable(p, err)
	}
	res, err := o.Out.Do(ctx, egress.Request{Method: http.MethodGet, Target: target, Header: http.Header{"Accept": {"application/json"}}, Timeout: backTime})
	if err != nil { // as text: who reads a document has asked for nothing whose outcome could be unknown
		return nil, unreachable(p, err).Because(errors.New(err.Error()))
	}
	switch {
	case res.Status >= 500 || res.Status == http.StatusTooManyRequests:
		return nil, ErrUnavailable.Say("%s does not give out its discovery document now; try again later", p.Name)
	case res.Status != http.StatusOK:
		return nil, ErrConfig.Say("%s has no discovery document at %s (status %d); check the issuer", p.Name, target.Origin()+target.Path, res.Status)
	}
	def := p.OAuth2
	m, err := providers.ParseMetadata(def.Issuer, res.Body, providers.MetadataOptions{
		Loopback: o.Loopback, IssuerTemplate: def.IssuerTemplate, RequirePKCE: def.PKCE == "required" && def.Has("code"),
	})
	if err != nil {
		return nil, ErrConfig.Say("the discovery document of %s cannot be trusted; check the issuer", p.Name).Because(err)
	}
	return m, nil
}

func (d *documents) get(key string, now time.Time) *providers.Metadata {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known, ok := d.known[key]; ok && now.Before(known.until) {
		return known.metadata
	}
	return nil
}

func (d *documents) put(key string, m *providers.Metadata, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= maxDocuments {
		d.known = map[string]datedMetadata{}
	}
	d.known[key] = datedMetadata{m, now.Add(documentAge)}
}

// foundEndpoints is the name under which a credential remembers the endpoints that discovery named when it was made, those
// that get a token and the client's secret. It had the token endpoint alone once.
const foundEndpoints = "token_endpoint"

// remember notes where c came from, when discovery said so.
func remember(f *Flow, c *Credential) {
	def := f.Provider.OAuth2
	if def.Discovery == "" {
		return
	}
	found := []string{def.Token.URL}
	if def.Revoke != nil {
		found = append(found, def.Revoke.URL)
	}
	if c.Keep == nil {
		c.Keep = map[string]Secret{}
	}
	c.Keep[foundEndpoints] = NewSecret(strings.Join(found, " "))
}

// unmoved refuses to send a credential to another host than those that it came with, that of the issuer included: a
// discovery document that changed is not followed silently.
func unmoved(f *Flow, c *Credential, endpoint string) error {
	def, known := f.Provider.OAuth2, c.Keep[foundEndpoints]
	if known.Empty() || def.Discovery == "" {
		return nil
	}
	is, err := egress.Parse(endpoint, egress.ParseOptions{Loopback: true})
	if err != nil {
		return unreachable(f.Provider, err)
	}
	for _, address := range append(strings.Fields(known.Reveal()), def.Issuer) {
		if was, err := egress.Parse(address, egress.ParseOptions{Loopback: true}); err == nil && was.Origin() == is.Origin() {
			return nil
		}
	}
	return ErrConfig.Say("%s moved an endpoint to %s, where none was when the user signed in; check that this is right, then sign in again", f.Provider.Name, is.Origin())
}
