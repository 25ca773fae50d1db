package authtest

import (
	"net/http"
	"strings"
)

// revoke follows RFC 7009: an unknown token is a success, a refresh token takes
// the whole family with it.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	client, token, ok := s.backChannel(w, r)
	if !ok {
		return
	}
	s.ledger.Lock()
	defer s.ledger.Unlock()
	if f := s.ledger.families[token]; f != nil && f.client == client.ID {
		f.dead = true
	}
	if a := s.ledger.access[token]; a != nil && a.client == client.ID {
		a.revoked = true
	}
	w.WriteHeader(http.StatusOK)
}

// introspect follows RFC 7662.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	_, token, ok := s.backChannel(w, r)
	if !ok {
		return
	}
	now := s.now()
	s.ledger.Lock()
	defer s.ledger.Unlock()
	answer := map[string]any{"active": false}
	if a := s.ledger.access[token]; a != nil && a.live(now) {
		answer = map[string]any{"active": true, "token_type": "Bearer", "exp": a.expires.Unix()}
		a.describe(answer)
	}
	if f := s.ledger.families[token]; f != nil && !f.dead && f.current == token {
		answer = map[string]any{"active": true}
		f.describe(answer)
	}
	answer["iss"] = s.URL
	writeJSON(w, http.StatusOK, answer)
}

func (g grant) describe(answer map[string]any) {
	answer["client_id"], answer["scope"] = g.client, strings.Join(g.scope, " ")
	if g.user != "" {
		answer["sub"], answer["username"] = g.user, g.user
	}
	if len(g.resources) > 0 {
		answer["aud"] = g.resources
	}
}

// backChannel reads the form and the client of a request about one token.
func (s *Server) backChannel(w http.ResponseWriter, r *http.Request) (Client, string, bool) {
	options := s.current()
	form, refused := options.readForm(r)
	var client Client
	if refused == nil {
		client, refused = options.authenticate(r, form)
	}
	if refused == nil && form.Get("token") == "" {
		refused = refuse(400, "invalid_request", "token is missing")
	}
	if refused != nil {
		s.sendError(w, refused)
		return Client{}, "", false
	}
	return client, form.Get("token"), true
}

// userinfo tells who the bearer of an access token is.
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a := s.bearer(token)
	if a == nil || a.user == "" {
		unauthorized(w, `error="invalid_token"`)
		return
	}
	user, _ := s.current().user(a.user)
	writeJSON(w, http.StatusOK, map[string]any{
		"sub": user.Name, "preferred_username": user.Name, "email": user.Email, "email_verified": true,
	})
}

func unauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", "Bearer "+challenge)
	writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_token", "message": "the token is unknown, expired or revoked"})
}
