package auth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// MaxWait bounds Wait: hosts give up on a tool after a while.
const MaxWait = 25 * time.Second

// Wait tells how a request (or an approval) stands, at the latest after d. It
// returns at once when that is settled. progress, when not nil, is called about
// every five seconds while it is pending. Somebody else's id is ErrNotFound.
func (v *Vault) Wait(ctx context.Context, c Caller, id string, d time.Duration, progress func(Status)) (*Status, error) {
	deadline := time.Now().Add(min(d, MaxWait))
	told := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(pause*3/2, time.Second) {
		s, err := v.status(ctx, c, id)
		if err != nil || s.Status != StatusPending {
			return s, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return s, nil
		}
		if progress != nil && time.Since(told) >= 5*time.Second {
			told = time.Now()
			progress(*s)
		}
		if err := sleep(ctx, min(left, pause+rand.N(pause/4))); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (v *Vault) status(ctx context.Context, c Caller, id string) (*Status, error) {
	r, err := v.Requests.Request(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return v.approvalStatus(ctx, c, id)
	}
	if err != nil {
		return nil, err
	}
	if r.Owner != c.Owner || r.Client != c.Client {
		v.noteForeign(c)
		return nil, errNoRequest
	}
	s := &Status{RequestID: r.ID, Status: StatusPending, ExpiresAt: r.ExpiresAt, PollAfter: pollAfter}
	switch {
	case r.State == Stored:
		s.Status = StatusConnected
		conn, err := v.Connections.Connection(ctx, c.Owner, r.Connection)
		if err != nil {
			return nil, err
		}
		if s.Connection, err = v.info(ctx, c, conn); err != nil {
			return nil, err
		}
		if p, err := v.provider(conn.Provider); err == nil {
			s.Connection.Missing = missingOf(p, conn, r.Scopes)
		}
	case r.State == Declined:
		s.Status = StatusDeclined
	case r.State == Failed:
		s.Status, s.Cause = StatusFailed, r.Cause
	case r.State == Expired || v.now().After(r.ExpiresAt) && r.State != Claimed:
		s.Status = StatusExpired
	default:
		s.Cause = r.Cause // what it is held for, or opened_elsewhere
	}
	return s, nil
}

var errNoRequest = ErrNotFound.Say("there is no such request; ask for a new one with request_auth")

// noteForeign records that somebody named a request that is not theirs. They are told that there is none.
func (v *Vault) noteForeign(c Caller) {
	v.note(Event{Owner: c.Owner, Client: c.Client, Kind: "foreign_request", Decision: "deny"})
}

// noteUnknown records that somebody named what neither is a request nor an approval of theirs. It may be another owner's
// approval, for which nobody looks, or nobody's.
func (v *Vault) noteUnknown(c Caller) {
	v.note(Event{Owner: c.Owner, Client: c.Client, Kind: "unknown_request", Decision: "deny"})
}

func (v *Vault) approvalStatus(ctx context.Context, c Caller, id string) (*Status, error) {
	a, err := v.Approvals.Approval(ctx, c.Owner, id)
	if errors.Is(err, ErrNotFound) {
		v.noteUnknown(c)
		return nil, errNoRequest
	}
	if err == nil && a.Client != c.Client {
		v.noteForeign(c)
		return nil, errNoRequest
	}
	if err != nil {
		return nil, err
	}
	s := &Status{RequestID: a.ID, Status: StatusPending, ExpiresAt: a.ExpiresAt, PollAfter: pollAfter}
	switch {
	case a.State == Approved || a.State == Spent:
		s.Status = StatusConnected
	case a.State == Refused:
		s.Status = StatusDeclined
	case v.now().After(a.ExpiresAt):
		s.Status = StatusExpired
	}
	return s, nil
}
