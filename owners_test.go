package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store/storetest"
)

// told gives what a command line says about the store in data, and looks at how it ends.
func told(t *testing.T, data string) (says func(code int, line string) string) {
	return func(code int, line string) string {
		t.Helper()
		var out bytes.Buffer
		args := append(strings.Fields(line), "--data", data, "--log-level", "error")
		if got := run(t.Context(), args, &settings{in: strings.NewReader(""), out: &out, err: &out}); got != code {
			t.Errorf("%s ends with %d: %s", line, got, out.String())
		}
		return out.String()
	}
}

// The operator of a server of many users sees what they have, and no answer about one owner passes for one about all.
func TestOtherOwners(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := newHouse(t, data, freePort(t))
	ada := auth.Owner{Org: "acme", User: "ada"}
	c := storetest.NewConnection(ada, "github", "octo")
	c.Hosts, c.Vars = []string{"api.github.com"}, nil
	storetest.Connect(t, h.db, c)
	must(t, h.Close())
	says := told(t, data)
	for _, one := range []struct {
		line string
		code int
		want string
	}{
		{"list", exitDone, "Nothing is connected for local. 1 connection belongs to other owners; see --user or --all-owners.\n"},
		{"list --user bob --org acme", exitDone, "Nothing is connected for acme/bob. 1 connection belongs to other owners; see --user or --all-owners.\n"},
		{"list --user ada --org acme", exitDone, "PROVIDER  ACCOUNT"},
		{"list --user ada --org acme --json", exitDone, `{"provider":"github","account":"octo",`},
		{"list --all-owners", exitDone, "acme/ada  github    octo"},
		{"list --all-owners --json", exitDone, `{"org":"acme","user":"ada","provider":"github"`},
		{"explain agent github GET /user", exitFailed, "This is about local; 1 connection belongs to other owners: latchpost list --all-owners, then --user"},
		{"explain agent github GET /user --user ada --org acme", exitDone, "GET https://api.github.com/user as octo, which reads."},
		{"revoke github", exitFailed, "This is about local; 1 connection belongs to other owners"},
		{"revoke github --user ada --org acme", exitDone, "github (octo) is revoked here"},
		{"list", exitDone, "Nothing is connected. latchpost connect PROVIDER signs in"},
		{"list --user ada --org acme", exitDone, "Nothing is connected for acme/ada.\n"},
	} {
		if got := says(one.code, one.line); !strings.Contains(got, one.want) {
			t.Errorf("%s: %s", one.line, got)
		}
	}
}

// Who has left, or lost a laptop, is out by one command: no browser, no agent, no sign-in under way, no connection. Nobody
// else notices.
func TestRevokeAll(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := newHouse(t, data, freePort(t))
	ada, bob := auth.Owner{User: "ada"}, auth.Owner{User: "bob"}
	hash := func(o auth.Owner, of string) []byte { return []byte(o.User + of) }
	for _, o := range []auth.Owner{ada, bob} {
		for _, account := range []string{"one", "two"} {
			c := storetest.NewConnection(o, "github", account)
			storetest.Connect(t, h.db, c, auth.Grant{ID: o.User + account, Owner: o, Client: "agent", Connection: c.ID, Kind: auth.Use, Access: auth.Read})
		}
		r := storetest.NewRequest(o, "gitlab")
		r.Client = "agent\x1b[2J"
		_, err := h.db.CreateRequest(t.Context(), r, 10)
		must(t, err)
		must(t, h.db.AddSession(t.Context(), hash(o, "session"), o, time.Now().Add(time.Hour)))
		must(t, h.db.AddOwnerLink(t.Context(), hash(o, "link"), o, time.Now().Add(time.Hour)))
		must(t, h.db.AddToken(t.Context(), hash(o, "token of an agent, of thirty-two bytes"), o, "agent", nil, time.Time{}))
	}
	must(t, h.Close())
	says := told(t, data)
	says(exitUsage, "revoke --all github --user ada")
	says(exitUsage, "revoke --all --account one --user ada")
	if said := says(exitFailed, "revoke --all --user carol"); !strings.Contains(said, "carol has nothing here that could be ended. This is about carol; 4 connections belong to other owners") {
		t.Error(said)
	}
	said := says(exitDone, "revoke --all --user ada")
	for _, want := range []string{"Browsers that were signed in: 1, and are not any more.", "of agent for ada is refused from now on.", "The sign-in to gitlab that agent", "github (one) is revoked here", "github (two) is revoked here"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q: %s", want, said)
		}
	}
	if strings.Contains(said, "\x1b") {
		t.Errorf("an agent writes on the terminal: %q", said)
	}
	says(exitFailed, "revoke --all --user ada")

	h = newHouse(t, data, freePort(t))
	for o, want := range map[auth.Owner]bool{ada: false, bob: true} {
		has := map[string]bool{}
		found, err := h.db.Connections(t.Context(), o, "", "")
		has["connections"] = err == nil && len(found) == 2
		grants, err := h.db.Grants(t.Context(), o, "", "", time.Now())
		has["grants"] = err == nil && len(grants) == 2
		open, err := h.db.OpenRequests(t.Context(), o)
		has["requests"] = err == nil && len(open) == 1
		_, _, err = h.db.Session(t.Context(), hash(o, "session"))
		has["session"] = err == nil
		_, err = h.db.TakeOwnerLink(t.Context(), hash(o, "link"))
		has["link"] = err == nil
		tokens, err := h.db.ListTokens(t.Context(), o)
		has["tokens"] = err == nil && len(tokens) == 1
		for what, got := range has {
			if got != want {
				t.Errorf("%s: %s: %v", o, what, got)
			}
		}
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		events, err := h.vault.Desk(ada).Events(t.Context(), auth.EventFilter{Kind: "session.end"})
		must(t, err)
		if len(events) == 1 {
			break
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("the end of the sessions is not on record")
		}
	}
}

// connect says whose the connection will be, where others would wait for it.
func TestConnectSaysForWhom(t *testing.T) {
	for _, owner := range []auth.Owner{auth.Local, {User: "ada"}} {
		data := filepath.Join(t.TempDir(), "data")
		h := newHouse(t, data, freePort(t))
		must(t, h.db.AddToken(t.Context(), []byte("hash"), owner, "agent", nil, time.Time{}))
		must(t, h.Close())
		var said bytes.Buffer
		run(t.Context(), []string{"connect", "nosuch", "--data", data, "--listen", "127.0.0.1:0"}, &settings{in: strings.NewReader(""), out: &said, err: &said})
		if strings.Contains(said.String(), "This is for local") != (owner != auth.Local) {
			t.Errorf("%s has a token: %s", owner, &said)
		}
	}
}
