package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/store"
)

// ST-013: where the store cannot be written, what is there can be looked at and revoked at the provider. Nothing is
// called, released, granted or connected, and nothing is said to be ended here that is not.
func TestReadOnlyStore(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	access := get(t, v)
	s := siteOf(v)
	s.ReadOnly = true
	reopen(t, v, s, c.Now)
	v.API.Forget()

	infos, err := v.List(t.Context(), agent, "")
	if err != nil || len(infos) != 1 || infos[0].State != auth.Active {
		t.Fatalf("%+v, %v", infos, err)
	}
	if _, err := v.Desk(auth.Local).Events(t.Context(), auth.EventFilter{}); err != nil {
		t.Error(err)
	}
	_, callErr := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	_, rawErr := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Raw: true})
	_, askErr := v.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: "second"})
	_, cancelErr := v.Call(t.Context(), auth.Caller{Owner: auth.Local, Client: "another"}, auth.Call{Provider: "practice", Path: "/me"})
	for what, err := range map[string]error{"call": callErr, "release": rawErr, "request": askErr, "approval": cancelErr} {
		if ours, ok := errors.AsType[*auth.Error](err); !ok || !errors.Is(err, auth.ErrAudit) && !errors.Is(err, auth.ErrConfig) || !errors.Is(err, store.ErrReadOnly) || !strings.Contains(ours.Message, "make its directory writable") {
			t.Errorf("%s: %v, %+v", what, err, ours)
		}
	}
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d calls", n)
	}

	_, err = v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"})
	if !errors.Is(err, auth.ErrConfig) || !strings.Contains(err.Error(), "is ended at practice, but not here") {
		t.Errorf("Revoke: %v", err)
	}
	if live(v.Server, auth.NewSecret(access)) || len(revokedTokens(v)) != 2 {
		t.Error("the tokens live on at the provider")
	}
	s.ReadOnly = false
	reopen(t, v, s, c.Now)
	if at := revoke(t, v); at != auth.AtProviderRevoked {
		t.Errorf("with room to write again: %s", at)
	}
	c.forward(time.Hour)
	keepOnce(t, v)
	_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.NotConnected)
}
