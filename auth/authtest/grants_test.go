package authtest_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

// clock is a clock that stands until it is set.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func TestLifetimeAndClock(t *testing.T) {
	clock := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	srv := start(t, authtest.Options{Lifetime: time.Minute, Now: clock.now})
	token, _ := signIn(t, config(srv, "public"), as(srv, "alice"))
	active := func() bool {
		got, err := ask(t.Context(), srv.URL+"/introspect", url.Values{"client_id": {"public"}, "token": {token.AccessToken}})
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Active bool }
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Active
	}
	clock.at = clock.at.Add(59 * time.Second)
	if !active() {
		t.Error("dead after 59 of 60 seconds")
	}
	clock.at = clock.at.Add(time.Second)
	if active() {
		t.Error("alive after 60 of 60 seconds")
	}
}

func TestGrace(t *testing.T) {
	clock := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	srv := start(t, authtest.Options{Grace: 30 * time.Second, Now: clock.now})
	c := config(srv, "public")
	first, _ := signIn(t, c, as(srv, "alice"))
	second, err := refresh(t.Context(), c, first.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	clock.at = clock.at.Add(29 * time.Second)
	again, err := refresh(t.Context(), c, first.RefreshToken)
	if err != nil || again.RefreshToken != second.RefreshToken {
		t.Fatalf("within the grace window: %v", err)
	}
	clock.at = clock.at.Add(time.Second)
	_, err = refresh(t.Context(), c, first.RefreshToken)
	wantError(t, err, "invalid_grant")
	if got := srv.Uses(first.RefreshToken); got != 3 {
		t.Errorf("%d uses were counted, want 3", got)
	}
}

func TestRotation(t *testing.T) {
	for name, test := range map[string]struct {
		rotation   authtest.Rotation
		same, told bool
	}{
		"always": {authtest.RotateAlways, false, true},
		"never":  {authtest.RotateNever, true, false},
		"same":   {authtest.RotateSame, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := start(t, authtest.Options{Rotation: test.rotation})
			c := config(srv, "public")
			first, _ := signIn(t, c, as(srv, "alice"))
			second, err := refresh(t.Context(), c, first.RefreshToken)
			if err != nil {
				t.Fatal(err)
			}
			told := second.Extra("refresh_token") != nil
			if same := second.RefreshToken == first.RefreshToken; same != test.same || told != test.told {
				t.Errorf("same %v, told %v; want %v, %v", same, told, test.same, test.told)
			}
			if _, err := refresh(t.Context(), c, second.RefreshToken); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCodeReplayKillsTheFamily(t *testing.T) {
	srv := start(t, authtest.Options{})
	c := config(srv, "public")
	verifier := oauth2.GenerateVerifier()
	callback, err := srv.Approve(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), "alice")
	if err != nil {
		t.Fatal(err)
	}
	code := codeOf(callback)
	_, err = c.Exchange(t.Context(), code, oauth2.VerifierOption(oauth2.GenerateVerifier()))
	wantError(t, err, "invalid_grant")
	token, err := c.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	wantError(t, err, "invalid_grant")
	_, err = refresh(t.Context(), c, token.RefreshToken)
	wantError(t, err, "invalid_grant")
	if !slices.Contains(srv.Secrets(), code) || !slices.Contains(srv.Secrets(), token.RefreshToken) {
		t.Error("what was issued is not among the secrets")
	}
}

func TestRefusedAuthorization(t *testing.T) {
	srv := start(t, authtest.Options{})
	c := config(srv, "public")
	challenge := oauth2.S256ChallengeOption(oauth2.GenerateVerifier())
	for want, asked := range map[string]string{
		"invalid_request": c.AuthCodeURL("s"),
		"invalid_target":  c.AuthCodeURL("s", challenge, oauth2.SetAuthURLParam("resource", "https://mcp.example/#part")),
		"login_required":  c.AuthCodeURL("s", challenge, oauth2.SetAuthURLParam("prompt", "none")),
	} {
		callback, err := srv.Approve(t.Context(), asked, "alice")
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(callback)
		if q := u.Query(); q.Get("error") != want || q.Get("iss") != srv.URL || q.Get("state") != "s" {
			t.Errorf("got %v, want %s", q, want)
		}
	}
	callback, err := srv.Deny(t.Context(), c.AuthCodeURL("s", challenge))
	if u, _ := url.Parse(callback); err != nil || u.Query().Get("error") != "access_denied" {
		t.Errorf("Deny gave %s, %v", callback, err)
	}
	c.RedirectURL = "https://evil.example/callback"
	if callback, err := srv.Approve(t.Context(), c.AuthCodeURL("s", challenge), "alice"); err == nil {
		t.Errorf("an unregistered redirect_uri led to %s", callback)
	}
}

func TestOptionalPKCE(t *testing.T) {
	srv := start(t, authtest.Options{PKCEOptional: true})
	c := config(srv, "post")
	callback, err := srv.Approve(t.Context(), c.AuthCodeURL("s"), "alice")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exchange(t.Context(), codeOf(callback)); err != nil {
		t.Error(err)
	}
	callback, err = srv.Approve(t.Context(), c.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())), "alice")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Exchange(t.Context(), codeOf(callback))
	wantError(t, err, "invalid_grant")
}

func TestUntickedScope(t *testing.T) {
	srv := start(t, authtest.Options{})
	token, _ := signIn(t, config(srv, "public", "repo", "email"), func(ctx context.Context, authorizeURL string) (string, error) {
		browser, err := srv.Browser("alice")
		if err != nil {
			return "", err
		}
		browser.Untick = []string{"email"}
		visit, err := browser.Walk(ctx, authorizeURL)
		return visit.Left, err
	})
	if got := token.Extra("scope"); got != "repo" {
		t.Errorf("scope is %v, want repo", got)
	}
}

func TestDeviceGrant(t *testing.T) {
	clock := &clock{time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	srv := start(t, authtest.Options{Now: clock.now})
	begin := func() (userCode string, poll func() string) {
		got, err := ask(t.Context(), srv.URL+"/device_authorization", url.Values{"client_id": {"public"}, "scope": {"repo"}})
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
		return device.UserCode, func() string {
			got, err := ask(t.Context(), srv.URL+"/token", url.Values{
				"client_id": {"public"}, "device_code": {device.DeviceCode},
				"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"},
			})
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ Error string }
			if err := json.Unmarshal([]byte(got.body), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.Error
		}
	}
	expect := func(poll func() string, after time.Duration, want string) {
		t.Helper()
		clock.at = clock.at.Add(after)
		if got := poll(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}

	userCode, poll := begin()
	expect(poll, 0, "authorization_pending")
	expect(poll, time.Second, "slow_down")
	expect(poll, 9*time.Second, "slow_down") // the interval is 10 s by now
	expect(poll, 15*time.Second, "authorization_pending")
	if err := srv.ApproveDevice(t.Context(), userCode, "alice"); err != nil {
		t.Fatal(err)
	}
	expect(poll, 15*time.Second, "")
	expect(poll, 15*time.Second, "invalid_grant")

	userCode, poll = begin()
	if err := srv.DenyDevice(t.Context(), userCode); err != nil {
		t.Fatal(err)
	}
	expect(poll, 0, "access_denied")

	_, poll = begin()
	expect(poll, 10*time.Minute, "expired_token")
}

func TestRevoke(t *testing.T) {
	srv := start(t, authtest.Options{})
	c := config(srv, "public")
	token, _ := signIn(t, c, as(srv, "alice"))
	for _, value := range []string{token.RefreshToken, token.RefreshToken, "garbage"} {
		got, err := ask(t.Context(), srv.URL+"/revoke", url.Values{"client_id": {"public"}, "token": {value}})
		if err != nil || got.status != 200 {
			t.Errorf("got %d, %v", got.status, err)
		}
	}
	_, err := refresh(t.Context(), c, token.RefreshToken)
	wantError(t, err, "invalid_grant")
}
