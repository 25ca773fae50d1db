package authtest

import (
	"context"
	"net/url"
	"path/filepath"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/providers"
	"github.com/latchpost/latchpost/store"
)

// Testing is what a Vault needs of *testing.T.
type Testing interface {
	Helper()
	TempDir() string
	Cleanup(func())
	Fatal(...any)
	Context() context.Context
}

// Vault is a whole vault on a real SQLite file, with a practice provider that signs
// people in and an API that takes its tokens.
type Vault struct {
	*auth.Vault
	Server *Server
	API    *API
	DB     *store.DB
	Audit  *store.Log
	Box    *seal.Box
	Dir    string // data directory; the key lies in Dir-key
	t      Testing
}

// NewVault opens a vault in a temporary directory, with "practice" as its provider
// and the public client registered as its OAuth app.
func NewVault(t Testing, options Options) *Vault {
	t.Helper()
	v := &Vault{Server: NewServer(options), Dir: filepath.Join(t.TempDir(), "data"), t: t}
	t.Cleanup(v.Server.Close)
	v.API = NewAPI(v.Server)
	t.Cleanup(v.API.Close)
	v.Reopen()
	if err := v.Vault.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	return v
}

// Reopen replaces the inner vault by another one on the same store, as a second process would.
func (v *Vault) Reopen() {
	v.t.Helper()
	ctx := v.t.Context()
	catalog, err := providers.Load("", providers.Options{Loopback: true, Defaults: map[string]map[string]string{
		"practice": {"port": portOf(v.Server.URL), "api_port": portOf(v.API.URL)},
	}})
	v.must(err)
	v.DB, err = store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(v.Dir, "latchpost.db"), Dir: v.Dir, Ballast: -1})
	v.must(err)
	db := v.DB // Reopen and tests put another one in its place
	v.t.Cleanup(func() { _ = db.Close() })
	key := "file:" + filepath.Join(v.Dir+"-key", "master.key")
	kek, err := seal.OpenKEK(ctx, key)
	if err != nil {
		kek, err = seal.CreateKEK(ctx, key)
	}
	v.must(err)
	v.Box, err = seal.NewBox(ctx, kek, v.DB)
	v.must(err)
	v.Audit = v.DB.AuditLog(v.Box.MAC("audit"))
	out := egress.New(egress.Options{Loopback: true})
	oauth := &auth.OAuth{Out: out, Loopback: true}
	v.Vault = &auth.Vault{
		Catalog: catalog, Box: v.Box, Out: out, Loopback: true,
		Connectors: []auth.Connector{
			&auth.OAuthCode{OAuth: oauth}, &auth.DeviceCode{OAuth: oauth}, &auth.ClientCredentials{OAuth: oauth},
			&auth.APIKey{Out: out, Loopback: true},
		},
		Connections: v.DB, Refreshes: v.DB, Requests: v.DB, Pending: v.DB, Apps: v.DB,
		Grants: v.DB, Approvals: v.DB, Revocations: v.DB, Audit: v.Audit,
		BaseURL: func() string { return "http://127.0.0.1:7823" },
	}
}

func (v *Vault) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func portOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Port()
}
