package authtest_test

import (
	"context"
	"errors"
	"net/url"
	"testing"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

const redirectURI = "http://127.0.0.1:9/callback/practice"

func start(t *testing.T, options authtest.Options) *authtest.Server {
	t.Helper()
	srv := authtest.NewServer(options)
	t.Cleanup(srv.Close)
	return srv
}

// config is x/oauth2's idea of a client of DefaultClients.
func config(srv *authtest.Server, id string, scopes ...string) *oauth2.Config {
	c := &oauth2.Config{
		ClientID: id, RedirectURL: redirectURI, Scopes: scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", DeviceAuthURL: srv.URL + "/device_authorization",
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

// signIn runs the code flow and gives the token and the query of the callback.
func signIn(t *testing.T, c *oauth2.Config, walk func(ctx context.Context, authorizeURL string) (string, error), options ...oauth2.AuthCodeOption) (*oauth2.Token, url.Values) {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	options = append(options, oauth2.S256ChallengeOption(verifier))
	callback, err := walk(t.Context(), c.AuthCodeURL("state-1", options...))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("state") != "state-1" {
		t.Fatalf("state came back as %q", q.Get("state"))
	}
	token, err := c.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token, q
}

func as(srv *authtest.Server, user string) func(context.Context, string) (string, error) {
	return func(ctx context.Context, authorizeURL string) (string, error) {
		return srv.Approve(ctx, authorizeURL, user)
	}
}

// refresh presents a refresh token once.
func refresh(ctx context.Context, c *oauth2.Config, token string) (*oauth2.Token, error) {
	return c.TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token()
}

func wantError(t *testing.T, err error, code string) {
	t.Helper()
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.ErrorCode != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func TestCodeFlow(t *testing.T) {
	srv := start(t, authtest.Options{})
	for _, id := range []string{"public", "basic", "post"} {
		t.Run(id, func(t *testing.T) {
			token, q := signIn(t, config(srv, id, "openid", "repo"), as(srv, "alice"))
			if q.Get("iss") != srv.URL {
				t.Errorf("iss is %q, want %q", q.Get("iss"), srv.URL)
			}
			if token.AccessToken == "" || token.RefreshToken == "" || token.Extra("id_token") == nil {
				t.Errorf("incomplete answer: %+v", token)
			}
		})
	}
}

func TestReuseKillsTheFamily(t *testing.T) {
	srv := start(t, authtest.Options{})
	c := config(srv, "public")
	first, _ := signIn(t, c, as(srv, "alice"))
	second, err := refresh(t.Context(), c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	_, err = refresh(t.Context(), c, first.RefreshToken)
	wantError(t, err, "invalid_grant")
	_, err = refresh(t.Context(), c, second.RefreshToken)
	wantError(t, err, "invalid_grant")
	want := authtest.Stats{Refreshes: 1, MaxPerGeneration: 2, InvalidGrant: 2, FamiliesKilled: 1}
	if got := srv.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// codeOf is the code in a callback URL.
func codeOf(callback string) string {
	u, _ := url.Parse(callback)
	return u.Query().Get("code")
}
