package identity_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/identity"
	"github.com/latchpost/latchpost/store"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "latchpost")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Ballast: -1})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	audit := db.AuditLog(mac)
	who := &identity.Identity{
		BaseURL:  func() string { return "https://latchpost.example" },
		Sessions: db, MAC: mac, Audit: audit,
		Tokens: &identity.Tokens{Store: tokenStore{db}, Audit: audit},
	}
	token, _, err := who.Tokens.Create(ctx, auth.Owner{User: "ada"}, "laptop-agent", []string{"latchpost:use"}, time.Now().Add(time.Hour))
	if err != nil {
		log.Fatal(err)
	}
	r, _ := http.NewRequest("POST", "https://latchpost.example/mcp", nil)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	caller, err := who.Caller(r)
	fmt.Println(caller.Owner, caller.Client, caller.Scopes, err)
	// Output: ada laptop-agent [latchpost:use] <nil>
}
