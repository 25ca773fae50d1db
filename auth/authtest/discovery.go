package authtest

import (
	"maps"
	"net/http"
)

// metadata answers both RFC 8414 and OpenID Connect Discovery.
func (s *Server) metadata(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Metadata())
}

// Metadata is the server's own description (RFC 8414 section 2). The caller may
// change the map.
func (s *Server) Metadata() map[string]any {
	document := map[string]any{
		"issuer":                                         s.URL,
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", "client_credentials", deviceGrant},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{"none", "client_secret_basic", "client_secret_post"},
		"authorization_response_iss_parameter_supported": true,
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"scopes_supported":                               []string{"openid", "email", "profile", "offline_access", "repo"},
	}
	maps.Copy(document, map[string]any{
		"authorization_endpoint":        s.URL + "/authorize",
		"token_endpoint":                s.URL + "/token",
		"revocation_endpoint":           s.URL + "/revoke",
		"introspection_endpoint":        s.URL + "/introspect",
		"userinfo_endpoint":             s.URL + "/userinfo",
		"device_authorization_endpoint": s.URL + "/device_authorization",
		"jwks_uri":                      s.URL + "/jwks",
	})
	return document
}
