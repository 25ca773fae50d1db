package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/latchpost/latchpost/auth"
)

// A commit writes its events as one row of audit_batches, because in audit_events each
// would change a page of the index by owner: with sixteen owners that were 18 pages a commit, now
// there are four. Within a second spread gives every event a row of its own. Whoever reads
// the log reads both.

const spreadBatches = 32 // moved in one transaction

// pack appends an event to a batch.
func (e entry) pack(b []byte) []byte {
	for _, part := range [...][]byte{e.fields, e.event.MAC} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// batch is a row of audit_batches: the events of writer from seq on.
type batch struct {
	writer string
	seq    int64
	events []byte
}

func batches(ctx context.Context, q querier, where string, args ...any) ([]batch, error) {
	return collect(ctx, q, func(s scanner) (b batch, err error) {
		return b, s.Scan(&b.writer, &b.seq, &b.events)
	}, `SELECT writer, seq, events FROM audit_batches `+where, args...)
}

var errBatch = errors.New("a batch of audit events is damaged; run latchpost audit verify")

// unpack gives the events of a batch. Damage is an error; what a MAC covers is not checked here.
func (b batch) unpack() (all []entry, err error) {
	for rest, seq := b.events, b.seq; len(rest) > 0; seq++ {
		var e entry
		if e.fields, rest, err = cut(rest); err != nil {
			return nil, err
		}
		if e.event, e.detail, err = parseFields(e.fields); err != nil {
			return nil, err
		}
		if e.event.MAC, rest, err = cut(rest); err != nil {
			return nil, err
		}
		e.event.Writer, e.event.Seq = b.writer, seq
		all = append(all, e)
	}
	return all, nil
}

// cut takes a part off that has its length before it.
func cut(b []byte) (part, rest []byte, err error) {
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return nil, nil, errBatch
	}
	n := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:n:n], b[n:], nil
}

// parseFields undoes fields.
func parseFields(b []byte) (e auth.Event, detail string, err error) {
	if len(b) < 8 {
		return e, "", errBatch
	}
	e.At = at(int64(binary.BigEndian.Uint64(b)))
	b = b[8:]
	for _, s := range [...]*string{&e.ID, &e.Of, &e.Owner.Org, &e.Owner.User, &e.Client, &e.Kind, &e.Provider, &e.Connection, &e.Request, &e.Decision, &detail} {
		var part []byte
		if part, b, err = cut(b); err != nil {
			return e, "", err
		}
		*s = string(part)
	}
	if len(b) > 0 {
		return e, "", errBatch
	}
	return e, detail, nil
}

// spread moves the log's own batches to audit_events, if there are new ones.
func (l *Log) spread(ctx context.Context) error {
	l.mu.Lock()
	now, before := l.chain, l.spreadTo
	l.mu.Unlock()
	if now.writer == before.writer && now.seq == before.seq {
		return nil
	}
	for moved := spreadBatches; moved == spreadBatches; {
		err := l.db.write(ctx, func(ctx context.Context, q querier) (err error) {
			moved, err = spread(ctx, q, `WHERE writer = $1 ORDER BY seq LIMIT $2`, now.writer, spreadBatches)
			return err
		})
		if err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.spreadTo = now
	l.mu.Unlock()
	return nil
}

// spread gives the events of batches a row each, and tells how many batches that were. A damaged
// one stays, as evidence.
func spread(ctx context.Context, q querier, where string, args ...any) (moved int, err error) {
	some, err := batches(ctx, q, where, args...)
	if err != nil {
		return 0, err
	}
	for _, b := range some {
		all, err := b.unpack()
		if err != nil {
			continue
		}
		for _, e := range all {
			if err := insertEvent(ctx, q, e.event, e.detail); err != nil {
				return moved, err
			}
		}
		if _, err := q.exec(ctx, `DELETE FROM audit_batches WHERE writer = $1 AND seq = $2`, b.writer, b.seq); err != nil {
			return moved, err
		}
		moved++
	}
	return moved, nil
}

// pending gives the events that are still in batches, chain after chain. Those of a damaged
// batch are missing, which Verify tells.
func pending(ctx context.Context, q querier) (all []entry, err error) {
	found, err := batches(ctx, q, `ORDER BY writer, seq`)
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		if events, err := b.unpack(); err == nil {
			all = append(all, events...)
		}
	}
	return all, nil
}

// newestFirst is the order of Events.
func newestFirst(a, b auth.Event) int {
	return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Writer, a.Writer), cmp.Compare(b.Seq, a.Seq))
}

// matching are the events of o in all that f asks for.
func matching(all []entry, o auth.Owner, f auth.EventFilter) (found []auth.Event) {
	for _, e := range all {
		v := e.event
		if v.Owner != o || f.Connection != "" && v.Connection != f.Connection || f.Client != "" && v.Client != f.Client || f.Kind != "" && v.Kind != f.Kind ||
			ms(v.At) < ms(f.Since) || !f.Before.IsZero() && ms(v.At) >= ms(f.Before) { // as the columns compare
			continue
		}
		v.Detail = words(e.detail)
		found = append(found, v)
	}
	slices.SortFunc(found, newestFirst)
	return found
}
