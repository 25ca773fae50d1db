package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/identity"
	"github.com/latchpost/latchpost/mcp"
	"github.com/latchpost/latchpost/store"
)

// tokenSettings are the flags of commands that name an owner.
type tokenSettings struct {
	org, user, client string
	all               bool // owners
	life              time.Duration
}

func userFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.token.user, "user", auth.Local.User, "`name` of the owner")
	fs.StringVar(&s.token.org, "org", "", "`name` of the owner's org (default none)")
}

// everybodyFlags are for listings.
func everybodyFlags(fs *flag.FlagSet, s *settings) {
	userFlags(fs, s)
	fs.BoolVar(&s.token.all, "all-owners", false, "list what all owners have, not the one of --user and --org")
}

func ownerFlags(fs *flag.FlagSet, s *settings) {
	userFlags(fs, s)
	doorFlags(fs, s)
}

// doorFlags are for commands that print links to pages which another process serves.
func doorFlags(fs *flag.FlagSet, s *settings) {
	fs.StringVar(&s.listen, "listen", defaultListen, "`address` on which latchpost serves")
	fs.StringVar(&s.baseURL, "base-url", "", "`url` under which people reach it (default http:// and the address)")
}

func tokenFlags(fs *flag.FlagSet, s *settings) {
	everybodyFlags(fs, s)
	doorFlags(fs, s)
	fs.StringVar(&s.token.client, "client", "", "`name` of the agent that gets the token")
	fs.StringVar(&s.scopes, "scopes", "", "`scopes` with commas: latchpost:connect, latchpost:use, latchpost:release, latchpost:revoke (default all)")
	fs.DurationVar(&s.token.life, "life", 90*24*time.Hour, "`time` after which the token ends, such as 720h; 0 is never")
	jsonFlag(fs, s)
}

func (s *settings) owner() auth.Owner { return auth.Owner{Org: s.token.org, User: s.token.user} }

// token keeps the bearer tokens of agents that have no issuer. Only hashes are stored.
func token(ctx context.Context, s *settings, args []string) error {
	if len(args) == 0 || args[0] != "revoke" && len(args) > 1 || args[0] == "revoke" && len(args) != 2 {
		return usagef("token takes create, list or revoke ID")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	switch args[0] {
	case "create":
		return h.createToken(ctx)
	case "list":
		return h.listTokens(ctx)
	case "revoke":
		return h.revokeToken(ctx, args[1])
	}
	return usagef("token takes create, list or revoke ID")
}

func (h *house) createToken(ctx context.Context) error {
	s := h.settings
	if s.token.client == "" {
		return usagef("token create needs --client, the name of the agent that gets it")
	}
	var scopes []string
	if s.scopes != "" {
		scopes = strings.Split(s.scopes, ",")
	}
	for _, scope := range scopes {
		if !slices.Contains(mcp.Scopes, scope) {
			return usagef("there is no scope %q; choose from %s", scope, strings.Join(mcp.Scopes, ", "))
		}
	}
	if s.token.life < 0 {
		return usagef("--life must be a time from now on, such as 720h, or 0 for never")
	}
	var ends time.Time
	if s.token.life > 0 {
		ends = time.Now().Add(s.token.life)
	}
	created, id, err := h.identity.Tokens.Create(ctx, s.owner(), s.token.client, scopes, ends)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "Token %s of %s for %s. It is shown this once:\n", id, s.token.client, s.owner())
	fmt.Fprintln(s.out, created.Reveal())
	return nil
}

func (h *house) listTokens(ctx context.Context) error {
	s := h.settings
	owners, err := h.whose(ctx)
	if err != nil {
		return err
	}
	type token struct {
		ownerRow
		ID      string   `json:"id"`
		Client  string   `json:"client"`
		Scopes  []string `json:"scopes,omitempty"`
		Created string   `json:"created_at"`
		Expires string   `json:"expires_at,omitempty"`
	}
	var lines []token
	for _, o := range owners {
		tokens, err := h.identity.Tokens.List(ctx, o)
		if err != nil {
			return err
		}
		for _, t := range tokens {
			lines = append(lines, token{s.ownerRow(o), t.ID(), t.Client, t.Scopes, stamp(t.CreatedAt), stamp(t.ExpiresAt)})
		}
	}
	none := "There is no token. latchpost token create --client NAME makes one for a remote agent."
	if len(lines) == 0 {
		if none, err = h.noneOf(ctx, none, "There is no token", "token", func(o store.Holdings) int { return o.Tokens }); err != nil {
			return err
		}
	}
	return show(s, lines, none, s.ownerHead()+"ID\tCLIENT\tSCOPES\tCREATED\tEXPIRES", func(t token) []string {
		return append(t.cell(), t.ID, t.Client, orAll(t.Scopes), t.Created, orNever(t.Expires))
	})
}

// revokeToken finds the id whoever owns it: an operator has it from the record or a log.
func (h *house) revokeToken(ctx context.Context, id string) error {
	owners, err := h.db.Owners(ctx)
	if err != nil {
		return err
	}
	for _, o := range owners {
		tokens, err := h.identity.Tokens.List(ctx, o.Owner)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(tokens, func(t identity.Token) bool { return t.ID() == id })
		if i < 0 {
			continue
		}
		return h.endToken(ctx, o.Owner, tokens[i])
	}
	return fmt.Errorf("there is no token %q; latchpost token list --all-owners shows them", id)
}

func (h *house) endToken(ctx context.Context, o auth.Owner, t identity.Token) error {
	if err := h.identity.Tokens.Revoke(ctx, o, t.ID()); err != nil {
		return err
	}
	fmt.Fprintf(h.settings.out, "Token %s of %s for %s is refused from now on.\n", t.ID(), t.Client, o)
	return nil
}

func orAll(scopes []string) string {
	if len(scopes) == 0 {
		return "all"
	}
	return strings.Join(scopes, " ")
}

func orNever(at string) string {
	if at == "" {
		return "never"
	}
	return at
}

// ownerLink prints a link that signs one browser in, once.
func ownerLink(ctx context.Context, s *settings, args []string) error {
	link, err := makeOwnerLink(ctx, s, args)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "This link signs in %s, once, within ten minutes:\n", s.owner())
	fmt.Fprintln(s.out, link)
	return nil
}

// openPages signs the browser of this desktop in.
func openPages(ctx context.Context, s *settings, args []string) error {
	link, err := makeOwnerLink(ctx, s, args)
	if err != nil {
		return err
	}
	u, err := url.Parse(link)
	if err != nil {
		return err
	}
	code := u.Path[strings.LastIndex(u.Path, "/")+1:]
	u.Path = "/login" // the code stays out of the browser's argument list, which other users can read
	if err := openBrowser(u.String()); err != nil {
		fmt.Fprintln(s.out, link)
		return nil
	}
	fmt.Fprintf(s.out, "Your browser opens %s. Type this code there: %s\n", u, code)
	return nil
}

func makeOwnerLink(ctx context.Context, s *settings, args []string) (string, error) {
	if len(args) > 0 {
		return "", usagef("no arguments are taken here")
	}
	h, err := open(ctx, s)
	if err != nil {
		return "", err
	}
	defer h.Close()
	if s.baseURL == "" && !h.door.neighbour(ctx) {
		fmt.Fprintf(s.err, "No latchpost of this store answers at %s now. Start one within ten minutes, or give --listen or --base-url as yours has it.\n", s.listen)
	}
	link, err := h.identity.Link(ctx, s.owner())
	return link.Reveal(), err
}
