package egress_test

import (
	"context"
	"fmt"
	"log"

	"github.com/latchpost/latchpost/auth/egress"
)

func ExampleParse() {
	for _, raw := range []string{"HTTPS://API.GitHub.com./%72epos", "https://api.github.com@evil.example/", "https://0x7f.1/"} {
		target, err := egress.Parse(raw, egress.ParseOptions{})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(target, target.MatchHost([]string{"api.github.com"}))
	}
	// Output:
	// https://api.github.com/repos true
	// url refused: user info is not allowed
	// url refused: IP addresses are not allowed
}

func ExampleClient_Do() {
	target, err := egress.Parse("https://api.example.com/v1/me", egress.ParseOptions{})
	if err != nil {
		log.Fatal(err)
	}
	res, err := egress.New(egress.Options{}).Do(context.Background(), egress.Request{Method: "GET", Target: target, Truncate: true})
	if err != nil {
		log.Fatalf("%v (outcome unknown: %v)", err, egress.Sent(err))
	}
	fmt.Println(res.Status, len(res.Body), res.Truncated)
}

func ExampleRedactor() {
	r := egress.NewRedactor([]byte("gho_s3cr3t/t0ken"))
	fmt.Println(r.RedactString(`{"auth":"Bearer gho_s3cr3t\/t0ken","next":"?t=gho_s3cr3t%2Ft0ken"}`))
	// Output: {"auth":"Bearer [redacted]","next":"?t=[redacted]"}
}
