package seal_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchpost/latchpost/auth/seal"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	url := "file:" + filepath.Join(dir, "keys", "master.key")
	kek, err := seal.OpenKEK(ctx, url)
	if errors.Is(err, seal.ErrNoKey) { // and the store is empty: this is the first run
		kek, err = seal.CreateKEK(ctx, url)
	}
	if err != nil {
		log.Fatal(err)
	}
	box, err := seal.NewBox(ctx, kek, &table{}) // the table is package store's
	if err != nil {
		log.Fatal(err)
	}

	ada := seal.Place{Table: "connections", User: "ada", Record: "c1", Field: "access_token", Version: 1, Salt: seal.NewSalt()}
	sealed, err := box.Seal(ada, []byte("a token"))
	if err != nil {
		log.Fatal(err)
	}
	token, err := box.Open(ada, sealed)
	fmt.Printf("%s, %v\n", token, err)

	bob := ada
	bob.User = "bob"
	_, err = box.Open(bob, sealed)
	fmt.Println(err)
	// Output:
	// a token, <nil>
	// sealed value was changed or is in the wrong place
}
