package authtest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// keys hold the RSA key tokens are signed with. It is made when it is first
// needed, because that takes a while.
type keys struct {
	mu  sync.Mutex
	key *jose.JSONWebKey
}

func (k *keys) signing() jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key == nil {
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic("authtest: " + err.Error())
		}
		k.key = &jose.JSONWebKey{Key: private, KeyID: rand.Text(), Algorithm: "RS256", Use: "sig"}
	}
	return *k.key
}

// RotateKey replaces the signing key. What was signed before does not verify any more.
func (s *Server) RotateKey() {
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	s.keys.key = nil
}

// Sign makes a JWT of whatever claims with the server's key, for tests that need
// a token which is genuine and wrong: expired, for somebody else, without a
// subject. typ is the header, "JWT" or "at+jwt".
func (s *Server) Sign(typ string, claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("authtest: " + err.Error())
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: s.keys.signing()},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)),
	)
	if err != nil {
		panic("authtest: " + err.Error())
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic("authtest: " + err.Error())
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic("authtest: " + err.Error())
	}
	return token
}

// accessJWT follows RFC 9068. Without a resource the audience is the server.
func (s *Server) accessJWT(g grant, now, expires time.Time) string {
	audience := any(s.URL)
	if len(g.resources) == 1 {
		audience = g.resources[0]
	} else if len(g.resources) > 1 {
		audience = g.resources
	}
	subject := g.user
	if subject == "" {
		subject = g.client
	}
	return s.Sign("at+jwt", map[string]any{
		"iss": s.URL, "sub": subject, "aud": audience, "client_id": g.client, "scope": strings.Join(g.scope, " "),
		"iat": now.Unix(), "exp": expires.Unix(), "jti": rand.Text(),
	})
}

// idToken follows OpenID Connect Core section 2.
func (s *Server) idToken(g grant, now time.Time) string {
	user, _ := s.options.user(g.user)
	claims := map[string]any{
		"iss": s.URL, "sub": g.user, "aud": g.client, "email": user.Email, "preferred_username": user.Name,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "auth_time": g.at.Unix(),
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	return s.Sign("JWT", claims)
}

func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	key := s.keys.signing()
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
}
