package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/identity"
)

// accountFlags are for commands about one connection.
func accountFlags(fs *flag.FlagSet, s *settings) {
	userFlags(fs, s)
	fs.StringVar(&s.account, "account", "", "`label` of the account, when there are several")
}

func revokeFlags(fs *flag.FlagSet, s *settings) {
	accountFlags(fs, s)
	fs.BoolVar(&s.everything, "all", false, "end all that the owner has: sessions in browsers, tokens of agents, sign-ins under way, connections")
}

// revoke ends a connection, or all that an owner has.
func revoke(ctx context.Context, s *settings, args []string) error {
	switch {
	case s.everything && (len(args) > 0 || s.account != ""):
		return usagef("revoke --all ends all that an owner has; it takes neither a provider nor --account")
	case !s.everything && len(args) != 1:
		return usagef("revoke takes one provider, or --all")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	if s.everything {
		return h.revokeAll(ctx)
	}
	ended, err := h.vault.Desk(s.owner()).Revoke(ctx, auth.Unwanted{Provider: args[0], Account: s.account})
	if err != nil {
		return h.unknown(args[0], h.elsewhere(ctx, err))
	}
	h.sayEnded(ended)
	return nil
}

func (h *house) sayEnded(ended *auth.Ended) {
	for _, c := range ended.Connections {
		fmt.Fprintf(h.settings.out, "%s (%s) is revoked here; at the provider: %s.\n", c.Provider, c.Account, atProvider[c.AtProvider])
	}
}

var atProvider = map[string]string{
	auth.AtProviderRevoked: "revoked too, as it has confirmed",
	auth.AtProviderUnknown: "not known yet, it is told again later",
	auth.LocalOnly:         "it offers no way to do it, so end the access on its own settings page as well",
}

// revokeAll ends what lets somebody in before what they could reach: whoever has a stolen browser or token would connect
// anew meanwhile. What cannot be ended keeps nothing else from it.
func (h *house) revokeAll(ctx context.Context) error {
	var failed []error
	steps := []func(context.Context) (int, error){h.endSessions, h.endTokens, h.endRequests, h.endConnections}
	ended := 0
	for _, step := range steps {
		n, err := step(ctx)
		ended += n
		failed = append(failed, err)
	}
	err := errors.Join(failed...)
	if ended == 0 && err == nil {
		return h.elsewhere(ctx, auth.ErrNotFound.Say("%s has nothing here that could be ended", h.settings.owner()))
	}
	return err
}

func (h *house) endSessions(ctx context.Context) (int, error) {
	n, err := h.identity.SignOut(ctx, h.settings.owner())
	if n > 0 {
		fmt.Fprintf(h.settings.out, "Browsers that were signed in: %d, and are not any more.\n", n)
	}
	return int(n), err
}

func (h *house) endTokens(ctx context.Context) (int, error) {
	owner := h.settings.owner()
	tokens, err := h.identity.Tokens.List(ctx, owner)
	return endEach(tokens, err, func(t identity.Token) error { return h.endToken(ctx, owner, t) })
}

func (h *house) endRequests(ctx context.Context) (int, error) {
	desk := h.vault.Desk(h.settings.owner())
	open, err := desk.Requests(ctx)
	return endEach(open, err, func(r auth.Request) error {
		if _, err := desk.Revoke(ctx, auth.Unwanted{RequestID: r.ID}); err != nil && !errors.Is(err, auth.ErrUsed) { // it ended by itself
			return fmt.Errorf("the sign-in to %s: %w", r.Provider, err)
		}
		fmt.Fprintf(h.settings.out, "The sign-in to %s that %s had asked for has ended.\n", r.Provider, oneLine(r.Client))
		return nil
	})
}

func (h *house) endConnections(ctx context.Context) (int, error) {
	desk := h.vault.Desk(h.settings.owner())
	all, err := desk.Connections(ctx)
	return endEach(all, err, func(c auth.Info) error {
		ended, err := desk.Revoke(ctx, auth.Unwanted{Provider: c.Provider, Account: c.Account})
		if errors.Is(err, auth.ErrNotFound) { // somebody else has just ended it
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s (%s): %w", c.Provider, c.Account, err)
		}
		h.sayEnded(ended)
		return nil
	})
}

// endEach ends what it can of all, which were found with err.
func endEach[T any](all []T, err error, end func(T) error) (ended int, _ error) {
	failed := []error{err}
	for _, one := range all {
		if err := end(one); err != nil {
			failed = append(failed, err)
			continue
		}
		ended++
	}
	return ended, errors.Join(failed...)
}
