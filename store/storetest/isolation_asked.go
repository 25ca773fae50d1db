package storetest

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// asked is what a model says of the questions that one owner has, and of the tokens of the owner's agents.
type asked struct {
	requests  map[string]auth.RequestState
	approvals map[string]auth.ApprovalState
	tokens    map[string]bool // by hash
}

// askedSteps are the steps of testIsolation that ask, answer and hand out, each for somebody by an id of anybody's.
func askedSteps(ctx context.Context, db *store.DB, who *rapid.Generator[*tenant], someID func(*rapid.T, func(*tenant) []string) string, expect func(*rapid.T, error, error)) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"ask": func(t *rapid.T) {
			x := who.Draw(t, "who")
			r := NewRequest(x.owner, rand.Text())
			_, err := db.CreateRequest(ctx, r, 1000)
			expect(t, err, nil)
			x.asked.requests[r.ID] = auth.Created
		},
		"decline": func(t *rapid.T) {
			x, r := who.Draw(t, "who"), NewRequest(auth.Owner{}, "p")
			r.Owner, r.ID, r.State = x.owner, someID(t, func(x *tenant) []string { return keys(x.asked.requests) }), auth.Declined
			switch err := db.MoveRequest(ctx, r, auth.Created); x.asked.requests[r.ID] {
			case "":
				expect(t, err, auth.ErrNotFound)
			case auth.Created:
				expect(t, err, nil)
				x.asked.requests[r.ID] = auth.Declined
			default:
				expect(t, err, auth.ErrConflict)
			}
		},
		"ask the owner": func(t *rapid.T) {
			x := who.Draw(t, "who")
			a := &auth.Approval{
				ID: rand.Text(), Owner: x.owner, Client: "agent", Connection: "c", Provider: "p", Kind: auth.Use, Digest: []byte(rand.Text()),
				State: auth.Waiting, CreatedAt: Now, ExpiresAt: Now.Add(time.Hour),
			}
			_, err := db.AddApproval(ctx, a, 1000)
			expect(t, err, nil)
			x.asked.approvals[a.ID] = auth.Waiting
		},
		"decide": func(t *rapid.T) {
			x, id := who.Draw(t, "who"), someID(t, func(x *tenant) []string { return keys(x.asked.approvals) })
			switch err := db.Decide(ctx, x.owner, id, auth.Refused, false, nil, Now); x.asked.approvals[id] {
			case "":
				expect(t, err, auth.ErrNotFound)
			case auth.Waiting:
				expect(t, err, nil)
				x.asked.approvals[id] = auth.Refused
			default:
				expect(t, err, auth.ErrUsed)
			}
		},
		"token": func(t *rapid.T) {
			x, hash := who.Draw(t, "who"), rand.Text()
			expect(t, db.AddToken(ctx, []byte(hash), x.owner, "agent", nil, time.Time{}), nil)
			x.asked.tokens[hash] = true
		},
		"end token": func(t *rapid.T) {
			x, hash := who.Draw(t, "who"), someID(t, func(x *tenant) []string { return keys(x.asked.tokens) })
			err := db.DeleteToken(ctx, x.owner, []byte(hash))
			if !x.asked.tokens[hash] {
				expect(t, err, auth.ErrNotFound)
				return
			}
			expect(t, err, nil)
			delete(x.asked.tokens, hash)
		},
	}
}

func keys[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }

// checkAsked compares the questions and tokens that a tenant can read with the model.
func (x *tenant) checkAsked(ctx context.Context, t *rapid.T, db *store.DB) {
	same := func(what string, got []string, model map[string]bool) {
		want := keys(model)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s has %s %v, the model %v", x.owner, what, got, want)
		}
	}
	open, err := db.OpenRequests(ctx, x.owner)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range open {
		got = append(got, r.ID)
	}
	want := map[string]bool{}
	for id, state := range x.asked.requests {
		if state == auth.Created {
			want[id] = true
		}
	}
	same("requests", got, want)
	waiting, err := db.Approvals(ctx, x.owner, auth.Waiting, Now)
	if err != nil {
		t.Fatal(err)
	}
	got, want = nil, map[string]bool{}
	for _, a := range waiting {
		got = append(got, a.ID)
	}
	for id, state := range x.asked.approvals {
		if state == auth.Waiting {
			want[id] = true
		}
	}
	same("approvals", got, want)
	tokens, err := db.ListTokens(ctx, x.owner)
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, token := range tokens {
		got = append(got, string(token.Hash))
	}
	same("tokens", got, x.asked.tokens)
}
