package main

import (
	"context"
	"fmt"

	"github.com/latchpost/latchpost/auth"
)

// explain says what would happen to a call, and which rule or grant decides. It
// sends nothing and asks nobody.
func explain(ctx context.Context, s *settings, args []string) error {
	if len(args) != 4 {
		return usagef("explain takes a client, a provider, a method and a URL (or a path)")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	call := auth.Call{Provider: args[1], Account: s.account, Method: args[2]}
	if args[3] != "" && args[3][0] == '/' {
		call.Path = args[3]
	} else {
		call.URL = args[3]
	}
	verdict, err := h.vault.Explain(ctx, auth.Caller{Owner: auth.Local, Client: args[0]}, call)
	if err != nil {
		return err
	}
	switch {
	case verdict.Allow:
		fmt.Fprintf(s.out, "allowed by rule %s %s\n", verdict.Rule, verdict.Grant)
	case verdict.Ask:
		fmt.Fprintf(s.out, "asks the owner: rule %s\n", verdict.Rule)
	default:
		fmt.Fprintf(s.out, "refused by rule %s\n", verdict.Rule)
	}
	return nil
}
