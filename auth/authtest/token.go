package authtest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// oauthError is an error answer of RFC 6749 section 5.2.
type oauthError struct {
	status            int
	code, description string
}

func refuse(status int, code, description string) *oauthError {
	return &oauthError{status, code, description}
}

// token is the token endpoint.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	options, now := s.current(), s.now()
	form, refused := options.readForm(r)
	if refused != nil {
		s.sendError(w, refused)
		return
	}
	client, refused := options.authenticate(r, form)
	if refused != nil {
		s.sendError(w, refused)
		return
	}
	issue := map[string]func(Options, Client, url.Values, time.Time) (map[string]any, *oauthError){
		"authorization_code": s.spendCode,
		"refresh_token":      s.refresh,
		"client_credentials": s.clientCredentials,
		deviceGrant:          s.pollDevice,
	}[form.Get("grant_type")]
	if issue == nil {
		s.sendError(w, refuse(400, "unsupported_grant_type", "not offered here"))
		return
	}
	answer, refused := issue(options, client, form, now)
	if refused != nil {
		s.sendError(w, refused)
		return
	}
	noStore(w)
	writeJSON(w, http.StatusOK, answer)
}

// readForm reads the parameters of a back channel request, each at most once.
func (o Options) readForm(r *http.Request) (url.Values, *oauthError) {
	if o.JSON && r.URL.Path == "/token" {
		var fields map[string]string
		if err := json.NewDecoder(r.Body).Decode(&fields); err != nil {
			return nil, refuse(400, "invalid_request", "the body must be a JSON object of strings")
		}
		form := make(url.Values)
		for name, value := range fields {
			form.Set(name, value)
		}
		return form, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, refuse(400, "invalid_request", "the body must be a form")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 && name != "resource" {
			return nil, refuse(400, "invalid_request", name+" is there twice")
		}
	}
	return r.PostForm, nil
}

// spendCode redeems an authorization code. A second time kills what the first
// one got (RFC 6749 section 4.1.2).
func (s *Server) spendCode(o Options, client Client, form url.Values, now time.Time) (map[string]any, *oauthError) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	c := s.ledger.codes[form.Get("code")]
	switch {
	case c == nil || c.client != client.ID || now.After(c.expires):
		return nil, refuse(400, "invalid_grant", "the code is unknown or expired")
	case c.family != nil:
		s.ledger.kill(c.family)
		return nil, refuse(400, "invalid_grant", "the code was used before")
	case c.redirectURI != form.Get("redirect_uri"):
		return nil, refuse(400, "invalid_grant", "redirect_uri is not the one of the authorization request")
	case c.challenge != "" && !verifies(c.challenge, form.Get("code_verifier")):
		return nil, refuse(400, "invalid_grant", "code_verifier does not fit")
	}
	resources, refused := c.narrowResources(form["resource"])
	if refused != nil {
		return nil, refused
	}
	if verifier := form.Get("code_verifier"); verifier != "" {
		s.ledger.remember(verifier)
	}
	c.family = &family{grant: c.grant}
	return s.issue(o, c.family, c.scope, resources, now), nil
}

// verifies checks PKCE S256 (RFC 7636 section 4.6).
func verifies(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return len(verifier) >= 43 && len(verifier) <= 128 &&
		subtle.ConstantTimeCompare([]byte(challenge), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) == 1
}

// refresh rotates. The last token but one coming back is either a lost answer
// within the grace window or a thief, and then the whole family dies
// (RFC 9700 section 4.14.2).
func (s *Server) refresh(o Options, client Client, form url.Values, now time.Time) (map[string]any, *oauthError) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	presented := form.Get("refresh_token")
	s.ledger.uses[presented]++
	s.ledger.stats.MaxPerGeneration = max(s.ledger.stats.MaxPerGeneration, s.ledger.uses[presented])
	f := s.ledger.families[presented]
	if f == nil || f.dead || f.client != client.ID {
		return nil, refuse(400, "invalid_grant", "the refresh token is unknown, expired or revoked")
	}
	again := presented == f.previous && now.Sub(f.rotated) < o.Grace
	if presented != f.current && !again {
		s.ledger.kill(f)
		return nil, refuse(400, "invalid_grant", "the refresh token was used before")
	}
	scope := f.scope
	if form.Has("scope") {
		scope = strings.Fields(form.Get("scope"))
		if slices.ContainsFunc(scope, func(name string) bool { return !slices.Contains(f.scope, name) }) {
			return nil, refuse(400, "invalid_scope", "more than was granted")
		}
	}
	resources, refused := f.narrowResources(form["resource"])
	if refused != nil {
		return nil, refused
	}
	s.ledger.stats.Refreshes++
	if again {
		answer := s.issueAccess(o, f, f.grant, scope, resources, now)
		answer["refresh_token"] = f.current
		return answer, nil
	}
	return s.issue(o, f, scope, resources, now), nil
}

// clientCredentials gives a token that belongs to no user.
func (s *Server) clientCredentials(o Options, client Client, form url.Values, now time.Time) (map[string]any, *oauthError) {
	if client.Secret == "" {
		return nil, refuse(400, "unauthorized_client", "a public client has no credentials")
	}
	if !validResources(form["resource"]) {
		return nil, refuse(400, "invalid_target", "resource must be an absolute URI without a fragment")
	}
	s.ledger.Lock()
	defer s.ledger.Unlock()
	g := grant{client: client.ID, scope: strings.Fields(form.Get("scope")), resources: form["resource"], at: now}
	return s.issueAccess(o, nil, g, g.scope, g.resources, now), nil
}

// narrowResources are those of the request if all of them were granted.
func (g grant) narrowResources(asked []string) ([]string, *oauthError) {
	for _, resource := range asked {
		if !slices.Contains(g.resources, resource) {
			return nil, refuse(400, "invalid_target", "resource is not one of the authorization request")
		}
	}
	if len(asked) == 0 {
		return g.resources, nil
	}
	return asked, nil
}

// issue gives an access token, and a refresh token as Options.Rotation says.
// The ledger is locked.
func (s *Server) issue(o Options, f *family, scope, resources []string, now time.Time) map[string]any {
	answer := s.issueAccess(o, f, f.grant, scope, resources, now)
	first := f.current == ""
	if first || o.Rotation == RotateAlways {
		f.previous, f.current, f.rotated = f.current, s.ledger.mint("refresh_"), now
		s.ledger.families[f.current] = f
	}
	if first || o.Rotation != RotateNever {
		answer["refresh_token"] = f.current
	}
	if slices.Contains(scope, "openid") {
		answer["id_token"] = s.idToken(f.grant, now)
	}
	return answer
}

// issueAccess gives an access token alone. The ledger is locked.
func (s *Server) issueAccess(o Options, f *family, g grant, scope, resources []string, now time.Time) map[string]any {
	g.scope, g.resources = scope, resources
	expires := now.Add(o.lifetime())
	var token string
	if o.JWT || len(resources) > 0 {
		token = s.ledger.remember(s.accessJWT(g, now, expires))
	} else {
		token = s.ledger.mint("access_")
	}
	s.ledger.access[token] = &access{grant: g, family: f, expires: expires}
	return map[string]any{
		"access_token": token, "token_type": "Bearer",
		"expires_in": int64(o.lifetime() / time.Second), "scope": strings.Join(scope, " "),
	}
}

func (s *Server) sendError(w http.ResponseWriter, e *oauthError) {
	if e.code == "invalid_grant" {
		s.ledger.Lock()
		s.ledger.stats.InvalidGrant++
		s.ledger.Unlock()
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", s.URL))
	}
	noStore(w)
	writeJSON(w, e.status, map[string]any{"error": e.code, "error_description": e.description})
}
