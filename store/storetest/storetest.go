// Package storetest is what every database under package store has to pass. Run
// takes a func that opens one store, again and again, as so many processes would;
// each test has owners of its own there. Postgres starts a real PostgreSQL server
// for tests, and Seed fills a store for benchmarks.
package storetest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// Run tests one store. Each call of open opens it once more; the store is closed
// when t ends.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	t.Run("Connections", func(t *testing.T) { testConnections(t, open(t)) })
	t.Run("Refresh", func(t *testing.T) { testRefresh(t, open) })
	t.Run("Requests", func(t *testing.T) { testRequests(t, open(t)) })
	t.Run("Pending", func(t *testing.T) { testPending(t, open(t)) })
	t.Run("Grants", func(t *testing.T) { testGrants(t, open(t)) })
	t.Run("Approvals", func(t *testing.T) { testApprovals(t, open(t)) })
	t.Run("Apps", func(t *testing.T) { testApps(t, open(t)) })
	t.Run("Revocations", func(t *testing.T) { testRevocations(t, open(t)) })
	t.Run("Audit", func(t *testing.T) { testAudit(t, open) })
	t.Run("Keys", func(t *testing.T) { testKeys(t, open(t)) })
	t.Run("Small", func(t *testing.T) { testSmall(t, open) })
	t.Run("Isolation", func(t *testing.T) { testIsolation(t, open(t)) })
	t.Run("Injection", func(t *testing.T) { testInjection(t, open(t)) })
}

// Now is the time that tests begin at, as a store gives times back.
var Now = time.UnixMilli(time.Now().UnixMilli()).UTC()

// MAC keys audit logs in tests.
func MAC(b []byte) []byte {
	h := hmac.New(sha256.New, []byte("a key for tests"))
	h.Write(b)
	return h.Sum(nil)
}

// NewOwner is somebody nobody else is.
func NewOwner() auth.Owner { return auth.Owner{Org: "acme", User: rand.Text()} }

// NewConnection is a healthy first generation for o.
func NewConnection(o auth.Owner, provider, account string) *auth.Connection {
	return &auth.Connection{
		ID: rand.Text(), Owner: o, Provider: provider, Account: account, AccountID: "id-" + account, Method: auth.MethodOAuthCode, State: auth.Active,
		Scopes: []string{"repo", "user"}, Hosts: []string{"api.example.com"}, Vars: map[string]string{"tenant": "x"}, Bind: "https://example.com/token",
		Salt: []byte("salt of " + account), Sealed: []byte("sealed of " + account), Version: 1,
		ExpiresAt: Now.Add(time.Hour), RefreshExpiresAt: Now.Add(24 * time.Hour), IssuedAt: Now, CreatedAt: Now, UpdatedAt: Now,
	}
}

// NewRequest is a wish of o that was made just now.
func NewRequest(o auth.Owner, provider string) *auth.Request {
	return &auth.Request{
		ID: rand.Text(), Owner: o, Client: "agent", Provider: provider, Method: auth.MethodOAuthCode, Scopes: []string{"repo"},
		Reason: auth.NotConnected, MatchCode: "BLUE-42", State: auth.Created, CreatedAt: Now, UpdatedAt: Now, ExpiresAt: Now.Add(10 * time.Minute),
	}
}

// Connect stores c the way a sign-in does.
func Connect(t testing.TB, db *store.DB, c *auth.Connection, grants ...auth.Grant) {
	t.Helper()
	r := NewRequest(c.Owner, c.Provider)
	r.Account = rand.Text() // equal to no other
	_, err := db.CreateRequest(t.Context(), r, 1000)
	must(t, err)
	must(t, db.CompleteRequest(t.Context(), r, c, grants))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t testing.TB, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("got error %v, want %v", err, is)
	}
}

func equal[T any](t testing.TB, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}
