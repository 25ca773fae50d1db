package auth

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// tryAgain follows a 401: one renewal and one more try. What is refused even then
// needs the person; whoever can tell whether the credential works is asked first, because signing in again is much
// to ask, and an API may refuse one path and take the next.
func (v *Vault) tryAgain(ctx context.Context, a *sending, out egress.Request, rule string) (*sending, error) {
	if v.vouched.lately(a.conn, v.now()) { // an agent that goes on with such a path costs no renewal each time
		if works, err := v.works(ctx, a); works || err != nil {
			return a, err
		}
	}
	next, err := v.fresh(ctx, a.conn, true)
	if err != nil {
		return a, err
	}
	if next.Version != a.conn.Version {
		if !sameAccount(a.conn, next) {
			return a, errMeanwhile
		}
		again, err := v.try(ctx, next, out, rule)
		again.secrets = append(again.secrets, a.secrets...)
		if err != nil || again.resp.Status != http.StatusUnauthorized {
			return again, err
		}
		a = again
	}
	if works, err := v.works(ctx, a); works || err != nil {
		v.vouched.note(a.conn, v.now())
		return a, err
	}
	err = v.Connections.SetState(context.WithoutCancel(ctx), a.conn.Owner, a.conn.ID, a.conn.Version, NeedsReauth, causeRefused)
	if errors.Is(err, ErrConflict) {
		return a, nil // renewed meanwhile: the agent may try again
	}
	if err != nil {
		return a, err
	}
	return a, ErrReauth.Say("the API does not accept this sign-in; the user has to sign in again: call request_auth")
}

// works asks whoever can tell whether a credential that the API refused works all the same. It does unless the answer is a clear
// no; where there is nobody to ask it does not.
func (v *Vault) works(ctx context.Context, a *sending) (bool, error) {
	prober := v.prober(a)
	if prober == nil {
		return false, nil
	}
	cred, err := v.openCredential(ctx, a.conn)
	if err != nil {
		return false, err
	}
	return !errors.Is(v.probe(ctx, prober, a, cred), ErrReauth), nil
}

// vouchers remembers credentials that work although an API has just refused them, for one path.
type vouchers struct {
	mu sync.Mutex
	m  map[string]voucher // by connection
}

type voucher struct {
	version int64
	at      time.Time
}

const mostVouchers = 1000

func (l *vouchers) note(c *Connection, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil || len(l.m) >= mostVouchers {
		l.m = map[string]voucher{}
	}
	l.m[c.ID] = voucher{c.Version, now}
}

// lately reports whether this generation worked within the last minutes.
func (l *vouchers) lately(c *Connection, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen, ok := l.m[c.ID]
	age := now.Sub(seen.at)
	return ok && seen.version == c.Version && age >= 0 && age < 10*minInterval
}

// prober can tell whether a credential that the API refused works all the same. It is nil when there is nobody else to ask,
// as with a key whose definition has no call that tries it, or an OAuth token whose account no GET names.
func (v *Vault) prober(a *sending) Prober {
	if key := a.flow.Provider.APIKey; a.conn.Method == MethodAPIKey && (key == nil || key.Verify == nil) {
		return nil
	}
	if needsApp(a.conn.Method) && !tellsWhetherItWorks(a.flow) {
		return nil
	}
	method, err := v.connector(a.conn.Method)
	if err != nil {
		return nil
	}
	prober, _ := method.(Prober)
	return prober
}
