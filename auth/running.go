package auth

import (
	"context"
	"sync"
	"time"
)

const (
	callsAtOnce    = 32       // of one owner
	bytesPerMinute = 64 << 20 // that one owner may receive
)

// running knows the calls that are under way, so that revoking a connection ends
// those that use it.
type running struct {
	mu sync.Mutex
	m  map[string]map[*context.CancelFunc]struct{}
}

func (r *running) add(ctx context.Context, connection string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]map[*context.CancelFunc]struct{}{}
	}
	if r.m[connection] == nil {
		r.m[connection] = map[*context.CancelFunc]struct{}{}
	}
	r.m[connection][&cancel] = struct{}{}
	return ctx, func() {
		cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.m[connection], &cancel)
		if len(r.m[connection]) == 0 {
			delete(r.m, connection)
		}
	}
}

// stopCalls cancels the calls that use a connection.
func (v *Vault) stopCalls(connection string) {
	v.running.mu.Lock()
	defer v.running.mu.Unlock()
	for cancel := range v.running.m[connection] {
		(*cancel)()
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

func (l *limits) enter(o Owner) (free func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(o)
	if u.calls >= callsAtOnce {
		return nil, ErrLimit.Say("%d calls are under way already; wait for one to end", callsAtOnce).After(1)
	}
	if left := time.Minute - time.Since(u.since); u.bytes >= bytesPerMinute && left > 0 {
		return nil, ErrLimit.Say("more than %d MiB were received within a minute; wait, and ask for smaller pages", bytesPerMinute>>20).After(int(left.Seconds()) + 1)
	}
	u.calls++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		u.calls--
	}, nil
}

func (l *limits) received(o Owner, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(o).bytes += n
}

// of gives an owner's account; those that stand still for a minute are forgotten.
func (l *limits) of(o Owner) *usage {
	u := l.m[o]
	if u == nil {
		if l.m == nil {
			l.m = map[Owner]*usage{}
		}
		for other, x := range l.m {
			if len(l.m) > 1000 && x.calls == 0 && time.Since(x.since) > time.Minute {
				delete(l.m, other)
			}
		}
		u = &usage{since: time.Now()}
		l.m[o] = u
	}
	if time.Since(u.since) > time.Minute {
		u.bytes, u.since = 0, time.Now()
	}
	return u
}
