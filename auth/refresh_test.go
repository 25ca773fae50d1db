package auth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
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
