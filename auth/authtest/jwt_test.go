package authtest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

func TestTokensVerifyAgainstTheKeySet(t *testing.T) {
	srv := start(t, authtest.Options{})
	resource := oauth2.SetAuthURLParam("resource", "https://mcp.example/mcp")
	nonce := oauth2.SetAuthURLParam("nonce", "n-1")
	token, _ := signIn(t, config(srv, "public", "openid"), as(srv, "bob"), resource, nonce)

	access := verify(t, srv, token.AccessToken, "at+jwt")
	if access["aud"] != "https://mcp.example/mcp" || access["sub"] != "bob" || access["iss"] != srv.URL || access["client_id"] != "public" {
		t.Errorf("access token: %v", access)
	}
	id := verify(t, srv, token.Extra("id_token").(string), "JWT")
	if id["aud"] != "public" || id["nonce"] != "n-1" || id["email"] != "bob@example.com" {
		t.Errorf("ID token: %v", id)
	}
}

// verify checks a signature with the published key.
func verify(t *testing.T, srv *authtest.Server, token, typ string) map[string]any {
	t.Helper()
	resp, err := http.Get(srv.URL + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	header := signed.Signatures[0].Protected
	if header.ExtraHeaders["typ"] != typ {
		t.Errorf("typ is %v, want %s", header.ExtraHeaders["typ"], typ)
	}
	keys := set.Key(header.KeyID)
	if len(keys) != 1 || !keys[0].IsPublic() {
		t.Fatalf("%d keys with id %s", len(keys), header.KeyID)
	}
	payload, err := signed.Verify(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	claims := make(map[string]any)
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// isJWTFor looks at the audience without checking the signature.
func isJWTFor(token, audience string) bool {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return false
	}
	var claims struct {
		Audience string `json:"aud"`
	}
	return json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &claims) == nil && claims.Audience == audience
}
