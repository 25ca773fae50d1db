package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// RF-003: a process that is told to end while it renews a token, when whoever asked for it has gone, ends after the new
// one is stored: the provider has spent the old one.
func TestEndDuringRefresh(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	caller := auth.Caller{Owner: auth.Local, Client: client}
	link, err := requested(v.Request(t.Context(), caller, auth.Wish{Provider: "practice"}))
	if err != nil {
		t.Fatal(err)
	}
	browser := sha256.Sum256([]byte("browser"))
	if err := finish(t.Context(), v.Vault, v.Server, link, browser[:]); err != nil {
		t.Fatal(err)
	}
	get := func(ctx context.Context) error {
		v.Vault.Release = map[string]bool{"practice": true}
		v.Vault.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
		_, err := v.Get(ctx, caller, auth.Need{Provider: "practice"})
		return err
	}
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.db, h.vault = v.DB, v.Vault

	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("/token", fault)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-pause.Reached
		cancel()
		time.Sleep(200 * time.Millisecond)
		close(pause.Release)
	}()
	if err := get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	v.Reopen()
	if err := get(t.Context()); err != nil {
		t.Errorf("Get afterwards: %v", err)
	}
	if stats := v.Server.Stats(); stats.Refreshes != 1 || stats.InvalidGrant != 0 {
		t.Errorf("%+v", stats)
	}
}

// CB-017: a process that is told to end while the provider redeems a code ends after the sign-in is stored: the code is spent.
func TestEndDuringSignIn(t *testing.T) {
	v := authtest.NewVault(t, authtest.Options{})
	caller := auth.Caller{Owner: auth.Local, Client: client}
	id, err := requested(v.Request(t.Context(), caller, auth.Wish{Provider: "practice"}))
	if err != nil {
		t.Fatal(err)
	}
	browser := sha256.Sum256([]byte("browser"))
	person := v.Visit(auth.Visitor{Browser: browser[:]})
	step, err := person.Confirm(t.Context(), id, auth.Choice{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := v.Server.Approve(t.Context(), step.Redirect, "alice")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.db, h.vault = v.DB, v.Vault

	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("/token", fault)
	done := make(chan error, 1)
	go func() {
		_, err := person.Callback(context.Background(), "practice", u.Query())
		done <- err
	}()
	<-pause.Reached
	go func() {
		time.Sleep(200 * time.Millisecond)
		close(pause.Release)
	}()
	if err := h.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the callback: %v", err)
	}
	v.Reopen()
	if s, err := v.Wait(t.Context(), caller, id, 0, nil); err != nil || s.Status != auth.StatusConnected {
		t.Errorf("%+v, %v", s, err)
	}
}
