package mcp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	protocol "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/latchpost/latchpost/auth"
)

// Bearer makes HTTPOptions.Identify from a token verifier. The token must come in exactly one
// Authorization header (RFC 6750 section 2.1), never in the query or the body.
func Bearer(verify func(ctx context.Context, token string) (auth.Caller, error)) func(*http.Request) (auth.Caller, error) {
	return func(r *http.Request) (auth.Caller, error) {
		headers := r.Header.Values("Authorization")
		if len(headers) != 1 {
			return auth.Caller{}, auth.ErrDenied.Say("one Authorization header is needed")
		}
		scheme, token, _ := strings.Cut(headers[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" || strings.ContainsAny(token, " \t,") {
			return auth.Caller{}, auth.ErrDenied.Say("the Authorization header must be: Bearer TOKEN")
		}
		return verify(r.Context(), token)
	}
}

// firstScopes are what a client without a token is told to ask for. It registers with them, and many authorization servers
// refuse it any other for good: what every agent may need is among them.
var firstScopes = []string{ScopeConnect, ScopeUse, ScopeRevoke}

// turnAway answers a request whose caller is not known. Only a token that is not good is a 401:
// clients throw theirs away then.
func (e *edge) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	_, known := errors.AsType[*auth.Error](err)
	switch {
	case errors.Is(err, auth.ErrUnavailable), r.Context().Err() != nil: // or nobody waits for it
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, &rejection{nil, codeBusy, "tokens cannot be checked right now; try again"})
	case known:
		e.challenge(w, r)
	default:
		id := rand.Text()[:12]
		e.s.log.ErrorContext(r.Context(), "the caller cannot be identified", "id", id, "error", err)
		refuse(w, http.StatusInternalServerError, &rejection{nil, protocol.INTERNAL_ERROR, internalError(id)})
	}
}

// challenge answers 401 as RFC 6750 section 3 and RFC 9728 section 5.1 say.
func (e *edge) challenge(w http.ResponseWriter, r *http.Request) {
	var parts []string
	if r.Header.Get("Authorization") != "" {
		parts = append(parts, `error="invalid_token"`)
	}
	e.deny(w, http.StatusUnauthorized, parts, firstScopes, "a valid bearer token is needed")
}

// stepUp answers 403 with every scope that a new token should have: what this call needs
// and what the old token had, so that nothing is lost.
func (e *edge) stepUp(w http.ResponseWriter, caller auth.Caller, scope string) {
	all := append(slices.Clone(caller.Scopes), scope)
	all = slices.DeleteFunc(all, func(s string) bool { return !slices.Contains(Scopes, s) })
	e.deny(w, http.StatusForbidden, []string{`error="insufficient_scope"`}, all, "the token lacks the scope "+scope)
}

func (e *edge) deny(w http.ResponseWriter, status int, parts, scopes []string, text string) {
	parts = append(parts, `scope="`+strings.Join(scopes, " ")+`"`)
	if e.opts.Metadata != "" {
		parts = append(parts, `resource_metadata="`+e.opts.Metadata+`"`)
	}
	w.Header().Set("WWW-Authenticate", "Bearer "+strings.Join(parts, ", "))
	refuse(w, status, &rejection{nil, codeDenied, text})
}

const codeDenied = -31001 // ours, beside codeBusy

// Metadata serves the RFC 9728 document that tells clients where to get tokens for
// resource, which is the full URL of /mcp. Mount it at MetadataPath(resource).
func Metadata(resource string, issuers ...string) http.Handler {
	return server.NewProtectedResourceMetadataHandler(server.ProtectedResourceMetadataConfig{
		Resource: resource, AuthorizationServers: issuers, ScopesSupported: Scopes,
		BearerMethodsSupported: []string{"header"}, ResourceName: "Latchpost",
	})
}

// MetadataPath is where the document for a resource is looked for (RFC 9728 section 3.1).
func MetadataPath(resource string) string { return server.ProtectedResourceMetadataPath(resource) }

// RegisterPath is where a client would register that finds no authorization server in the metadata, and takes this server
// for one, as the protocol had it in 2025-03-26.
const RegisterPath = "/register"

// Unregistered answers it (RFC 7591 section 3.2.2): clients show the text to their user, who has to make a token instead.
func Unregistered(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(map[string]string{
		"error": "access_denied",
		"error_description": "this Latchpost has no sign-in for clients: its operator makes a token with latchpost token create --client NAME, " +
			"and the client sends it in the header Authorization: Bearer TOKEN",
	})
}
