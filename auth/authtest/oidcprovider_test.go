package authtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

func oidcConfig(p *authtest.OIDCProvider, id string) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: id, RedirectURL: redirectURI, Scopes: []string{"openid", "offline_access"},
		Endpoint: oauth2.Endpoint{
			AuthURL: p.Issuer + "/auth", TokenURL: p.Issuer + "/token", DeviceAuthURL: p.Issuer + "/device/auth",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	for _, client := range authtest.DefaultClients() {
		if client.ID == id {
			c.ClientSecret = client.Secret
		}
	}
	if id == "basic" {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return c
}

func TestOIDCProvider(t *testing.T) {
	p := authtest.StartOIDCProvider(t, authtest.OIDCOptions{})
	alice := func(ctx context.Context, authorizeURL string) (string, error) {
		return p.Approve(ctx, authorizeURL, "alice")
	}
	consent := oauth2.SetAuthURLParam("prompt", "consent") // without it there is no offline_access

	for _, id := range []string{"public", "basic", "post"} {
		t.Run("code flow/"+id, func(t *testing.T) {
			token, q := signIn(t, oidcConfig(p, id), alice, consent)
			if q.Get("iss") != p.Issuer {
				t.Errorf("iss is %q, want %q", q.Get("iss"), p.Issuer)
			}
			if token.AccessToken == "" || token.RefreshToken == "" || token.Extra("id_token") == nil {
				t.Errorf("incomplete answer: %+v", token)
			}
		})
	}

	t.Run("reuse kills the family", func(t *testing.T) {
		c := oidcConfig(p, "public")
		first, _ := signIn(t, c, alice, consent)
		second, err := refresh(t.Context(), c, first.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		_, err = refresh(t.Context(), c, first.RefreshToken)
		wantError(t, err, "invalid_grant")
		_, err = refresh(t.Context(), c, second.RefreshToken)
		wantError(t, err, "invalid_grant")
	})

	t.Run("no refresh token without prompt=consent", func(t *testing.T) {
		token, _ := signIn(t, oidcConfig(p, "public"), alice)
		if token.RefreshToken != "" {
			t.Error("there is one")
		}
	})

	t.Run("deny", func(t *testing.T) {
		c := oidcConfig(p, "public")
		callback, err := p.Deny(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
		if u, _ := url.Parse(callback); err != nil || u.Query().Get("error") != "access_denied" {
			t.Errorf("got %s, %v", callback, err)
		}
	})

	t.Run("resource", func(t *testing.T) {
		resource := oauth2.SetAuthURLParam("resource", "https://mcp.example/mcp")
		c := oidcConfig(p, "public")
		c.Scopes = []string{"openid", "repo"}
		token, _ := signIn(t, c, alice, resource)
		if !isJWTFor(token.AccessToken, "https://mcp.example/mcp") {
			t.Errorf("the access token is %s", token.AccessToken)
		}
	})

	t.Run("device", func(t *testing.T) {
		got, err := ask(t.Context(), p.Issuer+"/device/auth", url.Values{"client_id": {"public"}, "scope": {"openid"}})
		if err != nil {
			t.Fatal(err)
		}
		var device struct {
			DeviceCode string `json:"device_code"`
			UserCode   string `json:"user_code"`
		}
		if err := json.Unmarshal([]byte(got.body), &device); err != nil {
			t.Fatal(err)
		}
		poll := url.Values{
			"client_id": {"public"}, "device_code": {device.DeviceCode},
			"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
		}
		if got, err := ask(t.Context(), p.Issuer+"/token", poll); err != nil || got.status != http.StatusBadRequest {
			t.Errorf("before: %d %s %v", got.status, got.body, err)
		}
		if err := p.ApproveDevice(t.Context(), device.UserCode, "alice"); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t.Context(), p.Issuer+"/token", poll); err != nil || got.status != http.StatusOK {
			t.Errorf("after: %d %s %v", got.status, got.body, err)
		}
	})

	t.Run("faults", func(t *testing.T) {
		c := oidcConfig(p, "public")
		token, _ := signIn(t, c, alice, consent)
		for _, fault := range []authtest.OIDCFault{
			{Path: "/token", Status: 503, Headers: map[string]string{"Retry-After": "7"}, Body: "<html>busy</html>"},
			{Path: "/token", Cut: "before"},
		} {
			if err := p.Fault(t.Context(), fault); err != nil {
				t.Fatal(err)
			}
			if _, err := refresh(t.Context(), c, token.RefreshToken); err == nil {
				t.Errorf("%+v did nothing", fault)
			}
		}
		token, err := refresh(t.Context(), c, token.RefreshToken)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Fault(t.Context(), authtest.OIDCFault{Path: "/token", Cut: "after"}); err != nil {
			t.Fatal(err)
		}
		if _, err := refresh(t.Context(), c, token.RefreshToken); err == nil {
			t.Error("the answer was not lost")
		}
		_, err = refresh(t.Context(), c, token.RefreshToken)
		wantError(t, err, "invalid_grant")
	})
}
