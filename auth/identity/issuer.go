package identity

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
)

// Issuer is the OpenID provider whose tokens we accept. One server has one issuer, so
// that a subject means one person. It is safe for concurrent use.
type Issuer struct {
	// URL is the issuer identifier, byte for byte as it stands in the claim iss.
	URL string
	// Resource is the full URL of our /mcp, byte for byte as access tokens must name it in
	// the claim aud (RFC 8707).
	Resource string

	// ClientID is what people's browsers sign in with; "": they cannot.
	ClientID     string
	ClientSecret auth.Secret // empty: a public client
	Scopes       []string    // asked for at a sign-in beside openid, for the claims below

	OwnerClaim string // names the user; "" = sub, which is the one that never changes hands
	OrgClaim   string // names the org; "" = there are no orgs. A token without it is refused

	Out      *egress.Client
	Loopback bool             // the issuer may be http on a loopback address, if Out permits it too
	Now      func() time.Time // nil: time.Now

	mu      sync.Mutex
	known   *directory
	readAt  time.Time     // when known was read
	triedAt time.Time     // when reading was last begun
	failure error         // of the last reading
	reading chan struct{} // closed when the reading that goes on is over; nil: none goes on
}

// Check reports what is wrong with the configuration, without asking the issuer.
func (s *Issuer) Check() error {
	if s.byAddress() {
		return fmt.Errorf("the issuer %q must have a host name, not an IP address or a name of this machine; correct --oidc-issuer", s.URL)
	}
	if _, err := egress.Parse(s.URL, egress.ParseOptions{Loopback: s.Loopback}); err != nil || strings.ContainsAny(s.URL, "?#") {
		return fmt.Errorf("the issuer %q must be an https URL without query and fragment, as in its tokens; correct --oidc-issuer", s.URL)
	}
	u, err := url.Parse(s.Resource)
	if err != nil || u.Host == "" || u.User != nil || strings.Contains(s.Resource, "#") || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("the resource %q must be the full URL of /mcp as clients reach it; correct --resource", s.Resource)
	}
	return nil
}

// byAddress reports whether the URL is one but for its host.
func (s *Issuer) byAddress() bool {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	_, err = netip.ParseAddr(host)
	return !s.Loopback && (err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost"))
}

// directory is what the issuer publishes: endpoints and keys.
type directory struct {
	authorize string
	token     string
	style     oauth2.AuthStyle // how a confidential client proves itself
	sendsIss  bool             // answers of a sign-in carry iss (RFC 9207)
	keys      []jose.JSONWebKey
}

const (
	directoryAge   = 15 * time.Minute // after which it is read again
	directoryEnd   = 24 * time.Hour   // so long it serves while it cannot be read again
	directoryPause = time.Minute      // between two readings, however many unknown keys are named
	directoryRetry = 5 * time.Second  // the same while there is none
	directoryTime  = 5 * time.Second  // for reading it
	maxDirectory   = 512 << 10        // bytes of each document
	maxKeys        = 100
)

// directory gives what the issuer publishes. It is read by one at a time, when it is old
// or not enough for the asker, and never more than once in directoryPause; those who do
// not need the new one do not wait for it.
func (s *Issuer) directory(ctx context.Context, enough func(*directory) bool) (*directory, error) {
	s.mu.Lock()
	now, pause := clock(s.Now), directoryPause
	d := s.current(now)
	if d == nil {
		pause = directoryRetry
	}
	content := d != nil && enough(d)
	switch {
	case content && (s.reading != nil || now.Sub(s.readAt) < directoryAge):
		s.mu.Unlock()
		return d, nil
	case s.reading != nil:
		reading := s.reading
		s.mu.Unlock()
		select {
		case <-reading:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.orFailure(s.current(now))
	case !s.triedAt.IsZero() && now.Sub(s.triedAt) < pause:
		defer s.mu.Unlock()
		return s.orFailure(d)
	}
	reading := make(chan struct{})
	s.reading, s.triedAt = reading, now
	s.mu.Unlock()

	// Others wait for this reading; it goes on when the one who began it has gone away.
	fresh, err := s.read(context.WithoutCancel(ctx))

	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(reading)
	s.reading, s.failure = nil, err
	if err == nil {
		s.known, s.readAt = fresh, now
	}
	return s.orFailure(s.current(now))
}

// current is what was read last, as long as that counts.
func (s *Issuer) current(now time.Time) *directory {
	if now.Sub(s.readAt) >= directoryEnd {
		return nil
	}
	return s.known
}

func (s *Issuer) orFailure(d *directory) (*directory, error) {
	if d == nil {
		return nil, auth.ErrUnavailable.Say("the issuer %s cannot be reached; try again later", s.host()).Because(s.failure)
	}
	return d, nil
}

// host names the issuer to people.
func (s *Issuer) host() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return s.URL
	}
	return u.Host
}

// read asks the issuer (OpenID Connect Discovery section 4, RFC 7517 section 5).
func (s *Issuer) read(ctx context.Context) (*directory, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTime)
	defer cancel()
	var doc struct {
		Issuer    string   `json:"issuer"`
		Authorize string   `json:"authorization_endpoint"`
		Token     string   `json:"token_endpoint"`
		Keys      string   `json:"jwks_uri"`
		Methods   []string `json:"token_endpoint_auth_methods_supported"`
		SendsIss  bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := s.get(ctx, strings.TrimSuffix(s.URL, "/")+"/.well-known/openid-configuration", &doc); err != nil {
		return nil, fmt.Errorf("discovery document: %w", err)
	}
	if doc.Issuer != s.URL {
		return nil, fmt.Errorf("the discovery document is of %q, not of %q; correct --oidc-issuer", doc.Issuer, s.URL)
	}
	d := &directory{authorize: doc.Authorize, token: doc.Token, sendsIss: doc.SendsIss, style: oauth2.AuthStyleInHeader}
	if s.ClientSecret.Empty() || len(doc.Methods) > 0 && !slices.Contains(doc.Methods, "client_secret_basic") {
		d.style = oauth2.AuthStyleInParams
	}
	if _, err := s.target(d.authorize); err != nil && s.ClientID != "" { // browsers go there, not we
		return nil, fmt.Errorf("authorization endpoint: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := s.get(ctx, doc.Keys, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	d.keys = usable(set.Keys)
	if len(d.keys) == 0 || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("key set: %d usable keys of %d", len(d.keys), len(set.Keys))
	}
	return d, nil
}

// get reads a document, which go-jose's decoder wants strict: names exact and only once.
func (s *Issuer) get(ctx context.Context, address string, doc any) error {
	target, err := s.target(address)
	if err != nil {
		return err
	}
	res, err := s.Out.Do(ctx, egress.Request{Method: http.MethodGet, Target: target, MaxBody: maxDirectory})
	if err != nil {
		return err
	}
	if res.Status != http.StatusOK {
		return fmt.Errorf("status %d", res.Status)
	}
	return json.Unmarshal(res.Body, doc)
}

// usable keys can verify; what is unknown is passed over, as RFC 7517 section 5 says.
func usable(set []json.RawMessage) (keys []jose.JSONWebKey) {
	for _, raw := range set {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) == nil && key.Valid() && key.IsPublic() && key.Use != "enc" {
			keys = append(keys, key)
		}
	}
	return keys
}

// keys gives those that a token may be signed with. What the header brings itself (jwk,
// jku, x5c, x5u) counts for nothing.
func (s *Issuer) keys(ctx context.Context, header jose.Header) ([]jose.JSONWebKey, error) {
	d, err := s.directory(ctx, func(d *directory) bool { return len(d.fitting(header)) > 0 })
	if err != nil {
		return nil, err
	}
	return d.fitting(header), nil
}

// fitting keys have the header's id. Without an id there must be only one key.
func (d *directory) fitting(header jose.Header) []jose.JSONWebKey {
	if header.KeyID == "" && len(d.keys) > 1 {
		return nil
	}
	var keys []jose.JSONWebKey
	for _, key := range d.keys {
		if (header.KeyID == "" || key.KeyID == header.KeyID) && (key.Algorithm == "" || key.Algorithm == header.Algorithm) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (s *Issuer) target(address string) (egress.Target, error) {
	return egress.Parse(address, egress.ParseOptions{Loopback: s.Loopback})
}
