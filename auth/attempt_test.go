package auth_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// B1, A2: of a sign-in that the person began anew, the answer to the attempt before is worth nothing, and does not cost them
// the one that they are at.
func TestAnswerToTheAttemptBefore(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	before := signIn(t, v, link.RequestID, alices, "bob", auth.Choice{Access: auth.Write})
	now := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{Access: auth.Read})
	_, err := v.Visit(alices).Callback(t.Context(), "practice", before)
	wantErr(t, "the answer before", err, auth.ErrInvalid)
	mixed := maps.Clone(now)
	mixed.Set("state", before.Get("state"))
	_, err = v.Visit(alices).Callback(t.Context(), "practice", mixed)
	wantErr(t, "the code of one with the state of the other", err, auth.ErrInvalid)
	if asked(v) != 0 {
		t.Error("a code was sent")
	}
	if _, err := v.Visit(alices).Callback(t.Context(), "practice", now); err != nil {
		t.Fatal(err)
	}
	if c := only(t, v); c.Account != "alice@example.com" {
		t.Errorf("connected as %s", c.Account)
	}
	askOwner(t, v, agent, post("/echo", "x"), auth.RuleReadOnly)
}

// A browser that leaves while the provider redeems the code does not take the sign-in along.
func TestBrowserLeavesTheCallback(t *testing.T) {
	v, _ := newClockedVault(t, authtest.Options{})
	link := ask(t, v, agent, auth.Wish{Provider: "practice"})
	q := signIn(t, v, link.RequestID, alices, "alice", auth.Choice{})
	fault, pause := authtest.PauseAt(authtest.Committed)
	v.Server.Fault("/token", fault)
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-pause.Reached
		leave()
		close(pause.Release)
	}()
	if _, err := v.Visit(alices).Callback(ctx, "practice", q); err != nil {
		t.Errorf("the callback: %v", err)
	}
	if s := status(t, v, agent, link.RequestID); s.Status != auth.StatusConnected || asked(v) != 1 {
		t.Errorf("%+v after %d token requests", s, asked(v))
	}
}

// Of many clients whose requests the person finishes at once with one account, none loses its sign-in to the others, and the
// provider is told to forget nothing: it might forget the account.
func TestManyFinishAtOnce(t *testing.T) {
	const many = 12
	v, c := newClockedVault(t, authtest.Options{})
	var links []*auth.AuthRequired
	var answers []url.Values
	for i := range many {
		client := auth.Caller{Owner: auth.Local, Client: fmt.Sprint("client ", i)}
		links = append(links, ask(t, v, client, auth.Wish{Provider: "practice"}))
		answers = append(answers, signIn(t, v, links[i].RequestID, alices, "alice", auth.Choice{}))
	}
	var all sync.WaitGroup
	for _, q := range answers {
		all.Go(func() {
			if _, err := v.Visit(alices).Callback(t.Context(), "practice", q); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	keepOnce(t, v)
	grants, err := v.DB.Grants(t.Context(), auth.Local, "", "", c.Now())
	if row := only(t, v); err != nil || len(grants) != many || row.Version != many || len(revokedTokens(v)) > 0 {
		t.Errorf("%d grants at generation %d, %d tokens revoked, %v", len(grants), row.Version, len(revokedTokens(v)), err)
	}
}
