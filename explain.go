package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

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
	if strings.HasPrefix(args[3], "/") {
		call.Path = args[3]
	} else {
		call.URL = args[3]
	}
	x, err := h.vault.Explain(ctx, auth.Caller{Owner: s.owner(), Client: args[0]}, call)
	if err != nil {
		return h.unknown(args[1], h.elsewhere(ctx, err))
	}
	writeExplanation(s.out, x)
	return nil
}

func writeExplanation(w io.Writer, x *auth.Explanation) {
	does := map[bool]string{true: "reads", false: "writes"}[x.Reads]
	fmt.Fprintf(w, "%s %s as %s, which %s.\n", x.Method, x.URL, x.Account, does)
	switch {
	case x.Allow:
		fmt.Fprintf(w, "Allowed by rule %s: %s\n", x.Rule, limitsOf(x.Grant))
	case x.Ask:
		fmt.Fprintf(w, "The owner is asked first, by rule %s: %s.\n", x.Rule, why[x.Rule])
	default:
		fmt.Fprintf(w, "Refused by rule %s: %s.\n", x.Rule, why[x.Rule])
	}
	if x.Rule == auth.RuleHost {
		fmt.Fprintf(w, "Its credential goes to %s.\n", strings.Join(x.Hosts, ", "))
	}
	if x.State != auth.Active {
		fmt.Fprintf(w, "The connection itself is %s.\n", x.State)
	}
}

// why says a rule in words.
var why = map[string]string{
	auth.RuleNoGrant:  "this client was never let in",
	auth.RuleReadOnly: "its grant covers reading only",
	auth.RuleScope:    "its grants name other methods, paths or hosts",
	auth.RuleHost:     "the host is not one of the connection's, and nobody can allow it",
	auth.RuleDenyPath: "its answer would show the credential in a form that cannot be removed, and nobody can allow it",
}

// limitsOf says what a grant covers.
func limitsOf(g *auth.Grant) string {
	until := "until it is taken back"
	if !g.Until.IsZero() {
		until = "until " + stamp(g.Until)
	}
	part := func(some []string, all string) string { return cmp.Or(strings.Join(some, ", "), all) }
	return fmt.Sprintf("grant %s (%s) lets it %s by %s, %s, on %s, %s.", g.ID, g.Origin, g.Access,
		part(g.Methods, "every method"), part(g.Paths, "every path"), part(g.Hosts, "every host of the connection"), until)
}
