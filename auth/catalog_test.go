package auth_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// CB-008, A1, A10: every definition that we ship makes an https address for one code, with S256 unless it
// says that it cannot.
func TestEveryAuthorizeURL(t *testing.T) {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := auth.OAuthCode{OAuth: &auth.OAuth{Out: egress.New(egress.Options{})}}
	tried := 0
	for _, p := range catalog.Search("", auth.MethodOAuthCode, 0) {
		if p.OAuth2.Discovery != "" && p.OAuth2.Authorize.URL == "" || p.OAuth2.PAR != nil {
			continue // asks the network
		}
		resolved, err := p.Resolve(nil)
		if err != nil {
			continue // needs an answer from the person
		}
		resolved.OAuth2.Discovery = ""
		step, err := c.Begin(t.Context(), &auth.Flow{
			Provider: resolved, Definition: p, Request: &auth.Request{}, ClientID: "id", Client: auth.NewSecret("secret"), RedirectURI: redirectURI, Now: time.Now(),
		})
		if err != nil {
			t.Errorf("%s: %v", p.ID, err)
			continue
		}
		tried++
		u, err := url.Parse(step.Redirect)
		if err != nil || u.Scheme != "https" {
			t.Errorf("%s: %s", p.ID, step.Redirect)
			continue
		}
		q := u.Query()
		if !slices.Contains(resolved.OAuth2.Authorize.Omit, "response_type") && q.Get("response_type") != "code" || len(q.Get("state")) < 43 {
			t.Errorf("%s: %v", p.ID, q)
		}
		if none := p.OAuth2.PKCE == "none"; none == q.Has("code_challenge") || !none && q.Get("code_challenge_method") != "S256" {
			t.Errorf("%s: PKCE is %q and the address has %q", p.ID, p.OAuth2.PKCE, q.Get("code_challenge_method"))
		}
	}
	if tried < 40 {
		t.Errorf("only %d definitions were tried", tried)
	}
}
