package authtest

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// authorization is a checked authorization request.
type authorization struct {
	client      Client
	redirectURI string
	state       string
	challenge   string
	grant       grant
}

// showConsent asks for user name, password and consent on one page.
func (s *Server) showConsent(w http.ResponseWriter, r *http.Request) {
	asked, ok := s.checkAuthorize(w, r)
	if !ok {
		return
	}
	if slices.Contains(strings.Fields(r.URL.Query().Get("prompt")), "none") {
		s.redirectError(w, asked, "login_required", "nobody is signed in here")
		return
	}
	s.consentPage(w, r, asked, "")
}

func (s *Server) consentPage(w http.ResponseWriter, r *http.Request, asked authorization, problem string) {
	render(w, "authorize.html", map[string]any{
		"Action": "/authorize?" + r.URL.RawQuery, "Client": cmp.Or(asked.client.Name, asked.client.ID),
		"Scopes": asked.grant.scope, "Problem": problem, "User": r.URL.Query().Get("login_hint"),
		"Hints": s.current().hints(),
	})
}

// decideConsent takes the form. A user may leave scopes out.
func (s *Server) decideConsent(w http.ResponseWriter, r *http.Request) {
	asked, ok := s.checkAuthorize(w, r)
	if !ok {
		return
	}
	if r.PostFormValue("decision") == "deny" {
		s.redirectError(w, asked, "access_denied", "the user said no")
		return
	}
	user, known := s.current().user(r.PostFormValue("user"))
	if !known || user.Password != r.PostFormValue("password") {
		s.consentPage(w, r, asked, "That name and password do not belong together. Try again.")
		return
	}
	granted := r.PostForm["scope"]
	asked.grant.scope = slices.DeleteFunc(asked.grant.scope, func(scope string) bool { return !slices.Contains(granted, scope) })
	asked.grant.user, asked.grant.at = user.Name, s.now()

	s.ledger.Lock()
	value := s.ledger.mint("code_")
	s.ledger.codes[value] = &code{
		grant: asked.grant, redirectURI: asked.redirectURI, challenge: asked.challenge,
		expires: asked.grant.at.Add(time.Minute),
	}
	s.ledger.Unlock()
	s.redirect(w, asked, url.Values{"code": {value}})
}

// checkAuthorize answers wrong requests itself. As long as client and redirect
// URI are in doubt it does so with a page and not with a redirect
// (RFC 6749 section 4.1.2.1).
func (s *Server) checkAuthorize(w http.ResponseWriter, r *http.Request) (authorization, bool) {
	q := r.URL.Query()
	client, known := s.current().client(q.Get("client_id"))
	if !known {
		message(w, http.StatusBadRequest, "Unknown app", "No app with this client_id is registered here.")
		return authorization{}, false
	}
	asked := authorization{
		client: client, redirectURI: q.Get("redirect_uri"), state: q.Get("state"), challenge: q.Get("code_challenge"),
		grant: grant{client: client.ID, scope: strings.Fields(q.Get("scope")), resources: q["resource"], nonce: q.Get("nonce")},
	}
	if !client.allowsRedirect(asked.redirectURI) {
		message(w, http.StatusBadRequest, "Unknown address", "This redirect_uri is not registered for the app.")
		return authorization{}, false
	}
	for name, values := range q {
		if len(values) > 1 && name != "resource" {
			s.redirectError(w, asked, "invalid_request", name+" is there twice")
			return authorization{}, false
		}
	}
	unproved := s.current().PKCEOptional && asked.challenge == ""
	switch {
	case q.Get("response_type") != "code":
		s.redirectError(w, asked, "unsupported_response_type", "only code")
	case !unproved && (q.Get("code_challenge_method") != "S256" || len(asked.challenge) != 43):
		s.redirectError(w, asked, "invalid_request", "PKCE with S256 is required")
	case !validResources(asked.grant.resources):
		s.redirectError(w, asked, "invalid_target", "resource must be an absolute URI without a fragment")
	default:
		return asked, true
	}
	return authorization{}, false
}

// validResources checks RFC 8707 section 2.
func validResources(resources []string) bool {
	return !slices.ContainsFunc(resources, func(resource string) bool {
		u, err := url.Parse(resource)
		return err != nil || !u.IsAbs() || strings.Contains(resource, "#")
	})
}

func (s *Server) redirectError(w http.ResponseWriter, asked authorization, code, description string) {
	s.redirect(w, asked, url.Values{"error": {code}, "error_description": {description}})
}

// redirect goes back to the client with state and, always, iss (RFC 9207).
func (s *Server) redirect(w http.ResponseWriter, asked authorization, answer url.Values) {
	u, _ := url.Parse(asked.redirectURI)
	q := u.Query()
	for name := range answer {
		q.Set(name, answer.Get(name))
	}
	if asked.state != "" {
		q.Set("state", asked.state)
	}
	q.Set("iss", s.URL)
	u.RawQuery = q.Encode()
	w.Header().Set("Location", u.String())
	noStore(w)
	w.WriteHeader(http.StatusSeeOther)
}
