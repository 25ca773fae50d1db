//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// offCommandLine takes the URLs of stores out of args and puts them where a password may stand.
func offCommandLine(t *testing.T, args []string) []string {
	t.Helper()
	for _, flag := range []string{"--store", "--to"} {
		url := ""
		if i := slices.Index(args, flag); i >= 0 {
			url, args = args[i+1], slices.Delete(slices.Clone(args), i, i+2)
		}
		t.Setenv("LATCHPOST_"+strings.ToUpper(flag[2:]), url)
	}
	return args
}

// A house moves from SQLite to PostgreSQL and back, under its key. Its connections make calls and renew their tokens in each place, a
// sign-in that was under way is finished in the next one, an agent's token and a person's session stay good, and the record goes on. A
// wrong key is told before anything is made; the password in a URL is not told at all.
func TestMigrate(t *testing.T) {
	provider := authtest.NewServer(authtest.Options{})
	t.Cleanup(provider.Close)
	api := authtest.NewAPI(provider)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	flags := []string{"--key", "file:" + filepath.Join(dir, "key", "master.key"), "--unsafe-loopback", "--log-level", "error",
		"--var", "practice.port=" + port(provider.URL), "--var", "practice.api_port=" + port(api.URL), "--var", "practice.site_port=1"}
	at := func(place []string) *house {
		t.Helper()
		s := &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output(), listen: "127.0.0.1:0", browser: browserSettings{kind: "local", dir: dir}}
		_, err := s.parse(newFlags(command{name: "list"}, s), append(flags, offCommandLine(t, place)...))
		must(t, err)
		h, err := open(t.Context(), s)
		must(t, err)
		return h
	}
	does := func(args ...string) (code int, says string) {
		t.Helper()
		args = offCommandLine(t, args)
		var all bytes.Buffer
		code = run(t.Context(), args, &settings{in: strings.NewReader(""), out: &all, err: &all})
		if strings.Contains(all.String(), "CANARY") {
			t.Errorf("%q tells the password: %s", args, &all)
		}
		return code, all.String()
	}
	sqlite := []string{"--data", filepath.Join(dir, "old")}
	pgURL := storetest.Postgres(t) + "&password=CANARY"
	pg := []string{"--data", filepath.Join(dir, "old"), "--store", pgURL}
	backURL := "sqlite:" + filepath.Join(dir, "new", "latchpost.db")
	back := []string{"--data", filepath.Join(dir, "new"), "--store", backURL}

	agent, person := auth.Caller{Owner: auth.Local, Client: "agent"}, auth.Visitor{Browser: browserHash}
	var answer url.Values // of the provider, to the sign-in that is under way
	begin := func(h *house, account string) {
		t.Helper()
		id, err := requested(h.vault.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: account}))
		must(t, err)
		step, err := h.vault.Visit(person).Confirm(t.Context(), id, auth.Choice{Access: auth.Write})
		must(t, err)
		back, err := provider.Approve(t.Context(), step.Redirect, account)
		must(t, err)
		u, err := url.Parse(back)
		must(t, err)
		answer = u.Query()
	}
	works := func(h *house, later time.Duration, accounts ...string) {
		t.Helper()
		h.vault.Now = func() time.Time { return time.Now().Add(later) } // access tokens have ended by then
		for _, account := range accounts {
			if got, err := h.vault.Call(t.Context(), agent, auth.Call{Provider: "practice", Account: account, Path: "/me"}); err != nil || got.Status != 200 {
				t.Errorf("a call as %s: %+v, %v", account, got, err)
			}
		}
		if o, _, err := h.db.Session(t.Context(), browserHash); err != nil || o != auth.Local {
			t.Errorf("the session of %v: %v", o, err)
		}
		if _, err := h.db.Token(t.Context(), []byte("token")); err != nil {
			t.Errorf("the agent's token: %v", err)
		}
		if report, err := h.audit.Verify(t.Context()); err != nil || len(report.Faults) > 0 || report.Events < 5 {
			t.Errorf("the record: %+v, %v", report, err)
		}
	}

	h := at(sqlite)
	must(t, h.vault.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil))
	must(t, h.vault.Desk(auth.Local).SetApp(t.Context(), "github", "Iv1.example", auth.NewSecret("secret"), nil))
	must(t, h.db.AddSession(t.Context(), browserHash, auth.Local, time.Now().Add(time.Hour)))
	must(t, h.db.AddToken(t.Context(), []byte("token"), auth.Local, "agent", nil, time.Time{}))
	begin(h, "alice")
	_, err := h.vault.Visit(person).Callback(t.Context(), "practice", answer)
	must(t, err)
	works(h, 0, "alice")
	begin(h, "bob")
	to := func(place []string, url string, more ...string) []string {
		return append(append(append([]string{"migrate", "--to", url}, flags...), place...), more...)
	}
	if code, says := does(to(sqlite, pgURL)...); code != exitFailed || !strings.Contains(says, "other latchpost processes use this store") {
		t.Errorf("from a house that is in use: %d %s", code, says)
	}
	must(t, h.Close())

	other := filepath.Join(dir, "other", "master.key")
	if code, says := does("owner-link", "--data", filepath.Join(dir, "elsewhere"), "--key", "file:"+other); code != exitDone {
		t.Fatal(says)
	}
	if code, says := does(to(sqlite, backURL, "--key", "file:"+other)...); code != exitFailed || !strings.Contains(says, "master key does not match") {
		t.Errorf("with another key: %d %s", code, says)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("with another key the new store was made")
	}
	for _, wrong := range []string{"postgres://ada:CANARY@127.0.0.1:1/db", "postgres://ada:CANARY@%zz/db", "postgres://ada:CANARY@db.invalid/db", "mysql://ada:CANARY@db/db"} {
		if code, says := does(to(sqlite, wrong)...); code == exitDone {
			t.Errorf("to %s: %s", wrong, says)
		}
	}

	for _, move := range []struct{ from, to []string }{{sqlite, pg}, {pg, back}} {
		code, says := does(to(move.from, move.to[3])...)
		if code != exitDone || !strings.Contains(says, "connections ") || !strings.Contains(says, "sealed values open there") || !strings.Contains(says, "The record verifies there") {
			t.Fatalf("%d %s", code, says)
		}
		if code, says := does(to(move.from, move.to[3])...); code != exitFailed || !strings.Contains(says, "the new store is not empty (keys 1, ") {
			t.Errorf("again: %d %s", code, says)
		}
	}
	h = at(pg)
	works(h, 0, "alice")
	must(t, h.Close())
	h = at(back)
	defer h.Close()
	_, err = h.vault.Visit(person).Callback(t.Context(), "practice", answer)
	must(t, err)
	works(h, 2*time.Hour, "alice", "bob")
	if app, err := h.db.App(t.Context(), auth.Local, "github"); err != nil || app.ClientID != "Iv1.example" || len(app.Sealed) == 0 {
		t.Errorf("the app: %+v, %v", app, err)
	}
}

// ST-011: killed at any moment, the command has moved everything or nothing, in either database. The source is whole, and where nothing was
// moved the same command does it.
func TestKillWithinMigrate(t *testing.T) {
	dir := t.TempDir()
	h := newHouse(t, filepath.Join(dir, "data"), freePort(t))
	events := make([]auth.Event, 10_000)
	for i := range events {
		events[i] = auth.Event{ID: fmt.Sprint(i), At: time.Now(), Owner: auth.Local, Kind: "call"}
	}
	must(t, h.audit.Append(t.Context(), events...))
	must(t, h.vault.Desk(auth.Local).SetApp(t.Context(), "github", "Iv1.example", auth.NewSecret("secret"), nil))
	must(t, h.Close())
	pg := storetest.Postgres(t)

	moved, undone := 0, 0
	for n := range much(16, 6) {
		to := "sqlite:" + filepath.Join(dir, fmt.Sprint("to", n), "latchpost.db")
		if n%2 == 0 {
			to = storetest.Database(t, pg)
		}
		migrate := func() *exec.Cmd {
			return exec.CommandContext(t.Context(), "latchpost", "migrate", "--data", filepath.Join(dir, "data"), "--to", to)
		}
		cmd := migrate()
		must(t, cmd.Start())
		<-time.After(time.Duration(mathrand.N(1000)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		out, err := migrate().CombinedOutput()
		switch {
		case err == nil:
			undone++
		case strings.Contains(string(out), "the new store is not empty (keys 1, apps 1, "):
			moved++
		default:
			t.Fatalf("round %d, to %s: %v %s", n, to, err, out)
		}
		there, err := store.Open(context.Background(), store.Options{URL: to, Ballast: -1})
		must(t, err)
		report, err := there.AuditLog(h.box.MAC("audit")).Verify(t.Context())
		if err != nil || len(report.Faults) > 0 || report.Events != int64(len(events)+1) {
			t.Errorf("round %d, to %s: %+v, %v", n, to, report, err)
		}
		must(t, there.Close())
	}
	if t.Logf("%d were killed before the end, %d after it", undone, moved); undone == 0 {
		t.Error("none was killed in time")
	}
}
