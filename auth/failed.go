package auth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// failed classifies: only the provider's clear word that the grant is dead ends
// the connection; everything else is tried again later.
func (v *Vault) failed(ctx context.Context, c *Connection, cause error) error {
	f := RefreshFailure{State: c.State, Cause: "unavailable"}
	// What nobody has read, and calls whose outcome nobody knows, count for the next attempt too.
	f.Unknown = outcomeUnknown(cause) || c.Refresh.Attempts > 1 || len(c.Refresh.Answer) > 0
	var known *Error
	errors.As(cause, &known)
	switch {
	case errors.Is(cause, ErrReauth) && known.Code == ErrReauth.Code:
		f.State, f.Cause, f.Dead = NeedsReauth, causeInvalidGrant, true
		switch {
		case errors.Is(cause, errRebound):
			f.Cause = causeRebound
		case errors.Is(cause, errFinal):
			f.Cause = causeEnded
		case errors.Is(cause, errStranger):
			f.Cause = causeStranger
		case c.Refresh.Attempts > 1:
			f.Cause = causeInterrupted
		}
		cause = signInAgain(f.Cause)
	case errors.Is(cause, ErrConfig), errors.Is(cause, ErrNoApp):
		f.Cause, f.NextTryAt = "configuration", v.now().Add(5*time.Minute)
	case errors.Is(cause, ErrTampered):
		f.Cause, f.NextTryAt = "tampered", v.now().Add(5*time.Minute)
	case errors.Is(cause, ErrAudit):
		f.Cause, f.NextTryAt = ErrAudit.Code, v.now().Add(backoff(c.Refresh.Failures, known))
	default:
		f.NextTryAt = v.now().Add(backoff(c.Refresh.Failures, known))
	}
	if !f.Dead && v.now().After(c.ExpiresAt) { // whoever is to blame, nothing can be called
		f.State = ProviderDown
	}
	v.noteRefresh(c, "failed", f.Cause)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := v.Refreshes.FailRefresh(ctx, c.Owner, c.ID, c.Version, c.Refresh.Fence, f); err != nil && !errors.Is(err, ErrConflict) {
		return errors.Join(cause, err)
	}
	return cause
}

// backoff doubles from a second to five minutes, with jitter, and obeys Retry-After.
func backoff(failures int, known *Error) time.Duration {
	d := min(time.Second<<min(failures, 10), 5*time.Minute)
	if known != nil && known.RetryAfterSeconds > 0 {
		d = time.Duration(known.RetryAfterSeconds) * time.Second
	}
	return d + rand.N(d/4+time.Millisecond)
}

func (v *Vault) noteRefresh(c *Connection, outcome, cause string) {
	v.note(refreshEvent(c, outcome, cause))
}

// refreshEvent is on disk with the decision allow before the provider is asked; what came of it follows.
func refreshEvent(c *Connection, decision, cause string) Event {
	e := Event{Owner: c.Owner, Kind: "refresh", Provider: c.Provider, Connection: c.ID, Decision: decision}
	if cause != "" {
		e.Detail = map[string]string{"cause": cause}
	}
	return e
}

func signInAgain(cause string) *Error {
	return ErrReauth.Say("%s; the user has to sign in again: call request_auth", whyReauth(cause))
}

// whyReauth says what is known about the end of a sign-in.
func whyReauth(cause string) string {
	switch cause {
	case causeInterrupted:
		return "the provider has renewed this sign-in, but its answer was lost or spoilt on the way"
	case causeInvalidGrant:
		return "the provider does not accept this sign-in any more: it ended or was revoked there, or it was used elsewhere, as by a copy of this store"
	case causeEnded:
		return "its time is up, and the provider gave no way to renew it"
	case causeRefused:
		return "the API does not accept it any more"
	case causeStranger:
		return "the provider renewed it with what belongs to another account"
	case CauseDamaged:
		return "what Latchpost's store has of it is damaged"
	case causeRebound:
		return "the definition of this provider changed where credentials are sent"
	}
	return "this sign-in does not work any more"
}

// Causes of NeedsReauth.
const (
	causeEnded        = "ended"          // the access token did, and nothing renews it
	causeRefused      = "refused_by_api" // also after a renewal, if there is one
	causeInvalidGrant = "invalid_grant"
	causeInterrupted  = "interrupted_rotation" // refused after a call whose answer nobody has
	causeRebound      = "definition_changed"
	causeStranger     = "another_account"

	CauseDamaged = "damaged" // a store says it, of what it cannot read any more
)
