package auth

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// Renewal happens once for each generation of a credential, over all goroutines
// and processes: lease -> durable intent -> audit record -> call with nothing held -> raw answer
// sealed and stored -> parsed -> committed by compare-and-swap on the version.
// Callers join the flight of their process; flights of several processes meet at
// the lease on the row.

const (
	leaseTTL    = 5 * time.Second
	flightTime  = 45 * time.Second
	storeTime   = 20 * time.Second       // for what came, however late it came
	patience    = 700 * time.Millisecond // of those whose token is still good
	minInterval = time.Minute            // between two renewals of a connection that nothing forces
	clocksApart = 10 * time.Minute       // what the clocks of two processes may differ by
)

// flights joins the callers of one process that wait for the same renewal.
type flights struct {
	mu   sync.Mutex
	m    map[string]*flight // by connection; what is lasting by a name of its own
	time time.Duration      // that one may take; 0 = flightTime
}

type flight struct {
	done chan struct{}
	c    *Connection
	err  error
}

// begin has Drain wait for what goes under a name until it ends. The caller holds mu.
func (s *flights) begin(name string) *flight {
	f := &flight{done: make(chan struct{})}
	if s.m == nil {
		s.m = map[string]*flight{}
	}
	s.m[name] = f
	return f
}

func (s *flights) end(name string, f *flight) {
	s.mu.Lock()
	delete(s.m, name)
	s.mu.Unlock()
	close(f.done)
}

// fresh gives c with a credential that is good for use. force is set when the API
// refused the credential of c.Version: then that generation is not good, whatever
// the clock says.
func (v *Vault) fresh(ctx context.Context, c *Connection, force bool) (*Connection, error) {
	if !force && !v.due(c) {
		return c, nil
	}
	method, err := v.connector(c.Method)
	if err != nil {
		return nil, err
	}
	if _, ok := method.(Refresher); !ok {
		return c, nil
	}
	alive := v.now().Before(c.ExpiresAt)
	switch {
	case c.final() && (force || alive): // as good as it gets; the API says how good
		return c, nil
	case c.final():
		return nil, signInAgain(orDefault(c.Cause, causeEnded))
	case !force && alive: // nobody waits for a slow provider who has a token that is good
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	got, err := v.join(ctx, c, force)
	for err == nil && force && got.Version == c.Version { // the flight was of somebody who had not seen this generation, and did not renew it
		got, err = v.join(ctx, c, force)
	}
	if err == nil {
		return got, nil
	}
	if !force && v.now().Before(c.ExpiresAt) && !errors.Is(err, ErrNotFound) {
		return c, nil // renewal does not work, or takes its time, but the old token still lives
	}
	return nil, err
}

// join waits for the flight of this connection in this process, and starts it when there is none.
func (v *Vault) join(ctx context.Context, c *Connection, force bool) (*Connection, error) {
	v.flights.mu.Lock()
	f := v.flights.m[c.ID]
	if f == nil {
		f = v.flights.begin(c.ID)
		go v.fly(context.WithoutCancel(ctx), f, c, force) // a stranger's cancellation must never abort a rotation
	}
	v.flights.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.done:
		return f.c, f.err
	}
}

func (v *Vault) fly(ctx context.Context, f *flight, c *Connection, force bool) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(v.flights.time, flightTime))
	defer cancel()
	f.err = calm(func() (err error) {
		f.c, err = v.renew(ctx, c.Owner, c.ID, c.Version, force)
		return err
	})
	if errors.Is(f.err, errPanic) { // said here, because who still has a good token goes on with it
		v.log().Error("renewal failed", "connection", c.ID, "error", f.err)
	}
	v.flights.end(c.ID, f)
}

// renew brings the connection past generation seen, by its own call or by waiting
// for the process that holds the lease.
func (v *Vault) renew(ctx context.Context, o Owner, id string, seen int64, force bool) (*Connection, error) {
	for {
		c, err := v.Connections.Connection(ctx, o, id)
		if err != nil {
			return nil, err
		}
		switch {
		case c.State == Revoked:
			return nil, ErrNotFound.Say("the connection was revoked")
		case c.Version != seen, !force && !v.due(c):
			return c, nil
		case c.final():
			return nil, signInAgain(c.Cause)
		case c.Refresh.Waits(v.now()):
			return nil, v.notYet(c)
		}
		if _, err := v.provider(c.Provider); err != nil { // left to a process of the store that knows its definition
			return nil, err
		}
		if wait := v.breakers.wait(c.Bind, v.now()); wait > 0 {
			return nil, ErrUnavailable.Say("%s does not answer; it is left alone for a while", c.Provider).After(retrySeconds(wait))
		}
		c, taken, err := v.Refreshes.AcquireRefresh(ctx, o, id, c.Version, leaseTTL)
		if err != nil {
			return nil, err
		}
		if taken {
			next, err := v.tryRefresh(ctx, c)
			if err == nil && len(c.Refresh.Answer) > 0 && v.due(next) { // what a process left that died long ago
				seen, force = next.Version, false
				continue
			}
			return next, err
		}
		if r := c.Refresh; c.Version == seen && r.DeadVersion != seen && r.Holder == "" && !r.NextTryAt.IsZero() {
			return nil, v.notYet(c) // it waits by the store's clock, which is behind ours
		}
		if err := sleep(ctx, 10*time.Millisecond+rand.N(15*time.Millisecond)); err != nil {
			return nil, ErrUnavailable.Say("another process is renewing this sign-in and takes too long; try again").After(2)
		}
	}
}

func (v *Vault) notYet(c *Connection) error {
	wait := max(int(c.Refresh.NextTryAt.Sub(v.now()).Seconds())+1, 1)
	return ErrUnavailable.Say("%s cannot renew the sign-in at the moment (%s); try again in %d seconds", c.Provider, c.Cause, wait).After(wait)
}

// tryRefresh tells the breaker how the endpoint did.
func (v *Vault) tryRefresh(ctx context.Context, c *Connection) (*Connection, error) {
	next, err := v.refreshOnce(ctx, c)
	switch {
	case errors.Is(err, errTooYoung), errors.Is(err, ErrAudit): // it was not asked
	case errors.Is(err, ErrUnavailable):
		v.breakers.failed(c.Bind, v.now())
	default:
		v.breakers.heard(c.Bind)
	}
	return next, err
}

// refreshOnce holds the lease on c. It makes the call (twice when the outcome of
// the first is unknown: providers give a grace period for just that, unless their definition says what
// the second would do) and leaves the row without a lease, whatever happens.
func (v *Vault) refreshOnce(ctx context.Context, c *Connection) (*Connection, error) {
	stop := v.keepLease(context.WithoutCancel(ctx), c)
	defer stop()
	method, err := v.connector(c.Method)
	if err != nil {
		return nil, v.failed(ctx, c, err)
	}
	refresher := method.(Refresher)
	f, err := v.flow(ctx, c)
	if err != nil {
		return nil, v.failed(ctx, c, err)
	}
	cred, err := v.openCredential(ctx, c)
	if err != nil {
		return nil, v.failed(ctx, c, err)
	}
	answer, sentAt, err := v.leftover(ctx, c)
	if err == nil && answer == nil {
		if _, err := v.record(ctx, refreshEvent(c, "allow", "")); err != nil {
			return nil, v.failed(ctx, c, err)
		}
		sentAt = v.now()
		answer, err = refresher.Refresh(ctx, f, cred)
		if err != nil && outcomeUnknown(err) {
			c.Refresh.Attempts++
			if punished(f.Provider) && v.now().Before(c.ExpiresAt) {
				err = signInAgain(causeInterrupted)
			} else {
				answer, err = refresher.Refresh(ctx, f, cred)
			}
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		defer cancel()
		if err == nil {
			v.keepAnswer(ctx, c, answer, sentAt)
		}
	}
	if err != nil {
		return nil, v.failed(ctx, c, err)
	}
	out, err := refresher.Refreshed(f, cred, answer, sentAt)
	clear(answer)
	if err != nil {
		if lost := v.orphanTokens(ctx, c, out); lost != nil {
			v.log().Error("tokens of no use are not on the list of revocations", "connection", c.ID, "error", lost)
		}
		v.dropAnswer(ctx, c)
		return nil, v.failed(ctx, c, err)
	}
	return v.commit(ctx, c, f.Provider, out, sentAt)
}

// punished reports whether a refresh token that is sent once more costs the access token too, which else lives on.
func punished(p *providers.Provider) bool {
	return p.OAuth2.Refresh.Reuse == "revokes" && p.OAuth2.Refresh.GraceS == 0
}

// keepLease renews the lease until stop is called.
func (v *Vault) keepLease(ctx context.Context, c *Connection) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, leaseTTL/3) == nil {
			if err := v.Refreshes.RenewRefresh(ctx, c.Owner, c.ID, c.Refresh.Fence, leaseTTL); err != nil {
				v.log().Warn("refresh lease not renewed", "connection", c.ID, "error", err)
			}
		}
	}()
	return func() { cancel(); <-done }
}

// leftover is the answer that a process received and did not live to commit.
func (v *Vault) leftover(ctx context.Context, c *Connection) (answer []byte, sentAt time.Time, err error) {
	if len(c.Refresh.Answer) == 0 {
		return nil, time.Time{}, nil
	}
	stamped, err := v.open(ctx, place(c, "answer"), c.Refresh.Answer)
	if err != nil {
		return nil, time.Time{}, err
	}
	c.Refresh.Attempts-- // taking the lease counted a call that is not made
	return stamped[8:], time.UnixMilli(int64(binary.BigEndian.Uint64(stamped))), nil
}

// keepAnswer stores the raw answer before anybody looks into it: from here on a
// crash loses nothing. Where that does not work the answer is committed from memory.
func (v *Vault) keepAnswer(ctx context.Context, c *Connection, answer []byte, sentAt time.Time) {
	stamped := append(binary.BigEndian.AppendUint64(nil, uint64(sentAt.UnixMilli())), answer...)
	defer clear(stamped)
	sealed, err := v.Box.Seal(place(c, "answer"), stamped)
	if err == nil {
		err = v.Refreshes.KeepAnswer(ctx, c.Owner, c.ID, c.Version, sealed)
	}
	if err != nil && !errors.Is(err, ErrConflict) { // who else moved the row is commit's question
		v.log().Error("answer to a refresh not kept", "connection", c.ID, "error", err)
	}
}

// dropAnswer forgets an answer that was read and is of no use, so that the next
// attempt asks again.
func (v *Vault) dropAnswer(ctx context.Context, c *Connection) {
	c.Refresh.Answer = nil
	if err := v.Refreshes.KeepAnswer(ctx, c.Owner, c.ID, c.Version, nil); err != nil && !errors.Is(err, ErrConflict) {
		v.log().Error("answer to a refresh not dropped", "connection", c.ID, "error", err)
	}
}

// commit makes the outcome the next generation. A disk that fills up in this moment
// gets a few more tries, because the outcome may exist nowhere else. When the connection
// was revoked meanwhile the new tokens are revoked too, and never stored.
func (v *Vault) commit(ctx context.Context, c *Connection, p *providers.Provider, out *Outcome, sentAt time.Time) (*Connection, error) {
	next := *c
	next.Version++
	next.State, next.Cause = Active, ""
	next.IssuedAt, next.UpdatedAt, next.ExpiresAt = sentAt, v.now(), out.ExpiresAt
	if out.Scopes != nil {
		next.Scopes = out.Scopes
	}
	if !out.RefreshExpiresAt.IsZero() {
		next.RefreshExpiresAt = out.RefreshExpiresAt
	}
	next.Vars = varsNow(c, p, out)
	next.Refresh = RefreshState{Fence: c.Refresh.Fence, DeadVersion: v.lastOf(&next, p, out.Credential)}
	if err := v.sealCredential(&next, out.Credential); err != nil {
		return nil, v.failed(ctx, c, err)
	}
	err := v.Refreshes.CommitRefresh(ctx, &next)
	for try := 0; err != nil && !errors.Is(err, ErrConflict) && try < 5; try++ {
		if sleep(ctx, 200*time.Millisecond<<try) != nil {
			break
		}
		err = v.Refreshes.CommitRefresh(ctx, &next)
	}
	if errors.Is(err, ErrConflict) {
		return v.lost(ctx, &next)
	}
	if err != nil {
		return nil, err // the next attempt finds the kept answer
	}
	v.noteRefresh(&next, "ok", "")
	return &next, nil
}

// lost looks why a commit found the row changed.
func (v *Vault) lost(ctx context.Context, next *Connection) (*Connection, error) {
	now, err := v.Connections.Connection(ctx, next.Owner, next.ID)
	if err != nil {
		return nil, err
	}
	if now.State != Revoked {
		if !sameAccount(now, next) { // which was replaced by another, so that these are nobody's
			return now, v.orphan(ctx, next)
		}
		return now, nil // somebody else won
	}
	v.noteRefresh(next, "failed", "revoked_meanwhile")
	return nil, errors.Join(ErrNotFound.Say("the connection was revoked"), v.orphan(ctx, next))
}
