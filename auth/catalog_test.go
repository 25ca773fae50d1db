package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
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
		vars := map[string]string{}
		for name, v := range p.Vars {
			if vars[name] = v.Default; v.Default == "" && name != "issuer_path" {
				vars[name] = "acme" // what a person would type
				if strings.Contains(v.Pattern, ":") {
					vars[name] = "acme.example.com"
				}
			}
		}
		resolved, err := p.Resolve(vars)
		if err != nil {
			t.Errorf("%s: %v", p.ID, err)
			continue
		}
		o := resolved.OAuth2 // the network is not asked: the parameters are the same
		if o.Discovery, o.PAR = "", nil; o.Authorize.URL == "" {
			o.Authorize.URL = "https://example.com/authorize"
		}
		step, err := c.Begin(t.Context(), &auth.Flow{
			Provider: resolved, Definition: p, Request: &auth.Request{}, Vars: vars, ClientID: "id", Client: auth.NewSecret("secret"), RedirectURI: redirectURI, Now: time.Now(),
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
		var private struct{ Verifier string }
		if err := json.Unmarshal(step.Private, &private); err != nil {
			t.Fatal(err)
		}
		if p.OAuth2.PKCE == "none" { // providers.TestCatalogWithoutPKCE lists them
			if q.Has("code_challenge") || q.Has("code_challenge_method") {
				t.Errorf("%s: no PKCE, and the address has %v", p.ID, q)
			}
			continue
		}
		sum := sha256.Sum256([]byte(private.Verifier))
		random, err := base64.RawURLEncoding.DecodeString(private.Verifier)
		if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || len(private.Verifier) < 43 || err != nil || len(random) < 32 {
			t.Errorf("%s: %v", p.ID, q)
		}
	}
	if all := len(catalog.Search("", auth.MethodOAuthCode, 0)); tried != all || tried < 80 {
		t.Errorf("%d of %d definitions were tried", tried, all)
	}
}
