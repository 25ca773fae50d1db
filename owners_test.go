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

// The operator of a server of many users sees what they have, and no answer about one owner passes for one about all.
func TestOtherOwners(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	h := newHouse(t, data, freePort(t))
	ada := auth.Owner{Org: "acme", User: "ada"}
	c := storetest.NewConnection(ada, "github", "octo")
	c.Hosts, c.Vars = []string{"api.github.com"}, nil
	storetest.Connect(t, h.db, c)
	must(t, h.Close())
	says := func(code int, line string) string {
		t.Helper()
		var out bytes.Buffer
		args := append(strings.Fields(line), "--data", data, "--log-level", "error")
		if got := run(t.Context(), args, &settings{in: strings.NewReader(""), out: &out, err: &out}); got != code {
			t.Errorf("%s ends with %d: %s", line, got, out.String())
		}
		return out.String()
	}
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
