package auth_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// gate stops the first who reads a connection's row.
type gate struct {
	auth.ConnectionStore
	once          sync.Once
	reached, open chan struct{}
}

func (g *gate) Connection(ctx context.Context, o auth.Owner, id string) (*auth.Connection, error) {
	g.once.Do(func() {
		close(g.reached)
		<-g.open
	})
	return g.ConnectionStore.Connection(ctx, o, id)
}

// RF-001: a call whose new token the API refuses comes while somebody who has only seen the token before it is looking for a
// newer one. What that one finds is the refused token, so the call has it renewed, and does not take the sign-in for dead.
func TestRefusedWhileAnotherLooks(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	other, db, err := siteOf(v).open(t.Context(), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	c.forward(2 * time.Hour)
	v.Grants = &distracted{GrantStore: v.Grants, before: func() {
		if _, err := other.Get(t.Context(), agent, practiceNeed); err != nil {
			t.Error(err)
		}
	}}
	held := &gate{ConnectionStore: v.Connections, reached: make(chan struct{}), open: make(chan struct{})}
	v.Connections = held
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := v.Get(t.Context(), agent, practiceNeed); err != nil {
			t.Errorf("Get: %v", err)
		}
	})
	<-held.reached
	v.API.Fault("/api/me", authtest.Unauthorized)
	both.Go(func() {
		if resp, err := v.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); err != nil || resp.Status != http.StatusOK {
			t.Errorf("Call: %+v, %v", resp, err)
		}
	})
	for len(v.API.Requests("/api/me")) == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // the refused call waits with the other one now
	close(held.open)
	both.Wait()
	wantState(t, v, auth.Active, "")
	if n := asked(v); n != 2 {
		t.Errorf("%d token requests", n)
	}
}

// RF-003, RF-017: the answer that a process left which died long ago is taken in, for its refresh token; its access token
// has ended meanwhile and is handed out to nobody.
func TestRefreshAnswerOfLongAgo(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	start(t, "refresh", refreshConfig{Site: siteOf(v), Ahead: 2 * time.Hour, Step: "after keep"}).died(t)
	c.forward(7 * time.Hour)
	if h, err := v.Get(t.Context(), agent, practiceNeed); err != nil || !live(v.Server, h.Released.Value) {
		t.Errorf("a token that is dead was handed out, or none: %v", err)
	}
	wantState(t, v, auth.Active, "")
	if stats := v.Server.Stats(); asked(v) != 2 || stats.InvalidGrant != 0 {
		t.Errorf("%d token requests, %+v", asked(v), stats)
	}
}

// RF-003: a refusal that a dead process left behind is the provider's answer like any other, and no lost rotation.
func TestRefreshRefusalLeftBehind(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	v.Server.RevokeUser("alice")
	start(t, "refresh", refreshConfig{Site: siteOf(v), Ahead: 2 * time.Hour, Step: "after keep"}).died(t)
	c.forward(2 * time.Hour)
	_, err := v.Get(t.Context(), agent, practiceNeed)
	wantLink(t, err, auth.ReasonReauth)
	wantState(t, v, auth.NeedsReauth, "invalid_grant")
	if n := asked(v); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// slow is a connector whose provider answers when the time of the renewal is over.
type slow struct {
	auth.Connector
	auth.Refresher
}

func (s slow) Refresh(ctx context.Context, f *auth.Flow, old *auth.Credential) ([]byte, error) {
	answer, err := s.Refresher.Refresh(ctx, f, old)
	<-ctx.Done()
	return answer, err
}

// RF-003: an answer that comes in the last moment of a renewal is stored all the same: the provider has rotated.
func TestRefreshAnswerInTheLastMoment(t *testing.T) {
	v, c := connected(t, authtest.Options{})
	v.ShortenFlights(500 * time.Millisecond)
	v.Connectors[0] = slow{v.Connectors[0], v.Connectors[0].(auth.Refresher)}
	c.forward(2 * time.Hour)
	get(t, v)
	wantState(t, v, auth.Active, "")
	if stats := v.Server.Stats(); stats.Refreshes != 1 || stats.InvalidGrant != 0 {
		t.Errorf("%+v", stats)
	}
}
