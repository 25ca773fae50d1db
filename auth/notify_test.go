package auth_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// SH-011, the notification: the owner is told of what waits: signed, by a webhook that may fail at first, and by a command without a shell. Neither
// the message nor what a client calls itself can do anything.
func TestNotifier(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	hook := authtest.NewAPI(nil)
	t.Cleanup(hook.Close)
	t.Setenv("LATCHPOST_KEY", "env:canary")
	t.Setenv("PGPASSWORD", "canary")
	dir := t.TempDir()
	script := "#!/bin/sh\ncat >\"$1/said.new\"; env >\"$1/env\"; mv \"$1/said.new\" \"$1/said\"\n"
	if err := os.WriteFile(filepath.Join(dir, "hook"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{}, 9)
	fail := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "not now", http.StatusServiceUnavailable)
	}
	hook.Fault("/hook", fail, authtest.CutAfter, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.WriteHeader(http.StatusNoContent)
		arrived <- struct{}{}
	})
	var log lockedBuffer
	n := auth.NewNotifier(auth.Notifier{
		URL: hook.URL + "/hook", Command: []string{filepath.Join(dir, "hook"), dir}, Key: auth.NotifyKey(v.Box),
		BaseURL: v.BaseURL, Out: v.Out, Log: jsonLog(&log), Pause: time.Millisecond,
	})
	v.Announce = n.Announce
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	odd := agent
	odd.Client = "$(touch /tmp/x)\x1b[2J`id`"
	call := post("/echo", "canary-body")
	call.Query = map[string][]string{"q": {"canary-query"}}
	ask := askOwner(t, v, odd, call, auth.RuleNoGrant)

	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() { n.Run(ctx) })
	<-arrived
	said := filepath.Join(dir, "said")
	for {
		if _, err := os.Stat(said); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the command was not run")
		}
	}
	stop()
	working.Wait()

	tries := hook.Requests("POST /hook")
	if len(tries) != 3 {
		t.Fatalf("%d tries", len(tries))
	}
	body := tries[2].Body
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil || m["type"] != "approval_required" || m["id"] != ask.RequestID || m["method"] != "POST" ||
		m["link"] != ask.URL || m["url"] != v.API.URL+"/api/echo" || m["client_verified"] != false || m["rule"] != "no_grant" {
		t.Errorf("%s, %v", body, err)
	}
	if strings.Contains(string(body), "canary") || strings.Contains(string(body), "u001b") {
		t.Errorf("the message holds too much: %s", body)
	}
	stamp, mac, _ := strings.Cut(strings.TrimPrefix(tries[2].Header.Get("Latchpost-Signature"), "t="), ",v1=")
	h := hmac.New(sha256.New, auth.NotifyKey(v.Box))
	fmt.Fprintf(h, "%s.%s", stamp, body)
	if mac != hex.EncodeToString(h.Sum(nil)) {
		t.Errorf("signature %s over %s", mac, stamp)
	}
	given, err := os.ReadFile(said)
	if err != nil || !bytes.Equal(given, body) {
		t.Errorf("the command got %s, %v", given, err)
	}
	if env, err := os.ReadFile(filepath.Join(dir, "env")); err != nil || bytes.Contains(env, []byte("LATCHPOST_")) || bytes.Contains(env, []byte("PGPASS")) {
		t.Errorf("the command's environment: %s, %v", env, err)
	}
	if strings.Contains(log.String(), "webhook") { // the command may have been cut short by stop
		t.Errorf("logged: %s", log.String())
	}
}

// What cannot be told is logged, and announcing never blocks.
func TestNotifierFails(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	var log lockedBuffer
	n := auth.NewNotifier(auth.Notifier{
		URL: "http://127.0.0.1:1/", Command: []string{"/nowhere/hook"}, Key: []byte("k"), BaseURL: v.BaseURL, Out: v.Out, Log: jsonLog(&log), Pause: time.Nanosecond,
	})
	for range 70 {
		n.Announce(auth.Approval{ID: "A"})
	}
	if c := strings.Count(log.String(), "not told"); c != 6 {
		t.Errorf("%d were dropped", c)
	}
	ctx, stop := context.WithCancel(t.Context())
	log.watch("command for approvals failed", stop)
	n.Run(ctx)
	if !strings.Contains(log.String(), "webhook did not take") {
		t.Errorf("logged: %s", log.String())
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu   sync.Mutex
	b    bytes.Buffer
	word string
	then func()
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.then != nil && bytes.Contains(p, []byte(l.word)) {
		l.then()
	}
	return l.b.Write(p)
}

func (l *lockedBuffer) watch(word string, then func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.word, l.then = word, then
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
