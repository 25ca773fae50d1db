package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

var practiceNeed = auth.Need{Provider: "practice"}

// ask wants a link, as an agent gets it.
func ask(t *testing.T, v *authtest.Vault, c auth.Caller, w auth.Wish) *auth.AuthRequired {
	t.Helper()
	_, err := v.Request(t.Context(), c, w)
	var link *auth.AuthRequired
	if !errors.As(err, &link) {
		t.Fatalf("Request: %v, want auth_required", err)
	}
	return link
}

// signIn plays the person up to the callback, whose query it gives.
func signIn(t *testing.T, v *authtest.Vault, id string, who auth.Visitor, user string, choice auth.Choice) url.Values {
	t.Helper()
	step, err := v.Visit(who).Confirm(t.Context(), id, choice)
	if err != nil {
		t.Fatal(err)
	}
	back, err := v.Server.Approve(t.Context(), step.Redirect, user)
	if err != nil {
		t.Fatal(err)
	}
	return query(t, back)
}

// connected is a vault with alice's connection and no requests on record.
func connected(t *testing.T, options authtest.Options) (*authtest.Vault, *clock) {
	t.Helper()
	v, c := newClockedVault(t, options)
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	v.Server.Forget()
	return v, c
}

// get gives the raw token.
func get(t *testing.T, v *authtest.Vault) string {
	t.Helper()
	h, err := v.Get(t.Context(), agent, practiceNeed)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return h.Released.Value.Reveal()
}

// only gives the one connection as its row stands.
func only(t *testing.T, v *authtest.Vault) *auth.Connection {
	t.Helper()
	infos, err := v.List(t.Context(), agent, "")
	if err != nil || len(infos) != 1 {
		t.Fatalf("List: %+v, %v", infos, err)
	}
	c, err := v.Connections.Connection(t.Context(), agent.Owner, infos[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func asked(v *authtest.Vault) int { return len(v.Server.Requests("POST /token")) }

func postForm(address string, form url.Values, answer any) error {
	resp, err := http.PostForm(address, form)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(answer)
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// getMany has n goroutines get the credential at once. It counts the tokens by their hashes.
func getMany(n int, get func() (*auth.Handle, error)) (tokens map[string]int, errs []string) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		ready = make(chan struct{})
	)
	tokens = map[string]int{}
	for range n {
		wg.Go(func() {
			<-ready
			h, err := get()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err.Error())
				return
			}
			tokens[hash(h.Released.Value.Reveal())]++
		})
	}
	close(ready)
	wg.Wait()
	return tokens, errs
}

// RF-001: 200 goroutines at an expired token cause one refresh, and all get what it brought.
func TestRefreshOnceInProcess(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	old := hash(get(t, v))
	c.forward(2 * time.Hour)
	tokens, errs := getMany(200, func() (*auth.Handle, error) { return v.Get(t.Context(), agent, practiceNeed) })
	if len(errs) > 0 || len(tokens) != 1 || tokens[old] > 0 {
		t.Errorf("tokens %v, errors %v", tokens, errs)
	}
	if stats := v.Server.Stats(); stats.Refreshes != 1 || stats.InvalidGrant != 0 {
		t.Errorf("%+v", stats)
	}
}

// explosive is a connector that panics with a secret while it renews.
type explosive struct {
	auth.Connector
	auth.Refresher
	in    string
	armed atomic.Bool
}

func (e *explosive) Refresh(ctx context.Context, f *auth.Flow, old *auth.Credential) ([]byte, error) {
	if e.armed.Load() && e.in == "Refresh" {
		panic("CANARY")
	}
	return e.Refresher.Refresh(ctx, f, old)
}

func (e *explosive) Refreshed(f *auth.Flow, old *auth.Credential, answer []byte, sentAt time.Time) (*auth.Outcome, error) {
	if e.armed.Load() && e.in == "Refreshed" {
		panic("CANARY")
	}
	return e.Refresher.Refreshed(f, old, answer, sentAt)
}

// MC-007: a renewal that panics, for a caller or ahead of time, is an error of that connection; its value goes nowhere, the
// process lives, nobody waits for ever, and once the fault is gone the connection works with the answer that was kept.
func TestRenewalThatPanics(t *testing.T) {
	for _, in := range []string{"Refresh", "Refreshed"} {
		t.Run(in, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			var log bytes.Buffer
			v.Vault.Log = slog.New(slog.NewTextHandler(&log, nil))
			bomb := &explosive{Connector: v.Connectors[0], Refresher: v.Connectors[0].(auth.Refresher), in: in}
			bomb.armed.Store(true)
			v.Connectors[0] = bomb
			use(t, v, c) // the keeper looks after what is used
			c.forward(2 * time.Hour)
			if _, errs := getMany(5, func() (*auth.Handle, error) { return v.Get(t.Context(), agent, practiceNeed) }); len(errs) != 5 || strings.Contains(fmt.Sprint(errs), "CANARY") {
				t.Errorf("callers got %q", errs)
			}
			c.forward(10 * time.Second) // past the lease
			err := v.KeepOnce(t.Context())
			if err == nil || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("background work: %v", err)
			}
			if text := log.String(); !strings.Contains(text, "renewal failed") || strings.Contains(text, "CANARY") {
				t.Errorf("logged %s", text)
			}
			bomb.armed.Store(false)
			c.forward(10 * time.Second)
			if token := get(t, v); token == "" {
				t.Error("no token")
			}
			if stats := v.Server.Stats(); stats.Refreshes != 1 || stats.InvalidGrant != 0 {
				t.Errorf("%+v", stats)
			}
		})
	}
}

// What a renewal tells anew is stored, but for a host that the credential was not given for (PD-007) and for another place.
func TestRefreshTellsVariables(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) {
		p.OAuth2.Response.Keep = map[string]providers.Keep{
			"shard": {Path: "shard"}, "team": {Path: "team", Place: true}, "api": {Path: "api", Hosts: []string{"*.example.com"}},
		}
		p.API.Hosts = append(p.API.Hosts, "${api}")
	})
	tell := func(shard, team, api string) {
		v.Server.Heal()
		v.Server.FaultAlways("/token", authtest.With(map[string]any{"shard": shard, "team": team, "api": api}))
	}
	tell("one", "acme", "https://eu.example.com")
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	for _, step := range []struct{ shard, team, api, want string }{
		{"two", "acme", "https://eu.example.com", "two"},
		{"three", "acme", "https://us.example.com", "two"},
		{"four", "umbrella", "https://eu.example.com", "two"},
		{"five", "", "", "five"},
	} {
		tell(step.shard, step.team, step.api)
		c.forward(2 * time.Hour)
		get(t, v)
		if vars := only(t, v).Vars; vars["shard"] != step.want || vars["team"] != "acme" || vars["api"] != "https://eu.example.com" {
			t.Errorf("%+v: %v", step, vars)
		}
	}
}
