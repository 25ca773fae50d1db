package auth

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
)

// moveTries is how often a change of a request is tried while others are first.
const moveTries = 5

// move changes r and writes it. Where others wrote it meanwhile and the sign-in is still the same (somebody else opened its page, its next
// poll was put off), it is changed as it is now; ErrConflict when it is another sign-in, or over. After an error r is as it was.
func (v *Vault) move(ctx context.Context, r *Request, change func(r *Request)) error {
	for try := 0; ; try++ {
		next := *r
		change(&next)
		err := v.Requests.MoveRequest(ctx, &next, r.State)
		if err == nil {
			*r = next
			return nil
		}
		if !errors.Is(err, ErrConflict) || try == moveTries {
			return err
		}
		now, readErr := v.Requests.Request(ctx, r.ID)
		if readErr != nil {
			return readErr
		}
		if !sameSignIn(now, r) {
			return err
		}
		*r = *now
	}
}

// sameSignIn reports whether two readings of a request are of one sign-in: begun once, by one browser, with one choice,
// and come as far.
func sameSignIn(a, b *Request) bool {
	return a.State == b.State && a.Method == b.Method && a.Access == b.Access && a.UserCode == b.UserCode &&
		bytes.Equal(a.Browser, b.Browser) && bytes.Equal(a.StateHash, b.StateHash) &&
		slices.Equal(a.Scopes, b.Scopes) && maps.Equal(a.Vars, b.Vars)
}

// decideAnew moves a request as decide says, which is asked again about the request as it is whenever others were first.
func (v *Vault) decideAnew(ctx context.Context, read func() (*Request, error), decide func(r *Request) error) (*Request, error) {
	for try := 0; ; try++ {
		r, err := read()
		if err != nil {
			return nil, err
		}
		from := r.State
		if err := decide(r); err != nil {
			return nil, err
		}
		if err := v.Requests.MoveRequest(ctx, r, from); err == nil {
			return r, nil
		} else if !errors.Is(err, ErrConflict) || try == moveTries {
			return nil, err
		}
	}
}
