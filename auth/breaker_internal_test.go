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
