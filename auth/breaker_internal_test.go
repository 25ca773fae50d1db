package auth

import (
	"testing"
	"time"
)

// RF-008: an endpoint that is down is left alone by all connections; when the time is
// over one try finds out, and an answer closes the matter.
func TestBreaker(t *testing.T) {
	var b breakers
	now := time.Unix(1_800_000_000, 0)
	for range breakAfter {
		if wait := b.wait("endpoint", now); wait != 0 {
			t.Fatalf("left alone for %s too early", wait)
		}
		b.failed("endpoint", now)
	}
	if wait := b.wait("endpoint", now); wait != breakFor {
		t.Errorf("left alone for %s, want %s", wait, breakFor)
	}
	if wait := b.wait("another", now); wait != 0 {
		t.Errorf("another endpoint is left alone for %s", wait)
	}
	now = now.Add(breakFor)
	if wait := b.wait("endpoint", now); wait != 0 {
		t.Errorf("nobody may try when the time is over: %s", wait)
	}
	if wait := b.wait("endpoint", now); wait == 0 {
		t.Error("two may try at once")
	}
	for range 20 {
		b.failed("endpoint", now)
	}
	if wait := b.wait("endpoint", now); wait != longestBreak {
		t.Errorf("left alone for %s, want at most %s", wait, longestBreak)
	}
	b.heard("endpoint")
	if wait := b.wait("endpoint", now); wait != 0 {
		t.Errorf("left alone for %s after it answered", wait)
	}
}

// RF-008: connections that are told to wait, within reason or beyond it, do not all come back in one moment, and none comes early.
func TestWaitsAreSpread(t *testing.T) {
	for _, told := range []string{"30", "1000000000"} {
		asked := time.Duration(retryAfter(told, time.Now())) * time.Second
		waits := map[time.Duration]bool{}
		for range 8 {
			wait := backoff(0, ErrUnavailable.After(int(asked/time.Second)))
			waits[wait.Truncate(asked/100)] = true
			if wait < asked || wait > asked+asked/4+time.Millisecond {
				t.Errorf("told %s, it waits %v", told, wait)
			}
		}
		if len(waits) < 3 {
			t.Errorf("told %s, eight connections wait %v", told, waits)
		}
	}
}
