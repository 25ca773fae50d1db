package auth_test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

func revoke(t *testing.T, v *authtest.Vault) string {
	t.Helper()
	ended, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"})
	if err != nil || len(ended.Connections) != 1 {
		t.Fatalf("Revoke: %+v, %v", ended, err)
	}
	return ended.Connections[0].AtProvider
}

// E1, E3, PD-010: what the provider confirmed is called revoked; the secret is gone from the row, and the
// refresh token went first. A token that the provider had forgotten already is no error.
func TestRevokeTells(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		v, _ := connected(t, authtest.Options{})
		access := get(t, v)
		id := only(t, v).ID
		if forgotten {
			v.Server.RevokeUser("alice")
		}
		if at := revoke(t, v); at != auth.AtProviderRevoked {
			t.Errorf("at the provider: %s", at)
		}
		told := v.Server.Requests("POST /revoke")
		if len(told) != 2 || told[0].Form.Get("token_type_hint") != "refresh_token" || told[1].Form.Get("token") != access {
			t.Errorf("%d requests", len(told))
		}
		row, err := v.Connections.Connection(t.Context(), agent.Owner, id)
		if err != nil || row.State != auth.Revoked || row.Salt != nil || row.Sealed != nil || row.Refresh.Answer != nil {
			t.Errorf("row %+v, %v", row, err)
		}
		_, err = v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
		wantLink(t, err, auth.NotConnected)
	}
}

// E2, E4, PD-010: what the provider did not confirm is called unknown, tried again from the store, and
// called revoked only then. Locally it is dead at once.
func TestRevokeRetries(t *testing.T) {
	for name, fault := range map[string]authtest.Fault{
		"503":     authtest.Busy(503, "60"),
		"cut":     authtest.CutAfter,
		"page":    authtest.LoginPage(404),
		"refused": authtest.Refuse(http.StatusUnauthorized, "invalid_client", "x"),
	} {
		t.Run(name, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			access := get(t, v)
			v.Server.FaultAlways("/revoke", fault)
			if at := revoke(t, v); at != auth.AtProviderUnknown {
				t.Errorf("at the provider: %s", at)
			}
			if infos, _ := v.List(t.Context(), agent, ""); len(infos) != 0 {
				t.Errorf("still there: %+v", infos)
			}
			tries := len(v.Server.Requests("POST /revoke"))
			keepOnce(t, v)
			if n := len(v.Server.Requests("POST /revoke")); n != tries {
				t.Error("tried again at once")
			}
			for range 3 { // other processes, later
				c.forward(20 * time.Minute)
				reopen(t, v, siteOf(v), c.Now)
				keepOnce(t, v)
			}
			if n := len(v.Server.Requests("POST /revoke")); n != tries+3 {
				t.Errorf("%d tries", n)
			}
			v.Server.Heal()
			c.forward(6 * time.Hour)
			keepOnce(t, v)
			if live(v.Server, auth.NewSecret(access)) {
				t.Error("the token lives on")
			}
			tries = len(v.Server.Requests("POST /revoke"))
			c.forward(24 * time.Hour)
			keepOnce(t, v)
			if n := len(v.Server.Requests("POST /revoke")); n != tries {
				t.Error("told again after it was done")
			}
			wantOutcomes(t, v, auth.AtProviderUnknown, auth.AtProviderRevoked)
		})
	}
}

// wantOutcomes compares what the log says became of revocations, the first and the last.
func wantOutcomes(t *testing.T, v *authtest.Vault, first, last string) {
	t.Helper()
	wantEvent(t, v, agent.Owner, "revoke.done")
	events, err := v.Desk(agent.Owner).Events(t.Context(), auth.EventFilter{Kind: "revoke.done"})
	if err != nil || len(events) < 2 || events[len(events)-1].Detail["at_provider"] != first || events[0].Detail["at_provider"] != last {
		t.Errorf("on record: %+v, %v", events, err)
	}
}

// E3, PD-010: where only the access token can be named and it has lapsed, the provider's not knowing it says nothing about the
// refresh token. That one is used once more, and what it brings is revoked; what that leaves open is called unknown.
func TestRevokeLapsed(t *testing.T) {
	lapsed := func(change func(*providers.Provider), forgotten authtest.Fault) (*authtest.Vault, *clock, func() bool) {
		v, c := newClockedVault(t, authtest.Options{})
		redefine(t, v, c, change)
		given := tokensOf(v)
		connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
		v.Server.FaultAlways("POST /revoke", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			token := cmp.Or(r.FormValue("token"), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if !live(v.Server, auth.NewSecret(token)) {
				forgotten(w, r, next)
				return
			}
			v.Server.RevokeUser("alice")
			w.WriteHeader(http.StatusNoContent)
		})
		c.forward(9 * time.Hour)
		return v, c, func() (alive bool) {
			given.Range(func(refresh, _ any) bool {
				alive = alive || live(v.Server, auth.NewSecret(refresh.(string)))
				return true
			})
			return alive
		}
	}
	github := func(p *providers.Provider) {
		p.OAuth2.Revoke.Token, p.OAuth2.Revoke.OK = "access", []int{204, 404, 422}
	}
	notFound := authtest.Answer(404, "application/json", `{"message":"Not Found"}`)
	for name, test := range map[string]struct {
		change    func(*providers.Provider)
		forgotten authtest.Fault
	}{
		"as GitHub": {github, notFound},
		"as Slack": {func(p *providers.Provider) {
			p.OAuth2.Revoke.Token, p.OAuth2.Revoke.Auth, p.OAuth2.Revoke.Body = "access", "bearer", "none"
			p.OAuth2.Errors.Reauth = []string{"token_expired"}
		}, authtest.Answer(200, "application/json", `{"ok":false,"error":"token_expired"}`)},
		"as Strava": {func(p *providers.Provider) {
			p.OAuth2.Revoke.Token, p.OAuth2.Revoke.Auth, p.OAuth2.Revoke.Body = "access", "bearer", "none"
		}, authtest.Answer(401, "application/json", `{"message":"Authorization Error","errors":[]}`)},
	} {
		v, _, alive := lapsed(test.change, test.forgotten)
		if at := revoke(t, v); at != auth.AtProviderRevoked || alive() {
			t.Errorf("%s: %s; a refresh token lives: %v", name, at, alive())
		}
	}

	later := func(v *authtest.Vault, c *clock) {
		t.Helper()
		for range 3 {
			c.forward(20 * time.Minute)
			keepOnce(t, v)
		}
	}
	v, _, _ := lapsed(github, notFound)
	v.Server.RevokeUser("alice") // there, by the person
	if at := revoke(t, v); at != auth.AtProviderRevoked {
		t.Errorf("a sign-in that is dead already: %s", at)
	}
	v, c, alive := lapsed(github, notFound)
	v.Server.Fault("POST /token", authtest.Busy(503, ""))
	if at := revoke(t, v); at != auth.AtProviderUnknown || !alive() {
		t.Errorf("the provider cannot renew now: %s", at)
	}
	if later(v, c); alive() {
		t.Error("it was not tried again")
	}
	v, c, alive = lapsed(github, notFound)
	v.Server.Fault("POST /revoke", notFound, authtest.Busy(503, ""))
	if at := revoke(t, v); at != auth.AtProviderUnknown || !alive() {
		t.Errorf("the new tokens are not revoked: %s", at)
	}
	refreshes := v.Server.Stats().Refreshes
	if later(v, c); alive() || v.Server.Stats().Refreshes != refreshes {
		t.Errorf("the new tokens live: %v, %d renewals more", alive(), v.Server.Stats().Refreshes-refreshes)
	}
	v, c, _ = lapsed(github, notFound)
	v.Server.FaultAlways("POST /revoke", notFound) // it knows no token at all
	if at := revoke(t, v); at != auth.AtProviderUnknown {
		t.Errorf("nothing is confirmed: %s", at)
	}
	for range 25 {
		c.forward(7 * time.Hour)
		keepOnce(t, v)
	}
	if n := v.Server.Stats().Refreshes; n < 2 || n > 21 {
		t.Errorf("%d renewals", n)
	}
	v, c, _ = lapsed(github, notFound)
	v.Server.Fault("POST /token", authtest.CutAfter) // the new tokens are nowhere
	if at := revoke(t, v); at != auth.AtProviderUnknown {
		t.Errorf("the answer was lost: %s", at)
	}
	later(v, c)
	wantOutcomes(t, v, auth.AtProviderUnknown, auth.AtProviderUnknown)

	// A process that ends meanwhile waits for what the renewal brings.
	v, _, _ = lapsed(github, notFound)
	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("POST /token", fault)
	done := make(chan error, 1)
	go func() { done <- second(v.Revoke(context.Background(), agent, auth.Unwanted{Provider: "practice"})) }()
	<-pause.Reached
	go close(pause.Release)
	if v.Drain(); len(v.Server.Requests("POST /revoke")) != 2 {
		t.Error("the end of the process leaves new tokens that nobody has")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// E2: a provider that says nothing at all holds nobody up for long, and the rest is done later.
func TestRevokeSilence(t *testing.T) {
	t.Parallel()
	v, c := connected(t, authtest.Options{})
	v.Server.Fault("/revoke", authtest.Silence)
	begun := time.Now()
	if at := revoke(t, v); at != auth.AtProviderUnknown {
		t.Errorf("at the provider: %s", at)
	}
	if took := time.Since(begun); took > 12*time.Second {
		t.Errorf("Revoke took %v", took)
	}
	c.forward(20 * time.Minute)
	keepOnce(t, v)
	if n := len(revokedTokens(v)); n != 2 {
		t.Errorf("%d tokens revoked", n)
	}
}

// PD-010: a provider that confirms, and lets the token live on. Nobody can see that from here: what is said is that it
// confirmed, and here nothing uses the token any more.
func TestRevokeConfirmedFalsely(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	access := get(t, v)
	v.Server.FaultAlways("/revoke", authtest.Answer(http.StatusOK, "application/json", `{}`))
	if at := revoke(t, v); at != auth.AtProviderRevoked {
		t.Errorf("at the provider: %s", at)
	}
	if !live(v.Server, auth.NewSecret(access)) {
		t.Fatal("the provider did revoke it")
	}
	v.API.Forget()
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantLink(t, err, auth.NotConnected)
	c.forward(2 * time.Hour)
	keepOnce(t, v)
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d calls with a token that lives on", n)
	}
}

// PD-010: where a provider has no way to be told, nothing more is claimed.
func TestRevokeLocalOnly(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Revoke = nil })
	if at := revoke(t, v); at != auth.LocalOnly {
		t.Errorf("at the provider: %s", at)
	}
}

// AU-001: stopping works when nothing can be put on record.
func TestRevokeWithoutAudit(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	link := reconnect(t, v)
	v.Vault.Audit = &deafLog{AuditLog: v.Vault.Audit, kind: "request.cancel"}
	if _, err := v.Revoke(t.Context(), agent, auth.Unwanted{RequestID: link.RequestID}); err != nil {
		t.Errorf("cancel: %v", err)
	}
	v.Vault.Audit = &deafLog{AuditLog: v.Vault.Audit, kind: "revoke"}
	if at := revoke(t, v); at != auth.AtProviderRevoked {
		t.Errorf("at the provider: %s", at)
	}
}

// ST-031: a revocation that the store cannot keep reaches the provider, and does not call itself done here.
func TestRevokeUnkept(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	sound := v.Revocations
	v.Revocations = &deafStore{sound}
	_, err := v.Revoke(t.Context(), agent, auth.Unwanted{Provider: "practice"})
	if known, ok := errors.AsType[*auth.Error](err); !ok || !strings.Contains(known.Message, "ended at practice, but not here") || !errors.Is(err, errDisk) {
		t.Errorf("Revoke: %v", err)
	}
	if c := only(t, v); c.State != auth.Active || len(v.Server.Requests("POST /revoke")) == 0 {
		t.Errorf("afterwards it is %+v", c)
	}
	v.Revocations = sound
	revoke(t, v)
}

var errDisk = errors.New("the disk failed")

// deafStore cannot write a revocation.
type deafStore struct{ auth.RevocationStore }

func (*deafStore) RevokeConnection(context.Context, auth.Owner, string, *auth.Revocation) error {
	return errDisk
}

// BF-039: revoking ends the calls that are under way, within a second, and none starts after it.
func TestRevokeStopsCalls(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	const calls = 20
	usual := func() time.Duration { // to make so many calls, as this machine is now
		begun := time.Now()
		var all sync.WaitGroup
		for range calls {
			all.Go(func() {
				if _, err := v.Call(t.Context(), agent, post("/echo", "x")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return time.Since(begun)
	}
	before := usual()
	arrived := make(chan struct{}, calls)
	v.API.FaultAlways("/api/me", func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	call := auth.Call{Provider: "practice", Path: "/me"}
	ended := make(chan error, calls)
	for range calls {
		go func() {
			_, err := v.Call(context.WithoutCancel(t.Context()), agent, call)
			ended <- err
		}()
	}
	for range calls {
		<-arrived
	}
	begun := time.Now()
	revoke(t, v)
	for range calls {
		if err := <-ended; err == nil {
			t.Error("a call was answered after Revoke")
		}
	}
	took := time.Since(begun)
	sent := len(v.API.Requests(""))
	for range calls {
		_, err := v.Call(t.Context(), agent, call)
		wantLink(t, err, auth.NotConnected)
	}
	if n := len(v.API.Requests("")); n != sent {
		t.Errorf("%d calls started after Revoke", n-sent)
	}
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{Access: auth.Write})
	if after := usual(); took > time.Second+max(before, after) {
		t.Errorf("it took %v to end them, and %v and %v to make as many", took, before, after)
	}
}

// D15, RF-013: a refresh that is under way when the connection is revoked brings tokens that are
// revoked, all of them, and never stored.
func TestRevokeWithinRefresh(t *testing.T) {
	for _, moment := range []string{"received", "committed", "headers"} {
		t.Run(moment, func(t *testing.T) {
			v, c := connected(t, authtest.Options{})
			id := only(t, v).ID
			given := new(sync.Map)
			reached, release := pauseToken(v, moment, given)
			c.forward(2 * time.Hour)
			done := make(chan error, 1)
			go func() {
				_, err := v.Get(context.WithoutCancel(t.Context()), agent, practiceNeed)
				done <- err
			}()
			<-reached
			revoke(t, v)
			close(release)
			if err := <-done; err == nil {
				t.Error("Get gave a token of a revoked connection")
			}
			wantRevoked(t, v, c, id, given)
		})
	}
}

// RF-013: an answer that a dead process left behind is revoked too.
func TestRevokeKeptAnswer(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	id := only(t, v).ID
	given := tokensOf(v)
	start(t, "refresh", refreshConfig{Site: siteOf(v), Ahead: 2 * time.Hour, Step: "after keep"}).died(t)
	revoke(t, v)
	wantRevoked(t, v, c, id, given)
}

// RF-013: a refresh that commits just before the connection is revoked leaves no tokens behind.
func TestRevokeJustAfterRefresh(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	id := only(t, v).ID
	given := tokensOf(v)
	v.Revocations = &overtaken{RevocationStore: v.Revocations, before: func() {
		c.forward(2 * time.Hour)
		get(t, v)
	}}
	revoke(t, v)
	wantRevoked(t, v, c, id, given)
}

// overtaken does something before the first RevokeConnection.
type overtaken struct {
	auth.RevocationStore
	once   sync.Once
	before func()
}

func (s *overtaken) RevokeConnection(ctx context.Context, o auth.Owner, id string, rev *auth.Revocation) error {
	s.once.Do(s.before)
	return s.RevocationStore.RevokeConnection(ctx, o, id, rev)
}

// wantRevoked wants a revoked row without secrets, and every token that was given out told to the provider.
func wantRevoked(t *testing.T, v *authtest.Vault, c *clock, id string, given *sync.Map) {
	t.Helper()
	c.forward(2 * time.Minute)
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Errorf("KeepOnce: %v", err)
	}
	row, err := v.Connections.Connection(t.Context(), agent.Owner, id)
	if err != nil || row.State != auth.Revoked || row.Sealed != nil || row.Refresh.Answer != nil {
		t.Errorf("row %+v, %v", row, err)
	}
	revoked := revokedTokens(v)
	given.Range(func(refresh, access any) bool {
		if !revoked[refresh.(string)] {
			t.Errorf("a refresh token was not revoked")
		}
		return true
	})
}

// BF-039: a call that found its connection just before it was revoked does not start.
func TestRevokeBeforeCallStarts(t *testing.T) {
	v, _ := connected(t, authtest.Options{})
	v.Grants = &distracted{GrantStore: v.Grants, before: func() { revoke(t, v) }}
	_, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"})
	wantErr(t, "Call", err, auth.ErrNotFound)
	if n := len(v.API.Requests("")); n != 0 {
		t.Errorf("%d requests after Revoke", n)
	}
}

// distracted does something right after a connection and its grants were read.
type distracted struct {
	auth.GrantStore
	once   sync.Once
	before func()
}

func (s *distracted) Granted(ctx context.Context, o auth.Owner, client, provider, account string, now time.Time) ([]auth.Connection, []auth.Grant, error) {
	found, grants, err := s.GrantStore.Granted(ctx, o, client, provider, account, now)
	s.once.Do(s.before)
	return found, grants, err
}
