package auth_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

const redirectURI = "http://127.0.0.1:7777/callback/practice"

// bench is a server, the way to it, and a flow that a test bends as it likes.
type bench struct {
	*authtest.Server
	oauth *auth.OAuth
	code  auth.OAuthCode
	flow  *auth.Flow
	def   *providers.OAuth2
}

func newBench(t *testing.T, options authtest.Options) *bench {
	t.Helper()
	s := authtest.NewServer(options)
	t.Cleanup(s.Close)
	out := egress.New(egress.Options{Loopback: true, HeaderTimeout: 6 * time.Second, IdleTimeout: time.Second})
	t.Cleanup(out.CloseIdle)
	oauth := &auth.OAuth{Out: out, Loopback: true}
	p := practice(s.URL)
	return &bench{
		Server: s, oauth: oauth, code: auth.OAuthCode{OAuth: oauth}, def: p.OAuth2,
		flow: &auth.Flow{
			Provider: p, Definition: p, Request: &auth.Request{ID: "REQUEST", Method: auth.MethodOAuthCode},
			ClientID: "basic", Client: auth.NewSecret("basic secret/+:%&="), RedirectURI: redirectURI, Now: time.Now(),
		},
	}
}

// practice describes an authtest.Server, without its discovery document.
func practice(base string) *providers.Provider {
	host := strings.TrimPrefix(base, "http://")
	return &providers.Provider{
		ID: "practice", Name: "Practice",
		OAuth2: &providers.OAuth2{
			Flows: []string{"code", "device", "client_credentials"}, Issuer: base, PKCE: "required",
			Client:    providers.Client{Secret: "optional", Auth: "basic"},
			Scopes:    providers.Scopes{Sep: " ", Default: []string{"read", "write"}},
			Authorize: providers.Authorize{URL: base + "/authorize"},
			Callback:  providers.Callback{Iss: "required"},
			Token:     providers.Endpoint{URL: base + "/token"},
			Device:    &providers.Endpoint{URL: base + "/device_authorization"},
			Revoke:    &providers.Endpoint{URL: base + "/revoke"},
			Refresh:   providers.Refresh{Grant: "refresh_token", Rotates: "always"},
		},
		API:      providers.API{Hosts: []string{host}, Send: []providers.Send{{In: "header", Name: "Authorization", Format: "Bearer ${access_token}"}}},
		Identity: &providers.Identity{URL: base + "/userinfo", Label: []string{"email"}, ID: "sub"},
	}
}

// begin starts a sign-in and keeps what Finish needs.
func (b *bench) begin(t *testing.T) *url.URL {
	t.Helper()
	step, err := b.code.Begin(t.Context(), b.flow)
	if err != nil {
		t.Fatal(err)
	}
	b.flow.Private = step.Private
	u, err := url.Parse(step.Redirect)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// approved is the callback of a sign-in that alice allowed.
func (b *bench) approved(t *testing.T) url.Values {
	t.Helper()
	back, err := b.Approve(t.Context(), b.begin(t).String(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func (b *bench) finish(q url.Values) (*auth.Outcome, error) {
	return b.code.Finish(context.Background(), b.flow, auth.Input{Query: q})
}

// signIn goes all the way.
func (b *bench) signIn(t *testing.T) *auth.Outcome {
	t.Helper()
	out, err := b.finish(b.approved(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// renew refreshes once, as the vault does.
func (b *bench) renew(old *auth.Outcome) (*auth.Outcome, error) {
	b.flow.Connection = &auth.Connection{Method: auth.MethodOAuthCode, Scopes: old.Scopes, RefreshExpiresAt: old.RefreshExpiresAt}
	answer, err := b.code.Refresh(context.Background(), b.flow, old.Credential)
	if err != nil {
		return nil, err
	}
	return b.code.Refreshed(b.flow, old.Credential, answer, b.flow.Now)
}

// clean fails the test when err tells a secret of the server.
func (b *bench) clean(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range b.Secrets() {
		if len(secret) > 5 && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
	var e *auth.Error
	if errors.As(err, &e) && strings.ContainsAny(e.Message, "<>\x1b\n") {
		t.Errorf("the message is not clean: %q", e.Message)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got %v, want %v", err, target)
	}
}

func TestSignIn(t *testing.T) {
	for _, client := range []struct{ id, secret, how string }{
		{"public", "", "basic"},                  // C8: no secret, client_id only
		{"basic", "basic secret/+:%&=", "basic"}, // C7: form-encoded
		{"post", "post secret/+:%&=", "post"},    // C6
	} {
		t.Run(client.id, func(t *testing.T) {
			b := newBench(t, authtest.Options{})
			b.flow.ClientID, b.flow.Client, b.def.Client.Auth = client.id, auth.NewSecret(client.secret), client.how
			out := b.signIn(t)
			if out.Account != "alice@example.com" || out.AccountID != "alice" {
				t.Errorf("signed in as %q (%q)", out.Account, out.AccountID)
			}
			if !slices.Equal(out.Scopes, []string{"read", "write"}) {
				t.Errorf("scopes %v", out.Scopes)
			}
			if left := out.ExpiresAt.Sub(b.flow.Now); left != time.Hour {
				t.Errorf("expires in %s", left)
			}
			r := b.Requests("POST /token")[0]
			if r.Form.Get("redirect_uri") != redirectURI { // A7
				t.Errorf("redirect_uri %q in the token request", r.Form.Get("redirect_uri"))
			}
			if client.secret == "" && (r.Form.Has("client_secret") || r.Header.Get("Authorization") != "" || r.Form.Get("client_id") != "public") {
				t.Errorf("a public client sent %v", r.Form)
			}
			if client.how == "basic" && (r.Form.Has("client_secret")) {
				t.Error("the secret went both ways")
			}
			next, err := b.renew(out)
			if err != nil {
				t.Fatal(err)
			}
			if next.Credential.AccessToken.Reveal() == out.Credential.AccessToken.Reveal() {
				t.Error("the access token did not change")
			}
			told, err := b.code.Revoke(t.Context(), b.flow, next.Credential)
			if err != nil || !told {
				t.Errorf("revoke: %v, %v", told, err)
			}
			_, err = b.renew(next)
			want(t, err, auth.ErrReauth)
		})
	}
}

func asError(err error, target **auth.Error) bool { return errors.As(err, target) }
