package auth_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// A certified server that nobody here wrote takes our requests, and our answers about its faults are right.
func TestOIDCProviderConformance(t *testing.T) {
	server := authtest.StartOIDCProvider(t, authtest.OIDCOptions{})
	out := egress.New(egress.Options{Loopback: true})
	t.Cleanup(out.CloseIdle)
	oauth := &auth.OAuth{Out: out, Loopback: true}
	definition := func() *providers.Provider {
		return &providers.Provider{
			ID: "practice", Name: "Practice",
			OAuth2: &providers.OAuth2{
				Flows: []string{"code", "device", "client_credentials"}, Issuer: server.Issuer, Discovery: "oidc", PKCE: "required",
				Client:    providers.Client{Secret: "optional", Auth: "basic"},
				Scopes:    providers.Scopes{Sep: " ", Default: []string{"openid", "email"}, Offline: []string{"offline_access"}},
				Authorize: providers.Authorize{Offline: map[string]string{"prompt": "consent"}},
				Refresh:   providers.Refresh{Grant: "refresh_token"},
			},
			API: providers.API{Hosts: []string{strings.TrimPrefix(server.Issuer, "http://")}, Send: []providers.Send{{In: "header", Name: "Authorization", Format: "Bearer ${access_token}"}}},
		}
	}
	flow := func(method, id, secret string) *auth.Flow {
		return &auth.Flow{
			Provider: definition(), Request: &auth.Request{ID: "R", Method: method}, ClientID: id, Client: auth.NewSecret(secret),
			RedirectURI: redirectURI, Now: time.Now(),
		}
	}
	code := auth.OAuthCode{OAuth: oauth}
	callback := func(t *testing.T, f *auth.Flow, user string) url.Values {
		t.Helper()
		step, err := code.Begin(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		f.Private = step.Private
		back, err := server.Approve(t.Context(), step.Redirect, user)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(back)
		if err != nil || u.Query().Get("state") != step.State {
			t.Fatalf("callback %s: %v", back, err)
		}
		return u.Query()
	}
	renew := func(f *auth.Flow, old *auth.Credential) (*auth.Outcome, error) {
		f.Connection = &auth.Connection{Method: auth.MethodOAuthCode}
		answer, err := code.Refresh(t.Context(), f, old)
		if err != nil {
			return nil, err
		}
		return code.Refreshed(f, old, answer, f.Now)
	}

	for _, client := range []struct{ id, secret, how string }{{"public", "", "basic"}, {"basic", "basic secret/+:%&=", "basic"}, {"post", "post secret/+:%&=", "post"}} {
		// A3, A6, A7, B4, C7, C8, C22, E1, E3.
		t.Run("code "+client.id, func(t *testing.T) {
			f := flow(auth.MethodOAuthCode, client.id, client.secret)
			f.Provider.OAuth2.Client.Auth = client.how
			q := callback(t, f, "alice")
			out, err := code.Finish(t.Context(), f, auth.Input{Query: q})
			if err != nil {
				t.Fatal(err)
			}
			if out.AccountID != "alice" || !strings.HasPrefix(out.Account, "alice") {
				t.Errorf("signed in as %q (%q)", out.Account, out.AccountID)
			}
			second, err := renew(f, out.Credential)
			if err != nil {
				t.Fatal(err)
			}
			if told, err := code.Revoke(t.Context(), f, second.Credential); err != nil || !told {
				t.Errorf("revoke: %v, %v", told, err)
			}
			if told, err := code.Revoke(t.Context(), f, second.Credential); err != nil || !told {
				t.Errorf("revoke again: %v, %v", told, err)
			}
			_, err = renew(f, second.Credential)
			want(t, err, auth.ErrReauth)
		})
	}

	// D10: reuse kills the family, and says so as the end of the sign-in.
	t.Run("reuse", func(t *testing.T) {
		f := flow(auth.MethodOAuthCode, "public", "")
		out, err := code.Finish(t.Context(), f, auth.Input{Query: callback(t, f, "bob")})
		if err != nil {
			t.Fatal(err)
		}
		second, err := renew(f, out.Credential)
		if err != nil {
			t.Fatal(err)
		}
		if second.Credential.RefreshToken.Reveal() == out.Credential.RefreshToken.Reveal() {
			t.Fatal("the server did not rotate")
		}
		_, err = renew(f, out.Credential)
		want(t, err, auth.ErrReauth)
		_, err = renew(f, second.Credential)
		want(t, err, auth.ErrReauth)
	})

	// C9: a code of another attempt, with our verifier.
	t.Run("injected code", func(t *testing.T) {
		mine, theirs := flow(auth.MethodOAuthCode, "public", ""), flow(auth.MethodOAuthCode, "public", "")
		callback(t, mine, "alice")
		_, err := code.Finish(t.Context(), mine, auth.Input{Query: callback(t, theirs, "bob")})
		want(t, err, auth.ErrRefused)
	})

	// A13: the server's own PAR endpoint.
	t.Run("pushed", func(t *testing.T) {
		f := flow(auth.MethodOAuthCode, "basic", "basic secret/+:%&=")
		f.Provider.OAuth2.PAR = &providers.Endpoint{}
		if out, err := code.Finish(t.Context(), f, auth.Input{Query: callback(t, f, "alice")}); err != nil || out.AccountID != "alice" {
			t.Errorf("%v", err)
		}
	})

	// F1, F3.
	t.Run("device", func(t *testing.T) {
		f := flow(auth.MethodDeviceCode, "public", "")
		c := auth.DeviceCode{OAuth: oauth}
		step, err := c.Begin(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		f.Private = step.Private
		if out, wait, err := c.Poll(t.Context(), f); out != nil || err != nil || wait < time.Second {
			t.Fatalf("pending: %v, %s", err, wait)
		}
		if err := server.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
			t.Fatal(err)
		}
		out, _, err := c.Poll(t.Context(), f)
		if err != nil || out == nil || out.Credential.AccessToken.Empty() {
			t.Fatalf("%+v, %v", out, err)
		}
	})

	t.Run("client credentials", func(t *testing.T) {
		f := flow(auth.MethodClientCredentials, "basic", "basic secret/+:%&=")
		f.Provider.OAuth2.Scopes = providers.Scopes{}
		out, err := auth.ClientCredentials{OAuth: oauth}.Finish(t.Context(), f, auth.Input{})
		if err != nil || out.Credential.AccessToken.Empty() {
			t.Errorf("%v", err)
		}
	})
}
