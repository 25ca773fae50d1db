package auth_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

func keyBench(t *testing.T) (*bench, auth.APIKey, *providers.APIKey) {
	t.Helper()
	b := newBench(t, authtest.Options{})
	key := &providers.APIKey{
		Fields: []providers.Field{{Name: "user", Ask: "User name", Public: true}, {Name: "key", Ask: "API key", Pattern: "^sk_[a-z]+$"}},
		Send:   []providers.Send{{In: "basic", Name: "${user}", Format: "${key}"}},
		Verify: &providers.Verify{URL: b.URL + "/me", Label: []string{"account.login"}, OK: "ok=true"},
	}
	b.flow.Provider.APIKey, b.flow.Provider.OAuth2, b.flow.Provider.Identity = key, nil, nil
	b.flow.Request.Method = auth.MethodAPIKey
	return b, auth.APIKey{Out: b.oauth.Out, Loopback: true}, key
}

func fields(user, key string) auth.Input {
	return auth.Input{Fields: map[string]auth.Secret{"user": auth.NewSecret(user), "key": auth.NewSecret(key)}}
}

// A key is tried before it is stored, and names its account.
func TestAPIKey(t *testing.T) {
	b, c, _ := keyBench(t)
	step, err := c.Begin(t.Context(), b.flow)
	if err != nil || step.Page != "/secret/REQUEST" {
		t.Fatalf("%+v, %v", step, err)
	}
	b.FaultAlways("GET /me", authtest.Answer(200, "application/json", `{"ok":true,"account":{"login":"alice\u202e <x>"}}`))
	out, err := c.Finish(t.Context(), b.flow, fields("alice", " sk_abc\n"))
	if err != nil {
		t.Fatal(err)
	}
	if out.Account != "alice x" || out.Vars["user"] != "alice" || out.Credential.Fields["key"].Reveal() != "sk_abc" || !out.Credential.Fields["user"].Empty() {
		t.Errorf("%+v", out)
	}
	sent := &http.Request{Header: b.Requests("GET /me")[0].Header}
	if user, password, ok := sent.BasicAuth(); !ok || user != "alice" || password != "sk_abc" {
		t.Errorf("sent %q", user)
	}
	b.flow.Vars = out.Vars
	if _, err := c.Probe(t.Context(), b.flow, out.Credential); err != nil {
		t.Error(err)
	}
	b.Heal()
	b.FaultAlways("GET /me", authtest.Answer(401, "application/json", `{}`))
	want(t, second(c.Probe(t.Context(), b.flow, out.Credential)), auth.ErrReauth)
}

// A wrong key is refused without being repeated, an outage is no verdict.
func TestAPIKeyRefused(t *testing.T) {
	b, c, _ := keyBench(t)
	for _, test := range []struct {
		user, key string
		fault     authtest.Fault
		want      error
	}{
		{"alice", "sk_canary", authtest.Answer(401, "text/html", "sk_canary"), auth.ErrRefused},
		{"alice", "sk_canary", authtest.Answer(200, "application/json", `{"ok":false}`), auth.ErrRefused},
		{"alice", "sk_canary", authtest.Busy(503, ""), auth.ErrUnavailable},
		{"alice", "sk_canary", authtest.LoginPage(200), auth.ErrUnavailable},
		{"alice", "sk_canary", authtest.CutBefore, auth.ErrUnavailable},
		{"alice", "sk_canary", authtest.Redirect(302, "/login"), auth.ErrUnavailable},
	} {
		b.Fault("GET /me", test.fault)
		_, err := c.Finish(t.Context(), b.flow, fields(test.user, test.key))
		want(t, err, test.want)
		if strings.Contains(err.Error(), "sk_canary") {
			t.Errorf("the key is in %q", err)
		}
	}
	b.Forget()
	for _, in := range []auth.Input{
		fields("alice", ""), fields("", "sk_abc"), fields("alice", "canary"), fields("alice", "sk_a\x00"), fields("alice", "sk_é"), fields("alice", "sk_"+strings.Repeat("a", 20000)),
		{Fields: map[string]auth.Secret{"user": auth.NewSecret("a"), "key": auth.NewSecret("sk_a"), "other": auth.NewSecret("x")}}, {},
	} {
		_, err := c.Finish(t.Context(), b.flow, in)
		want(t, err, auth.ErrInvalid)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the key is in %q", err)
		}
	}
	if n := len(b.Requests("")); n != 0 {
		t.Errorf("%d requests for forms that were wrong", n)
	}
}

// Without a call that tells, a key is stored untried.
func TestAPIKeyUntried(t *testing.T) {
	b, c, key := keyBench(t)
	key.Verify, key.Fields = nil, nil
	out, err := c.Finish(t.Context(), b.flow, auth.Input{Fields: map[string]auth.Secret{"key": auth.NewSecret("anything")}})
	if err != nil || out.Account != "" || len(b.Requests("")) != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}
