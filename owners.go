package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// ownerRow says whose a line of a listing is, where they are not all of one owner.
type ownerRow struct {
	Org  string `json:"org,omitempty"`
	User string `json:"user,omitempty"`
}

func (s *settings) ownerRow(o auth.Owner) ownerRow {
	if !s.token.all {
		return ownerRow{}
	}
	return ownerRow{o.Org, o.User}
}

// cell is the first one of the line, none where all are of one owner.
func (r ownerRow) cell() []string {
	if r.User == "" {
		return nil
	}
	return []string{auth.Owner(r).String()}
}

func (s *settings) ownerHead() string {
	if !s.token.all {
		return ""
	}
	return "OWNER\t"
}

// whose are the owners that a listing is about.
func (h *house) whose(ctx context.Context) ([]auth.Owner, error) {
	if !h.settings.token.all {
		return []auth.Owner{h.settings.owner()}, nil
	}
	found, err := h.db.Owners(ctx)
	owners := make([]auth.Owner, len(found))
	for i, o := range found {
		owners[i] = o.Owner
	}
	return owners, err
}

// noneOf is what an empty listing says: none where nobody has any, else that others have, lest anybody take the
// answer about one owner for one about all.
func (h *house) noneOf(ctx context.Context, none, of, what string, count func(store.Holdings) int) (string, error) {
	s := h.settings
	if s.token.all {
		return none, nil
	}
	n, err := h.ofOthers(ctx, count)
	switch {
	case err != nil:
		return "", err
	case n > 0:
		return fmt.Sprintf("%s for %s. %s; see --user or --all-owners.", of, s.owner(), belong(n, what)), nil
	case s.owner() != auth.Local:
		return fmt.Sprintf("%s for %s.", of, s.owner()), nil
	}
	return none, nil
}

// elsewhere adds to the error of something that an owner does not have that others have some.
func (h *house) elsewhere(ctx context.Context, err error) error {
	if !errors.Is(err, auth.ErrNotFound) {
		return err
	}
	n, others := h.ofOthers(ctx, func(o store.Holdings) int { return o.Connections })
	if n == 0 {
		return errors.Join(err, others)
	}
	return fmt.Errorf("%w. This is about %s; %s: latchpost list --all-owners, then --user", err, h.settings.owner(), belong(n, "connection"))
}

func (h *house) ofOthers(ctx context.Context, count func(store.Holdings) int) (n int, err error) {
	owners, err := h.db.Owners(ctx)
	for _, o := range owners {
		if o.Owner != h.settings.owner() {
			n += count(o)
		}
	}
	return n, err
}

func belong(n int, what string) string {
	if n == 1 {
		return "1 " + what + " belongs to other owners"
	}
	return fmt.Sprintf("%d %ss belong to other owners", n, what)
}
