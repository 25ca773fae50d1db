package authtest_test

import (
	"context"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

// TestDiscovery lets go-oidc, which knows neither server, find its way about.
func TestDiscovery(t *testing.T) {
	srv := start(t, authtest.Options{})
	check := func(t *testing.T, issuer string, c *oauth2.Config, walk func(context.Context, string) (string, error)) {
		t.Helper()
		provider, err := oidc.NewProvider(t.Context(), issuer)
		if err != nil {
			t.Fatal(err)
		}
		c.Endpoint.AuthURL, c.Endpoint.TokenURL = provider.Endpoint().AuthURL, provider.Endpoint().TokenURL
		token, _ := signIn(t, c, walk, oidc.Nonce("n-1"), oauth2.SetAuthURLParam("prompt", "consent"))
		id, err := provider.Verifier(&oidc.Config{ClientID: c.ClientID}).Verify(t.Context(), token.Extra("id_token").(string))
		if err != nil {
			t.Fatal(err)
		}
		user, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
		if err != nil {
			t.Fatal(err)
		}
		if id.Nonce != "n-1" || id.Subject != "alice" || user.Subject != "alice" {
			t.Errorf("ID token %+v, userinfo %+v", id, user)
		}
	}
	t.Run("ours", func(t *testing.T) { check(t, srv.URL, config(srv, "basic", "openid"), as(srv, "alice")) })
	t.Run("oidc-provider", func(t *testing.T) {
		p := authtest.StartOIDCProvider(t, authtest.OIDCOptions{})
		check(t, p.Issuer, oidcConfig(p, "basic"), func(ctx context.Context, authorizeURL string) (string, error) {
			return p.Approve(ctx, authorizeURL, "alice")
		})
	})
}

func TestRotateKey(t *testing.T) {
	srv := start(t, authtest.Options{})
	provider, err := oidc.NewProvider(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	old := srv.Sign("JWT", map[string]any{"iss": srv.URL, "aud": "public", "sub": "alice", "exp": 1 << 40})
	srv.RotateKey()
	if _, err := provider.Verifier(&oidc.Config{ClientID: "public"}).Verify(t.Context(), old); err == nil {
		t.Error("a token of the old key still verifies")
	}
}
