package main

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// ST-023: what was good once, or for a while, when a backup was made is not good again after it was put back: a sign-in
// under way, a link, a session, an approval. Connections are.
func TestRestoreEndsWhatWasOpen(t *testing.T) {
	provider := authtest.NewServer(authtest.Options{})
	t.Cleanup(provider.Close)
	api := authtest.NewAPI(provider)
	t.Cleanup(api.Close)
	dir := t.TempDir()
	flags := []string{"--key", "file:" + filepath.Join(dir, "key", "master.key"), "--unsafe-loopback", "--log-level", "error",
		"--var", "practice.port=" + port(provider.URL), "--var", "practice.api_port=" + port(api.URL), "--var", "practice.site_port=1"}
	at := func(data string) *house {
		t.Helper()
		s := &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output(), listen: "127.0.0.1:0", browser: browserSettings{kind: "local", dir: dir}}
		if _, err := s.parse(newFlags(command{name: "list"}, s), append(flags, "--data", data)); err != nil {
			t.Fatal(err)
		}
		h, err := open(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	does := func(data string, args ...string) {
		t.Helper()
		if code := run(t.Context(), append(append(args, flags...), "--data", data), &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output()}); code != exitDone {
			t.Fatalf("%v ends with %d", args, code)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	old, fresh, saved := filepath.Join(dir, "old"), filepath.Join(dir, "fresh"), filepath.Join(dir, "saved.db")
	h := at(old)
	must(h.vault.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil))
	agent := auth.Caller{Owner: auth.Local, Client: "agent"}
	first, err := requested(h.vault.Request(t.Context(), agent, auth.Wish{Provider: "practice"}))
	must(err)
	must(finish(t.Context(), h.vault, provider, first, browserHash))
	second, err := requested(h.vault.Request(t.Context(), agent, auth.Wish{Provider: "practice", Account: "another"}))
	must(err)
	person := auth.Visitor{Browser: browserHash}
	step, err := h.vault.Visit(person).Confirm(t.Context(), second, auth.Choice{})
	must(err)
	back, err := provider.Approve(t.Context(), step.Redirect, "bob")
	must(err)
	answer, err := url.Parse(back)
	must(err)
	link, err := h.identity.Link(t.Context(), auth.Local)
	must(err)
	must(h.db.AddSession(t.Context(), browserHash, auth.Local, time.Now().Add(time.Hour)))
	mine, err := h.vault.Desk(auth.Local).Connections(t.Context())
	must(err)
	approval := auth.Approval{ID: "A", Owner: auth.Local, Client: "agent", Connection: mine[0].ID, Account: mine[0].Account, Kind: auth.Use, State: auth.Waiting, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	_, err = h.db.AddApproval(t.Context(), &approval, 20)
	must(err)
	must(h.db.Decide(t.Context(), auth.Local, "A", auth.Approved, true, nil, time.Now()))
	must(h.Close())

	does(old, "backup", saved)
	provider.Forget()
	does(fresh, "restore", saved)
	h = at(fresh)
	defer h.Close()
	if found, err := h.vault.Desk(auth.Local).Connections(t.Context()); err != nil || len(found) != 1 || found[0].State != auth.Active {
		t.Errorf("connections: %+v, %v", found, err)
	}
	if _, err := h.vault.Visit(person).Callback(t.Context(), "practice", answer.Query()); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("the sign-in goes on: %v", err)
	}
	if n := len(provider.Requests("POST /token")); n != 0 {
		t.Errorf("%d token requests", n)
	}
	if s, err := h.vault.Wait(t.Context(), agent, second, 0, nil); err != nil || s.Status != auth.StatusExpired {
		t.Errorf("the agent is told %+v, %v", s, err)
	}
	spent := httptest.NewRecorder()
	post := httptest.NewRequest("POST", "/login", strings.NewReader(url.Values{"code": {filepath.Base(link.Reveal())}}.Encode()))
	post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if h.identity.Handler().ServeHTTP(spent, post); spent.Code != http.StatusGone {
		t.Errorf("the link is answered with %d", spent.Code)
	}
	if o, _, err := h.db.Session(t.Context(), browserHash); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("the session of %v goes on: %v", o, err)
	}
	if left, err := h.db.Approvals(t.Context(), auth.Local, auth.Approved, time.Now()); err != nil || len(left) != 0 {
		t.Errorf("approvals: %+v, %v", left, err)
	}
}

// ST-023: a restore that is killed after the copy was made leaves nothing in which what had ended since is good again.
func TestKillWithinRestore(t *testing.T) {
	dir := t.TempDir()
	data, key := filepath.Join(dir, "data"), "file:"+filepath.Join(dir, "key", "master.key")
	house := func() *house {
		t.Helper()
		h, err := open(t.Context(), &settings{out: t.Output(), err: t.Output(), logLevel: "error", data: data, key: key, listen: "127.0.0.1:0", browser: browserSettings{kind: "local", dir: dir}})
		must(t, err)
		return h
	}
	h := house()
	request := &auth.Request{ID: "r", Owner: auth.Local, State: auth.Created}
	_, err := h.db.CreateRequest(t.Context(), request, 1)
	must(t, err)
	must(t, h.db.CompleteRequest(t.Context(), request, &auth.Connection{ID: "c", Owner: auth.Local, Provider: "github", State: auth.Active, Version: 1}, nil))
	approval := auth.Approval{ID: "A", Owner: auth.Local, Client: "agent", Connection: "c", Digest: []byte("d"), Kind: auth.Use, State: auth.Waiting, CreatedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	_, err = h.db.AddApproval(t.Context(), &approval, 20)
	must(t, err)
	must(t, h.db.AddSession(t.Context(), browserHash, auth.Local, time.Now().Add(time.Hour)))
	must(t, h.db.Decide(t.Context(), auth.Local, "A", auth.Approved, true, nil, time.Now()))
	saved := filepath.Join(dir, "saved.db")
	must(t, h.db.Backup(t.Context(), saved))
	_, err = h.db.Spend(t.Context(), auth.Local, "agent", "c", []byte("d"), time.Now())
	must(t, err)
	must(t, h.db.DeleteSession(t.Context(), browserHash))
	must(t, h.Close())
	must(t, os.RemoveAll(data))

	killer := filepath.Join(dir, "killer")
	must(t, os.WriteFile(killer, []byte("#!/bin/sh\nkill -9 $PPID\n"), 0o700)) // at the moment when the key is asked for
	restore := func(key string) error {
		out, err := exec.CommandContext(t.Context(), "latchpost", "restore", "--data", data, "--key", key, saved).CombinedOutput()
		t.Logf("%s", out)
		return err
	}
	if err := restore("exec:" + killer); err == nil {
		t.Fatal("it was not killed")
	}
	if _, err := os.Lstat(filepath.Join(data, "latchpost.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the copy has the name of the store: %v", err)
	}
	must(t, restore(key))
	h = house()
	defer h.Close()
	if o, _, err := h.db.Session(t.Context(), browserHash); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("the session of %v goes on: %v", o, err)
	}
	if _, err := h.db.Spend(t.Context(), auth.Local, "agent", "c", []byte("d"), time.Now()); err == nil {
		t.Error("the approval is spent again")
	}
}
