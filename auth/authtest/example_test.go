package authtest_test

import (
	"context"
	"fmt"

	"golang.org/x/oauth2"

	"github.com/latchpost/latchpost/auth/authtest"
)

// A sign-in whose first refresh is answered by a proxy that is out of order.
func Example() {
	ctx := context.Background()
	srv := authtest.NewServer(authtest.Options{})
	defer srv.Close()
	app := oauth2.Config{
		ClientID: "public", RedirectURL: "http://127.0.0.1:8888/callback",
		Endpoint: oauth2.Endpoint{AuthURL: srv.URL + "/authorize", TokenURL: srv.URL + "/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	verifier := oauth2.GenerateVerifier()
	callback, err := srv.Approve(ctx, app.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)), "alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := app.Exchange(ctx, codeOf(callback), oauth2.VerifierOption(verifier))
	if err != nil {
		fmt.Println(err)
		return
	}

	srv.Fault("/token", authtest.LoginPage(503))
	for range 2 {
		_, err := app.TokenSource(ctx, &oauth2.Token{RefreshToken: token.RefreshToken}).Token()
		fmt.Println("refreshed:", err == nil)
	}
	fmt.Println("requests:", len(srv.Requests("/token")), "refreshes:", srv.Stats().Refreshes)
	// Output:
	// refreshed: false
	// refreshed: true
	// requests: 3 refreshes: 1
}
