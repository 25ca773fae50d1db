package auth

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	callsAtOnce    = 32       // of one owner
	bytesPerMinute = 64 << 20 // that one owner may receive
)

// revokedWithin is how soon a call that is under way ends when another process
// revokes its connection; in this process it ends at once.
const revokedWithin = 500 * time.Millisecond

var errRevoked = ErrNotFound.Say("the connection was revoked; call request_auth to connect again")

// running knows the calls that are under way, so that revoking a connection ends
// those that use it.
type running struct {
	mu sync.Mutex
	m  map[string]map[*context.CancelCauseFunc]struct{}
}

func (r *running) add(connection string, cancel *context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]map[*context.CancelCauseFunc]struct{}{}
	}
	if r.m[connection] == nil {
		r.m[connection] = map[*context.CancelCauseFunc]struct{}{}
	}
	r.m[connection][cancel] = struct{}{}
}

func (r *running) remove(connection string, cancel *context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m[connection], cancel)
	if len(r.m[connection]) == 0 {
		delete(r.m, connection)
	}
}

// underWay gives a context that ends when the connection is revoked, by whatever
// process. done must be called when the call is over.
func (v *Vault) underWay(ctx context.Context, conn *Connection) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	v.running.add(conn.ID, &cancel)
	over := make(chan struct{})
	go func() {
		defer close(over)
		for sleep(ctx, revokedWithin) == nil {
			if now, err := v.Connections.Connection(ctx, conn.Owner, conn.ID); err == nil && now.State == Revoked {
				cancel(errRevoked)
			}
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-over
		v.running.remove(conn.ID, &cancel)
	}
}

// stopCalls cancels the calls of this process that use a connection.
func (v *Vault) stopCalls(connection string) {
	v.running.mu.Lock()
	defer v.running.mu.Unlock()
	for cancel := range v.running.m[connection] {
		(*cancel)(errRevoked)
	}
}

// limits bounds what one owner's agents can make this process do at once.
type limits struct {
	mu sync.Mutex
	m  map[Owner]*usage
}

type usage struct {
	calls int
	bytes int
	since time.Time // of the minute that bytes counts
}

func (l *limits) enter(o Owner, now time.Time) (free func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(o, now)
	if u.calls >= callsAtOnce {
		return nil, ErrLimit.Say("%d calls are under way already; wait for one to end", callsAtOnce).After(1)
	}
	if u.bytes >= bytesPerMinute {
		left := int(u.since.Add(time.Minute).Sub(now).Seconds()) + 1
		return nil, ErrLimit.Say("more than %d MiB were received within a minute; wait %d seconds, and ask for smaller pages", bytesPerMinute>>20, left).After(left)
	}
	u.calls++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		u.calls--
	}, nil
}

func (l *limits) received(o Owner, n int, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(o, now).bytes += n
}

// of gives an owner's account. Those that stand still for a minute are forgotten.
func (l *limits) of(o Owner, now time.Time) *usage {
	old := func(u *usage) bool { return now.Sub(u.since) >= time.Minute }
	u := l.m[o]
	if u == nil {
		if len(l.m) >= 1000 {
			maps.DeleteFunc(l.m, func(_ Owner, u *usage) bool { return u.calls == 0 && old(u) })
		}
		if l.m == nil {
			l.m = map[Owner]*usage{}
		}
		u = &usage{since: now}
		l.m[o] = u
	}
	if old(u) || now.Before(u.since) {
		u.bytes, u.since = 0, now
	}
	return u
}
