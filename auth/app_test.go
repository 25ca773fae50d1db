package auth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

var basicSecret = auth.NewSecret("basic secret/+:%&=")

// RF-009, PD-010: tokens are the app's that they were given to. With another one in its place a refresh does not kill the
// sign-in and a revocation does not call itself done; nothing is sent, and the app's coming back mends it.
func TestAppReplaced(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	get(t, v)
	if stranded, err := v.Desk(auth.Local).Stranded(t.Context(), "practice"); err != nil || stranded != nil {
		t.Errorf("stranded %v, %v", stranded, err)
	}
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", basicSecret, nil); err != nil {
		t.Fatal(err)
	}
	if stranded, err := v.Desk(auth.Local).Stranded(t.Context(), "practice"); err != nil || !slices.Equal(stranded, []string{"alice@example.com"}) {
		t.Errorf("stranded %v, %v", stranded, err)
	}
	v.Server.Forget()
	c.forward(2 * time.Hour)
	_, err := v.Get(t.Context(), agent, practiceNeed)
	if !errors.Is(err, auth.ErrConfig) || !strings.Contains(err.Error(), "the OAuth app that this sign-in was made with is gone") {
		t.Errorf("Get: %v", err)
	}
	wantState(t, v, auth.ProviderDown, "configuration")
	if n := asked(v); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	c.forward(10 * time.Minute)
	token := auth.NewSecret(get(t, v))
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "basic", basicSecret, nil); err != nil {
		t.Fatal(err)
	}
	if at := revoke(t, v); at != auth.AtProviderUnknown || !live(v.Server, token) || len(revokedTokens(v)) != 0 {
		t.Errorf("at the provider: %s, %d requests", at, len(revokedTokens(v)))
	}
	if err := v.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	c.forward(20 * time.Minute)
	if keepOnce(t, v); live(v.Server, token) {
		t.Error("the token lives on although its app is there again")
	}
}

// RF-009: an app that an owner adds comes first for new sign-ins; those made with the operator's go on with that.
func TestAppAdded(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	mine, operators := v.Desk(auth.Local), v.Desk(auth.Owner{})
	if err := errors.Join(operators.SetApp(t.Context(), "practice", "public", auth.Secret{}, nil), mine.RemoveApp(t.Context(), "practice")); err != nil {
		t.Fatal(err)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	if err := mine.SetApp(t.Context(), "practice", "basic", basicSecret, nil); err != nil {
		t.Fatal(err)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "bob"}, "bob", auth.Choice{})
	c.forward(2 * time.Hour)
	v.Server.Forget()
	for account, basic := range map[string]bool{"alice@example.com": false, "bob": true} {
		if _, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: account}); err != nil {
			t.Errorf("%s: %v", account, err)
		}
		requests := v.Server.Requests("POST /token")
		if len(requests) == 0 || (requests[len(requests)-1].Header.Get("Authorization") != "") != basic {
			t.Errorf("%s is renewed with the other app", account)
		}
		ended, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice", Account: account})
		if err != nil || ended.Connections[0].AtProvider != auth.AtProviderRevoked {
			t.Errorf("%s: %+v, %v", account, ended, err)
		}
	}
	if n := len(revokedTokens(v)); n != 4 {
		t.Errorf("%d tokens were revoked", n)
	}
}

// RF-009: a connection of a release that did not note its app takes the nearest, as it did then.
func TestAppNotNoted(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	alter(t, file(t, v), `UPDATE connections SET vars = '{}'`)
	c.forward(2 * time.Hour)
	get(t, v)
	if at := revoke(t, v); at != auth.AtProviderRevoked {
		t.Errorf("at the provider: %s", at)
	}
}

// A link that is open already is told with what the person has to do now: an app that was missing may be there since, or gone.
func TestAppAddedWhileALinkIsOpen(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	desk, wish := v.Desk(auth.Local), auth.Wish{Provider: "practice", Method: auth.MethodOAuthCode}
	first := ask(t, v, agent, wish)
	for _, now := range []struct {
		reason string
		change func() error
	}{
		{auth.NoOAuthApp, func() error { return desk.RemoveApp(t.Context(), "practice") }},
		{auth.NotConnected, func() error { return desk.SetApp(t.Context(), "practice", "public", auth.Secret{}, nil) }},
	} {
		if err := now.change(); err != nil {
			t.Fatal(err)
		}
		link := ask(t, v, agent, wish)
		if link.RequestID != first.RequestID || link.Reason != now.reason || strings.Contains(link.Message, "OAuth app") != (now.reason == auth.NoOAuthApp) {
			t.Errorf("%s: %+v", now.reason, link)
		}
	}
	answer := signIn(t, v, first.RequestID, alices, "alice", auth.Choice{})
	if err := desk.RemoveApp(t.Context(), "practice"); err != nil { // and it is asked for in the middle of the sign-in, which goes on
		t.Fatal(err)
	}
	if link := ask(t, v, agent, wish); link.RequestID != first.RequestID {
		t.Errorf("%+v", link)
	}
	if err := desk.SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", answer); err != nil {
		t.Fatal(err)
	}
	if s := status(t, v, agent, first.RequestID); s.Status != auth.StatusConnected {
		t.Errorf("%+v", s)
	}
}
