package authtest

import (
	"crypto/rand"
	"strings"
	"sync"
	"time"
)

// ledger is everything the server has given out.
type ledger struct {
	sync.Mutex
	codes    map[string]*code
	access   map[string]*access
	families map[string]*family // by every refresh token the family ever had
	devices  map[string]*device // by device code
	secrets  []string
	stats    Stats
	uses     map[string]int // refresh requests by the refresh token they presented
}

func newLedger() ledger {
	return ledger{
		codes: make(map[string]*code), access: make(map[string]*access),
		families: make(map[string]*family), devices: make(map[string]*device),
		uses: make(map[string]int),
	}
}

// Stats count what matters about refresh.
type Stats struct {
	Refreshes        int // refresh requests that were answered with tokens
	MaxPerGeneration int // most refresh requests that presented one and the same token
	InvalidGrant     int // answers invalid_grant, for whatever grant type
	FamiliesKilled   int // by reuse of a refresh token or a code
}

// grant is what a user allowed a client. User is empty for client credentials.
type grant struct {
	client    string
	user      string
	scope     []string
	resources []string
	nonce     string
	at        time.Time
}

// code is an authorization code, good once and for a minute.
type code struct {
	grant
	redirectURI string
	challenge   string
	expires     time.Time
	family      *family // what it was spent for
}

// family is a chain of refresh tokens and the access tokens that came with it.
type family struct {
	grant
	current, previous string
	rotated           time.Time
	dead              bool
}

// access is a live or expired access token.
type access struct {
	grant
	family  *family // nil for client credentials
	expires time.Time
	revoked bool
}

func (a *access) live(now time.Time) bool {
	return !a.revoked && now.Before(a.expires) && (a.family == nil || !a.family.dead)
}

// mint makes a new secret with a prefix that tells what it is, and remembers it.
func (l *ledger) mint(prefix string) string {
	return l.remember(prefix + strings.ToLower(rand.Text()))
}

func (l *ledger) remember(secret string) string {
	l.secrets = append(l.secrets, secret)
	return secret
}

// kill ends a family. It is what reuse detection does.
func (l *ledger) kill(f *family) {
	if f != nil && !f.dead {
		f.dead = true
		l.stats.FamiliesKilled++
	}
}

// Stats since the server started.
func (s *Server) Stats() Stats {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	return s.ledger.stats
}

// Uses tells how many refresh requests presented this refresh token.
func (s *Server) Uses(refreshToken string) int {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	return s.ledger.uses[refreshToken]
}

// Secrets is everything a test may scan logs, files and answers for: each code,
// verifier, token, device code and client secret, and the passwords of the users.
func (s *Server) Secrets() []string {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	secrets := append([]string(nil), s.ledger.secrets...)
	for _, c := range s.options.Clients {
		if c.Secret != "" {
			secrets = append(secrets, c.Secret)
		}
	}
	for _, u := range s.options.Users {
		secrets = append(secrets, u.Password)
	}
	return secrets
}

// RevokeUser ends every grant of a user, as the user would in the settings of
// the provider.
func (s *Server) RevokeUser(name string) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	for _, f := range s.ledger.families {
		if f.user == name {
			f.dead = true
		}
	}
}

// bearer finds the live access token, or nil.
func (s *Server) bearer(token string) *access {
	now := s.now()
	s.ledger.Lock()
	defer s.ledger.Unlock()
	if a := s.ledger.access[token]; a != nil && a.live(now) {
		return a
	}
	return nil
}
