package auth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/providers"
)

// A key that died unnoticed is found by the background work, and only the provider's
// clear no says so.
func TestDeadKeysAreFound(t *testing.T) {
	const key = "canary-k9x/w2+q7z=r4t8m1"
	v := withKey(t, `{"in":"header","name":"X-Api-Key","format":"${key}"}`, "", key)
	look := func() auth.State {
		t.Helper()
		if err := v.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := v.Desk(auth.Local).Connections(t.Context())
		if err != nil || len(found) != 1 {
			t.Fatalf("connections: %v, %v", found, err)
		}
		return found[0].State
	}
	later := time.Now().Add(24 * time.Hour)
	v.Vault.Now = func() time.Time { return later }
	if s := look(); s != auth.Active {
		t.Fatalf("a living key is %s", s)
	}
	v.API.Keys = nil
	if s := look(); s != auth.Active {
		t.Errorf("a key that was looked at just now is %s", s)
	}
	later = later.Add(24 * time.Hour)
	if s := look(); s != auth.NeedsReauth {
		t.Errorf("a dead key is %s", s)
	}
}

// What was used lately and ended while the machine slept is renewed before the next use, at the start and later; what
// nobody used for a day waits for its next use.
func TestRenewedAfterSleep(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	use(t, v, c)
	c.forward(10 * time.Hour)
	keep(t, v, 1)
	keep(t, v, 1)
	use(t, v, c)
	c.forward(10 * time.Hour)
	keep(t, v, 2)
	c.forward(25 * time.Hour)
	keep(t, v, 2)
}

// use asks for the credential and waits until that is noted in the store.
func use(t *testing.T, v *authtest.Vault, c *clock) {
	t.Helper()
	get(t, v)
	minute := c.Now().Truncate(time.Minute)
	for begin := time.Now(); time.Since(begin) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
		found, err := v.Connections.Connections(t.Context(), auth.Local, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 1 && !found[0].LastUsedAt.Before(minute) {
			return
		}
	}
	t.Fatal("the use is not noted")
}

// A sign-in that nobody uses is kept alive by a process that runs an hour now and then, in the last fifth of its time. What
// brings no more time is not tried again at once.
func TestUnusedSignInsAreKeptAlive(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	redefine(t, v, c, func(p *providers.Provider) { p.OAuth2.Refresh.IdleS = 30 * 24 * 3600 })
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	c.forward(20 * 24 * time.Hour)
	keep(t, v, 0)
	c.forward(5 * 24 * time.Hour)
	keep(t, v, 1)
	if left := only(t, v).RefreshExpiresAt.Sub(c.Now()); left < 29*24*time.Hour {
		t.Errorf("the sign-in ends in %v", left)
	}

	v, c = newClockedVault(t, authtest.Options{})
	end := c.Now().Add(30 * 24 * time.Hour)
	v.Server.FaultAlways("/token", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		authtest.With(map[string]any{"refresh_token_expires_in": int(end.Sub(c.Now()).Seconds())})(w, r, next)
	})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	c.forward(25 * 24 * time.Hour)
	for range 24 {
		c.forward(time.Hour)
		if err := v.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	keep(t, v, 1)
}

// keep runs the background work once and counts the renewals by then.
func keep(t *testing.T, v *authtest.Vault, want int) {
	t.Helper()
	if err := v.KeepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := v.Server.Stats().Refreshes; got != want {
		t.Errorf("renewed %d times by now, not %d", got, want)
	}
}

// A provider that is down, with more connections than are renewed at once, keeps nobody else's waiting: the sign-in that
// would be lost comes first.
func TestKeepingIsFair(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	row := only(t, v)
	v.Server.FaultAlways("/token", authtest.Busy(503, ""))
	c.forward(2 * time.Hour)
	now := c.Now()
	like := func(n int) auth.Connection {
		other := *row
		other.ID, other.Account = fmt.Sprint("other ", n), fmt.Sprint("account ", n)
		other.ExpiresAt, other.LastUsedAt, other.RefreshExpiresAt = now.Add(-time.Minute), now, time.Time{}
		return other
	}
	for n := range 60 {
		if err := v.DB.Import(t.Context(), like(n)); err != nil {
			t.Fatal(err)
		}
	}
	last := like(60)
	last.Bind, last.ExpiresAt, last.RefreshExpiresAt = "https://another.example", now.Add(30*time.Minute), now.Add(3*time.Minute)
	if err := v.DB.Import(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	for range 90 { // three minutes
		if err := v.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.forward(2 * time.Second)
	}
	found, err := v.DB.Connection(t.Context(), last.Owner, last.ID)
	if err != nil || found.Refresh.Fence == 0 {
		t.Errorf("it was never looked at: %+v, %v", found.Refresh, err)
	}
}

// One that rests, with more connections than are looked at for a batch, does not hide those of others either.
func TestRestingHidesNobody(t *testing.T) {
	all := users(5)
	v, c := newClockedVault(t, authtest.Options{Users: all})
	for _, u := range all {
		connectAs(t, v, u)
	}
	v.Server.FaultAlways("/token", authtest.Busy(503, ""))
	c.forward(2 * time.Hour)
	for _, u := range all {
		if err := getAs(t, v, u); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", u.Name, err)
		}
	}
	found, err := v.DB.Connections(t.Context(), auth.Local, "practice", "")
	if err != nil {
		t.Fatal(err)
	}
	like := func(id string, ends time.Duration) auth.Connection {
		other := found[0]
		other.ID, other.Account, other.State, other.Refresh = id, id, auth.Active, auth.RefreshState{}
		other.ExpiresAt, other.LastUsedAt = c.Now().Add(ends), c.Now()
		return other
	}
	for n := range 300 {
		if err := v.DB.Import(t.Context(), like(fmt.Sprint("resting ", n), -time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	last := like("last", 20*time.Second)
	last.Bind = "https://another.example"
	if err := v.DB.Import(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	keepOnce(t, v)
	now, err := v.DB.Connection(t.Context(), last.Owner, last.ID)
	if err != nil || now.Refresh.Fence == 0 {
		t.Errorf("it was not looked at: %+v, %v", now.Refresh, err)
	}
	resting, err := v.DB.Connection(t.Context(), last.Owner, "resting 0")
	if err != nil || resting.Refresh.Fence > 0 {
		t.Errorf("its provider does not rest: %+v, %v", resting.Refresh, err)
	}
}

// A process of the store that lacks a definition, because it was started without it, leaves the renewal to one that has it.
func TestRenewalWithoutDefinition(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	use(t, v, c)
	server := v.Vault
	v.Reopen()
	v.Vault.Now = c.Now
	var err error
	if v.Vault.Catalog, err = providers.Load("", providers.Options{}); err != nil {
		t.Fatal(err)
	}
	c.forward(2 * time.Hour)
	for range 3 {
		keepOnce(t, v)
	}
	wantState(t, v, auth.ProviderDown, "") // there, where nothing can be done with it
	v.Vault = server
	wantState(t, v, auth.Active, "")
	get(t, v)
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// polled is a store in which something happens between the taking of a poll and its end, as while a provider answers slowly.
type polled struct {
	auth.PendingStore
	meanwhile func()
}

func (p polled) DuePolls(ctx context.Context, now time.Time, hold time.Duration, limit int) ([]auth.Request, error) {
	due, err := p.PendingStore.DuePolls(ctx, now, hold, limit)
	if len(due) > 0 {
		p.meanwhile()
	}
	return due, err
}

// Of a provider that tells no lifetimes nobody knows whether an old token is good still. Once it is up again, its connection
// is renewed, and does not read down for as long as the API takes the old one.
func TestDownWithoutLifetime(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	v.Server.FaultAlways("/token", authtest.Without("expires_in"))
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	v.Server.Fault("/token", authtest.Busy(503, ""))
	v.API.Fault("/api/me", authtest.Unauthorized)
	if _, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("Call: %v", err)
	}
	wantState(t, v, auth.ProviderDown, "unavailable")
	v.Server.Forget()
	for range 3 {
		c.forward(10 * time.Minute)
		use(t, v, c)
		keepOnce(t, v)
		wantState(t, v, auth.Active, "")
	}
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// Of a sign-in that the person begins anew while the provider is asked about the one before: what they chose last stands, and
// the sign-in of the one before, if they completed it, is forgotten by the provider. That somebody else looks at its page loses nothing.
func TestPollOfTheOneBefore(t *testing.T) {
	for name, test := range map[string]struct {
		approved  bool
		meanwhile func(v *authtest.Vault, id string) (*auth.Step, error)
		again     bool // begun anew
	}{
		"begun anew, still pending": {false, func(v *authtest.Vault, id string) (*auth.Step, error) {
			return v.Visit(alices).Confirm(context.Background(), id, auth.Choice{Access: auth.Read})
		}, true},
		"begun anew, completed": {true, func(v *authtest.Vault, id string) (*auth.Step, error) {
			return v.Visit(alices).Confirm(context.Background(), id, auth.Choice{Access: auth.Read})
		}, true},
		"begun another way": {true, func(v *authtest.Vault, id string) (*auth.Step, error) {
			return v.Visit(alices).Confirm(context.Background(), id, auth.Choice{Access: auth.Read, Method: auth.MethodOAuthCode})
		}, true},
		"looked at by a stranger": {true, func(v *authtest.Vault, id string) (*auth.Step, error) {
			_, err := v.Visit(auth.Visitor{Browser: browserKey("another browser")}).Open(context.Background(), id)
			if !errors.Is(err, auth.ErrNotYours) {
				return nil, fmt.Errorf("a stranger opens it: %w", err)
			}
			return nil, nil
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			v, c := newClockedVault(t, authtest.Options{})
			link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode})
			step, err := v.Visit(alices).Confirm(t.Context(), link.RequestID, auth.Choice{Access: auth.Write})
			if err != nil {
				t.Fatal(err)
			}
			if test.approved {
				if err := v.Server.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
					t.Fatal(err)
				}
			}
			c.forward(10 * time.Second)
			v.Vault.Pending = polled{v.DB, func() {
				if step, err = test.meanwhile(v, link.RequestID); err != nil {
					t.Fatal(err)
				}
			}}
			keepOnce(t, v)
			v.Vault.Pending = v.DB
			if !test.again {
				if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
					t.Errorf("%+v", s)
				}
				return
			}
			r, err := v.DB.Request(t.Context(), link.RequestID)
			if err != nil || r.Access != auth.Read || r.UserCode != step.UserCode || r.State != auth.Redirected {
				t.Fatalf("%s, %s with code %q; the person chose read and sees %q (%v)", r.State, r.Access, r.UserCode, step.UserCode, err)
			}
			keepOnce(t, v)
			if n := len(revokedTokens(v)); test.approved != (n > 0) {
				t.Errorf("%d tokens of the one before were revoked", n)
			}
			if step.UserCode == "" {
				back, err := v.Server.Approve(t.Context(), step.Redirect, "alice")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := v.Visit(alices).Callback(t.Context(), "practice", query(t, back)); err != nil {
					t.Errorf("the callback: %v", err)
				}
			} else if err := v.Server.ApproveDevice(t.Context(), step.UserCode, "alice"); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				c.forward(time.Minute)
				keepOnce(t, v)
			}
			if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
				t.Errorf("%+v", s)
			}
			grants, err := v.DB.Grants(t.Context(), auth.Local, "", "", c.Now())
			if err != nil || len(grants) != 1 || grants[0].Access != auth.Read {
				t.Errorf("%v, %v", grants, err)
			}
		})
	}
}

// A process that ends while it asks keeps the sign-in that the person completed: the code is spent by then.
func TestPollAtTheEnd(t *testing.T) {
	v, c := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice", Method: auth.MethodDeviceCode})
	enterCode(t, v, link)
	c.forward(10 * time.Second)
	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("POST /token", fault)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.KeepOnce(ctx) }()
	<-pause.Reached
	stop() // SIGTERM
	close(pause.Release)
	<-done
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected {
		t.Errorf("%+v", s)
	}
}
