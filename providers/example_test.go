package providers_test

import (
	"errors"
	"fmt"

	"github.com/latchpost/latchpost/providers"
)

func Example() {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	gitlab, err := catalog.Get("gitlab")
	if err != nil {
		fmt.Println(err)
		return
	}
	mine, err := gitlab.Resolve(map[string]string{"host": "git.acme.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mine.Methods(), mine.OAuth2.Token.URL)
	// Output: [oauth_code device_code] https://git.acme.com/oauth/token
}

func ExampleCatalog_Get() {
	catalog, err := providers.Load("", providers.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = catalog.Get("githuh")
	var unknown *providers.UnknownError
	fmt.Println(errors.As(err, &unknown), err)
	// Output: true no provider "githuh"; did you mean github?
}

func ExampleWellKnown() {
	urls, err := providers.WellKnown("https://login.acme.com/realms/main")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, u := range urls {
		fmt.Println(u)
	}
	// Output:
	// https://login.acme.com/.well-known/oauth-authorization-server/realms/main
	// https://login.acme.com/realms/main/.well-known/openid-configuration
}

func ExampleHostMatches() {
	fmt.Println(providers.HostMatches("*.googleapis.com", "gmail.googleapis.com"))
	fmt.Println(providers.HostMatches("*.googleapis.com", "gmail.googleapis.com.evil.example"))
	// Output:
	// true
	// false
}
