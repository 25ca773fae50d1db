package auth_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// A fault of the disk in a list that is not sealed costs the one connection, which says so and is mended by signing in. It
// is used for nothing meanwhile, though its token lives, and those beside it are listed, used and renewed as ever.
func TestDamagedConnection(t *testing.T) {
	for _, column := range []string{"scopes", "hosts", "vars"} {
		t.Run(column, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			bob := auth.Wish{Provider: "practice", Account: "bob"}
			connect(t, v, agent, bob, "bob", auth.Choice{Access: auth.Write})
			file := file(t, v)
			for _, final := range []string{"0", "version"} {
				alter(t, file, `UPDATE connections SET `+column+` = '[torn', dead_version = `+final+` WHERE account LIKE 'alice%'`)
				infos, err := v.List(t.Context(), agent, "")
				if err != nil || len(infos) != 2 || infos[0].State != auth.NeedsReauth || infos[0].Cause != auth.CauseDamaged || infos[1].State != auth.Active {
					t.Fatalf("List: %+v, %v", infos, err)
				}
				_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Account: "alice@example.com", Method: http.MethodGet, Path: "/me"})
				wantLink(t, err, auth.ReasonReauth)
			}
			if _, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice", Account: "bob"}); err != nil {
				t.Errorf("bob's: %v", err)
			}
			c.forward(2 * time.Hour)
			alter(t, file, `UPDATE connections SET last_used_at = ?`, c.Now().UnixMilli())
			v.Server.Forget()
			keep(t, v, 1)
			connect(t, v, agent, auth.Wish{Provider: "practice", Account: "alice@example.com"}, "alice", auth.Choice{Access: auth.Write})
			if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Account: "alice@example.com", Method: http.MethodGet, Path: "/me"}); err != nil || resp.Status != 200 {
				t.Errorf("after she signed in again: %+v, %v", resp, err)
			}
			if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 2 || infos[0].State != auth.Active {
				t.Errorf("List after it: %+v, %v", infos, err)
			}
		})
	}
}

// What a grant was for is not guessed: it allows nothing.
func TestDamagedGrant(t *testing.T) {
	for _, column := range []string{"methods", "paths", "hosts"} {
		t.Run(column, func(t *testing.T) {
			v, _ := connected(t, authtest.Options{})
			alter(t, file(t, v), `UPDATE grants SET `+column+` = '[torn'`)
			if grants, err := v.Desk(auth.Local).Grants(t.Context()); err != nil || len(grants) != 0 {
				t.Errorf("grants: %+v, %v", grants, err)
			}
			_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Method: http.MethodGet, Path: "/me"})
			if approval, ok := errors.AsType[*auth.ApprovalRequired](err); !ok {
				t.Errorf("a call: %+v, %v", approval, err)
			}
		})
	}
}

// A sign-in whose row is damaged has failed, and others go on; a token has no scope left; an event of the record says
// that it is damaged.
func TestDamagedRows(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	damaged := ask(t, v, agent, auth.Wish{Provider: "practice", Account: "carol"})
	if err := v.DB.AddToken(t.Context(), []byte("hash"), auth.Local, "host", []string{"latchpost:use"}, time.Time{}); err != nil {
		t.Fatal(err)
	}
	file := file(t, v)
	alter(t, file, `UPDATE requests SET vars = '{torn', scopes = '[torn', next_poll_at = 1 WHERE state <> 'stored'`)
	alter(t, file, `UPDATE tokens SET scopes = '[torn' WHERE client = 'host'`)
	if s := status(t, v, agent, damaged.RequestID); s.Status != auth.StatusFailed || s.Cause != auth.CauseDamaged {
		t.Errorf("the damaged sign-in: %+v", s)
	}
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Errorf("background work: %v", err)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice", Account: "bob"}, "bob", auth.Choice{})
	if token, err := v.DB.Token(t.Context(), []byte("hash")); err != nil || token.Scopes == nil || len(token.Scopes) > 0 {
		t.Errorf("the token: %+v, %v", token, err)
	}
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) { // until the event has a row of its own
		done, err := file.ExecContext(t.Context(), `UPDATE audit_events SET detail = '{torn' WHERE kind = 'connection.store'`)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := done.RowsAffected(); n > 0 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the record of a sign-in is not there")
		}
	}
	events, err := v.Desk(auth.Local).Events(t.Context(), auth.EventFilter{Limit: 1000})
	if err != nil || !slices.ContainsFunc(events, func(e auth.Event) bool { return e.Detail["damaged"] == "{torn" }) {
		t.Errorf("events: %+v, %v", events, err)
	}
}
