package mcp

import (
	"context"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// fake is a Broker for what depends on the broker's answer alone. A nil func answers with nothing.
type fake struct {
	mu       sync.Mutex
	calls    []auth.Call
	callers  []auth.Caller
	wishes   []auth.Wish
	revoked  []auth.Unwanted
	request  func(auth.Caller, auth.Wish) (*auth.Info, error)
	wait     func(ctx context.Context, id string, d time.Duration, progress func(auth.Status)) (*auth.Status, error)
	get      func(auth.Need) (*auth.Handle, error)
	call     func(context.Context, auth.Caller, auth.Call) (*auth.Response, error)
	thinks   time.Duration // how long person takes; the TypeScript SDKs lose progress that comes in one piece with the answer
	provides []auth.ProviderInfo
	limit    int // of the last list of them
	has      []auth.Info
}

func (f *fake) note(c auth.Caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers = append(f.callers, c)
}

func (f *fake) lastCaller() auth.Caller {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.callers) == 0 {
		return auth.Caller{}
	}
	return f.callers[len(f.callers)-1]
}

func (f *fake) Providers(_ context.Context, c auth.Caller, _, _ string, limit int) ([]auth.ProviderInfo, error) {
	f.note(c)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = limit
	return f.provides, nil
}

func (f *fake) Request(_ context.Context, c auth.Caller, w auth.Wish) (*auth.Info, error) {
	f.note(c)
	f.mu.Lock()
	f.wishes = append(f.wishes, w)
	f.mu.Unlock()
	if f.request == nil {
		return &auth.Info{Provider: w.Provider, Account: "ada", State: auth.Active}, nil
	}
	return f.request(c, w)
}

func (f *fake) Wait(ctx context.Context, c auth.Caller, id string, d time.Duration, progress func(auth.Status)) (*auth.Status, error) {
	f.note(c)
	if f.wait == nil {
		return &auth.Status{RequestID: id, Status: auth.StatusPending}, nil
	}
	return f.wait(ctx, id, d, progress)
}

func (f *fake) Get(_ context.Context, c auth.Caller, n auth.Need) (*auth.Handle, error) {
	f.note(c)
	if f.get == nil {
		return &auth.Handle{Info: auth.Info{Provider: n.Provider, Account: "ada", State: auth.Active}, Handle: "latchpost:" + n.Provider + "/ada"}, nil
	}
	return f.get(n)
}

func (f *fake) Call(ctx context.Context, c auth.Caller, call auth.Call) (*auth.Response, error) {
	f.note(c)
	f.mu.Lock()
	f.calls = append(f.calls, call)
	f.mu.Unlock()
	if f.call == nil {
		return &auth.Response{Status: 200, Text: true, Body: []byte("hello"), ContentType: "text/plain"}, nil
	}
	return f.call(ctx, c, call)
}

func (f *fake) List(_ context.Context, c auth.Caller, _ string) ([]auth.Info, error) {
	f.note(c)
	return f.has, nil
}

func (f *fake) Revoke(_ context.Context, c auth.Caller, u auth.Unwanted) (*auth.Ended, error) {
	f.note(c)
	f.mu.Lock()
	f.revoked = append(f.revoked, u)
	f.mu.Unlock()
	return &auth.Ended{Connections: []auth.EndedConnection{{Provider: u.Provider, Account: "ada", AtProvider: auth.AtProviderRevoked}}}, nil
}

// link is a sign-in that waits for the user.
func link(provider string) *auth.AuthRequired {
	return &auth.AuthRequired{
		RequestID: "REQ" + provider, ProviderID: provider, ProviderName: "Practice", Method: auth.MethodOAuthCode, Reason: auth.NotConnected,
		Scopes: []string{"read"}, URL: "http://127.0.0.1:7823/c/REQ" + provider, MatchCode: "BLUE-42",
		ExpiresAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), PollAfter: 2 * time.Second,
		Message: "The user has to sign in. Show the link and the code BLUE-42.",
	}
}
