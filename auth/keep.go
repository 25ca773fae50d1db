package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	keepInterval = 2 * time.Second
	keepBatch    = 20
	keepLook     = 10 * keepBatch     // renewals that are looked at for a batch,
	mostLook     = 16 * keepLook      // and at most where those are all of providers that rest
	aheadOf      = 2 * time.Minute    // renew what was used lately and ends within this
	aliveWithin  = 7 * 24 * time.Hour // renew unused sign-ins that end within this, most of whose time is over
	aliveEvery   = 10 * time.Minute   // how often these are looked for: they may be many
	lapsedFor    = time.Hour          // what ended longer ago, and was not renewed, is renewed when it is used: most of a big store is such
	usedLately   = 24 * time.Hour     // what "lately" is
	stuckAfter   = 2 * time.Minute    // a claimed request whose process died
	forgetAfter  = 7 * 24 * time.Hour // ended requests
	openOfAll    = 10_000             // requests of all owners that may be open; each has its own bound, but owners may be many
	probeAfter   = 6 * time.Hour      // a session or key that cannot be renewed, and so may have died unnoticed
)

// Keep does the background work until ctx ends: device code polls, expiry of
// requests, revocations that are still to be told, renewal ahead of time. Several
// processes may run it on one store; each piece of work goes to one of them.
func (v *Vault) Keep(ctx context.Context) error {
	var said string
	for {
		err := v.KeepOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		// It is tried every two seconds: what keeps failing in the same way is told once.
		if text := inOneLine(err); text != said {
			if said = text; err == nil {
				v.log().Info("background work succeeds again")
			} else {
				v.log().Error("background work failed", "error", text)
			}
		}
		if sleep(ctx, keepInterval+rand.N(keepInterval/4)) != nil {
			return nil
		}
	}
}

// inOneLine says of joined errors each once: one cause fails many pieces of work.
func inOneLine(err error) string {
	var all []string
	var add func(err error)
	add = func(err error) {
		many, ok := err.(interface{ Unwrap() []error })
		if ok && errors.Join(many.Unwrap()...).Error() == err.Error() { // by errors.Join, with nothing of its own
			for _, one := range many.Unwrap() {
				add(one)
			}
		} else if !slices.Contains(all, err.Error()) {
			all = append(all, err.Error())
		}
	}
	if err != nil {
		add(err)
	}
	return strings.Join(all, "; ")
}

// KeepOnce does what is due now and returns when it is done.
func (v *Vault) KeepOnce(ctx context.Context) error {
	return errors.Join(v.sweep(ctx), v.poll(ctx), v.tellDue(ctx), v.renewAhead(ctx), v.probeDue(ctx))
}

func (v *Vault) sweep(ctx context.Context) error {
	now := v.now()
	ended, err := v.Pending.ExpireRequests(ctx, now, now.Add(-stuckAfter), now.Add(-forgetAfter), openOfAll)
	for i := range ended {
		v.note(requestEvent(&ended[i], "request."+string(ended[i].State), "failed"))
		err = errors.Join(err, v.discardKept(ctx, &ended[i]))
	}
	return err
}

// poll asks the providers of device code sign-ins whether the person is done.
func (v *Vault) poll(ctx context.Context) error {
	due, err := v.Pending.DuePolls(ctx, v.now(), time.Minute, keepBatch)
	if err != nil {
		return err
	}
	return each(due, func(r Request) error { return v.pollOne(ctx, &r) })
}

func (v *Vault) pollOne(ctx context.Context, r *Request) error {
	if r.State != Redirected { // being begun anew
		return nil
	}
	method, err := v.connector(r.Method)
	if err != nil {
		return err
	}
	poller, ok := method.(Poller)
	if !ok {
		return nil
	}
	p, err := v.provider(r.Provider)
	if err != nil {
		return err
	}
	if p, err = p.Resolve(r.Vars); err != nil {
		return err
	}
	f, err := v.requestFlow(ctx, r, p)
	if err != nil {
		return err
	}
	f.received = func(ctx context.Context, out *Outcome) { v.keepOutcome(ctx, r, out) }
	// Once the provider was asked, its answer may be the only copy of a sign-in that the person completed: the end of this
	// process waits for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redeemTime)
	defer cancel()
	out, wait, err := poller.Poll(ctx, f)
	defer v.discardBeside(ctx, r, out)
	if err == nil && out == nil {
		private, err := v.sealedPrivate(r, f.Private) // slow_down makes the interval longer for good
		if err != nil {
			return err
		}
		return quiet(v.move(ctx, r, func(r *Request) { r.NextPollAt, r.Private = v.now().Add(wait), private }))
	}
	if err != nil {
		return errors.Join(quiet(v.fail(ctx, r, err)), v.discard(ctx, r, out))
	}
	if r.State != Claimed { // it could not be kept
		err = v.move(ctx, r, func(r *Request) { r.State, r.UpdatedAt, r.NextPollAt = Claimed, v.now(), time.Time{} })
	}
	if err != nil { // cancelled or begun anew meanwhile, with another choice
		return errors.Join(quiet(err), v.discard(ctx, r, out))
	}
	if v.unconfirmed(r) {
		return v.hold(ctx, r, out, HeldUnconfirmed)
	}
	return v.complete(ctx, r, out)
}

// quiet drops what is not a fault of ours: the request's status tells it.
func quiet(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return nil
	}
	return err
}

func (v *Vault) tellDue(ctx context.Context) error {
	due, err := v.Revocations.DueRevocations(ctx, v.now(), time.Minute, keepBatch)
	if err != nil {
		return err
	}
	return each(due, func(rev Revocation) error {
		v.lament(ctx, Event{Owner: rev.Owner, Kind: "revoke", Provider: rev.Provider, Connection: rev.Connection, Decision: "allow"})
		v.tell(ctx, &rev)
		return nil
	})
}

// lookout remembers until when everything has been found that is to be renewed ahead, and when sign-ins that would
// die unused were looked for.
type lookout struct {
	mu    sync.Mutex
	until time.Time
	alive time.Time
}

// from is how far back to look: further when nobody did, because no process ran or the machine slept.
func (l *lookout) from(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch first, last := now.Add(-usedLately), now.Add(-lapsedFor); {
	case l.until.Before(first):
		return first
	case l.until.After(last):
		return last
	}
	return l.until
}

// fading is until when sign-ins may end that are looked for because most of their time is over.
func (l *lookout) fading(now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d := now.Sub(l.alive); d >= 0 && d < aliveEvery {
		return now.Add(aheadOf)
	}
	return now.Add(aliveWithin)
}

func (l *lookout) found(now, fading time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = now
	if fading.After(now.Add(aheadOf)) {
		l.alive = now
	}
}

// renewAhead renews before anybody has to wait for it, and keeps alive what would die unused.
func (v *Vault) renewAhead(ctx context.Context) error {
	now := v.now()
	due, err := v.dueAhead(ctx, now)
	if err != nil {
		return err
	}
	return each(due[:min(len(due), keepBatch)], func(c Connection) error {
		must := dies(&c, now) || c.State == ProviderDown && c.ExpiresAt.IsZero() // which is never due
		if !must && !v.due(&c) {
			return nil
		}
		_, err := v.fresh(ctx, &c, must)
		return quiet(err)
	})
}

// dueAhead gives some of what is to be renewed ahead. A provider that is down keeps nobody else's sign-ins waiting.
func (v *Vault) dueAhead(ctx context.Context, now time.Time) (due []Connection, err error) {
	fading := v.lookout.fading(now)
	for look := keepLook; ; look *= 4 {
		due, err = v.Pending.DueRefreshes(ctx, now, v.lookout.from(now), now.Add(aheadOf), fading, now.Add(-usedLately), look)
		if err != nil {
			return nil, err
		}
		all := len(due) < look
		due = slices.DeleteFunc(due, func(c Connection) bool { return c.State == NeedsReauth || v.breakers.rests(c.Bind, now) }) // damaged, or at rest
		if all {
			v.lookout.found(now, fading)
		}
		if all || len(due) > 0 || look >= mostLook {
			return due, nil
		}
	}
}

// dies reports whether c has to be renewed for the sake of its sign-in: that ends at once, or within a week and
// four fifths of its time are over. A renewal that brings no more time is therefore not made again soon.
func dies(c *Connection, now time.Time) bool {
	left, age := c.RefreshExpiresAt.Sub(now), now.Sub(c.IssuedAt)
	return !c.RefreshExpiresAt.IsZero() && age > minInterval && (left < aheadOf || left < aliveWithin && left*4 < age)
}

// probeDue asks the providers whether sessions and keys still work. Only a clear no
// changes anything.
func (v *Vault) probeDue(ctx context.Context) error {
	now := v.now()
	due, err := v.Pending.DueProbes(ctx, now, now.Add(-probeAfter), keepBatch)
	if err != nil {
		return err
	}
	return each(due, func(c Connection) error {
		if c.State == NeedsReauth { // damaged
			return nil
		}
		method, err := v.connector(c.Method)
		if err != nil {
			return err
		}
		prober, ok := method.(Prober)
		if !ok {
			return nil
		}
		f, err := v.flow(ctx, &c)
		if err != nil {
			return quiet(err)
		}
		cred, err := v.openCredential(ctx, &c)
		if err != nil {
			return err
		}
		carrier, _ := method.(Carrier)
		if err := v.probe(ctx, prober, &sending{conn: &c, flow: f, carrier: carrier}, cred); !errors.Is(err, ErrReauth) {
			return quiet(err)
		}
		return quiet(v.Connections.SetState(ctx, c.Owner, c.ID, c.Version, NeedsReauth, "session_ended"))
	})
}

// each runs f on all items, four at a time, and waits.
func each[T any](items []T, f func(T) error) error {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, 4)
		errs  = make([]error, len(items))
	)
	for i, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := calm(func() error { return f(item) }); err != nil {
				errs[i] = fmt.Errorf("%T: %w", item, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

var errPanic = errors.New("panic")

// calm makes a panic an error, without its value, which may hold anything. A goroutine of our own in which nobody
// does that takes the whole process along.
func calm(work func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w\n%s", errPanic, debug.Stack())
		}
	}()
	return work()
}
