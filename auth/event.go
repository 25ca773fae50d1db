package auth

import (
	"context"
	"time"
)

// Event is one audit record. Detail holds words, numbers, hosts and paths; never
// a secret, a prefix of one, a query string or a body.
type Event struct {
	ID         string // rand.Text; the outcome of an effect names it in Of
	Of         string
	At         time.Time
	Owner      Owner
	Client     string
	Kind       string // request.create, connection.create, credential.release, credential.done, approval.done, call, call.done, refresh, revoke, ...
	Provider   string
	Connection string
	Request    string
	Decision   string // allow, deny, or the outcome: ok, failed, unknown
	Detail     map[string]string

	Outcome string // set by Desk.Events: "unknown" for a call without one on record, because it is under way or a crash came between

	// Set by the log: place in the writer's chain and keyed MAC over it (HMAC-SHA-256 over the
	// previous MAC and every field).
	Writer string
	Seq    int64
	MAC    []byte
}

// EventFilter narrows Events. Zero fields match all.
type EventFilter struct {
	Connection string
	Client     string
	Kind       string
	Since      time.Time
	Before     time.Time
	Limit      int // newest first; 0 = 100
}

// AuditLog is the append-only record. Append returns when the events are on disk
// (or with an error, and then none is).
type AuditLog interface {
	Append(ctx context.Context, events ...Event) error
	// Later queues events for the next group without waiting for the disk: for outcomes of effects that are on
	// record already. What a crash loses reads as outcome unknown.
	Later(events ...Event)
	Events(ctx context.Context, o Owner, f EventFilter) ([]Event, error)
}
