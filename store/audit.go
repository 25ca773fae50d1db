package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// Log is the audit log. Each Log writes a chain of its own: every event carries a
// keyed MAC over itself and the MAC before it, and the chain's head is kept in
// audit_heads, in the same transaction, and in a file outside the database.
// A chain that its process has left is continued by another one, so there are only
// as many as processes at the same time.
type Log struct {
	db     *DB
	mac    func([]byte) []byte
	holder string // of chains; differs from Log to Log

	mu       sync.Mutex // for what follows, which the keeper uses too
	chain    chain
	anchored chain            // what the anchor file says about our chain
	anchor   map[string]chain // what it said when we last wrote it
	spreadTo chain            // up to where our events have rows of their own
}

// chain is a place in one.
type chain struct {
	writer string
	seq    int64
	mac    []byte
}

// entry is an event on its way, with its fields encoded already.
type entry struct {
	event  auth.Event
	detail string
	fields []byte
}

// hold is how long a chain waits for its silent process before another may take it.
const hold = 10 * time.Minute

// AuditLog gives a log whose chains are keyed by mac (HMAC-SHA-256 under a key that
// is not in the store). Every log of the store must have the same key.
func (db *DB) AuditLog(mac func([]byte) []byte) *Log {
	l := &Log{db: db, mac: mac, holder: rand.Text()}
	db.logsMu.Lock()
	defer db.logsMu.Unlock()
	db.logs = append(db.logs, l)
	return l
}

func (db *DB) audits() []*Log {
	db.logsMu.Lock()
	defer db.logsMu.Unlock()
	return slices.Clone(db.logs)
}

// Append returns when the events are on disk, all of them or with an error none.
// The error is auth.ErrAudit.
func (l *Log) Append(ctx context.Context, events ...auth.Event) error {
	if len(events) == 0 {
		return nil
	}
	err := l.append(ctx, events)
	switch {
	case errors.Is(err, ErrFull):
		return auth.ErrAudit.Say("the audit record cannot be written because the disk of Latchpost's store is full, so nothing is released; the operator has to make room").Because(err)
	case errors.Is(err, ErrReadOnly):
		return auth.ErrAudit.Say("the audit record cannot be written because Latchpost's store is read-only, so nothing is released; the operator has to make its directory writable").Because(err)
	case errors.Is(err, ErrLocked):
		return auth.ErrAudit.Say("the audit record cannot be written because another process keeps Latchpost's store locked, so nothing is released; try again in a minute").Because(err)
	case errors.Is(err, ErrUnwritable):
		return auth.ErrAudit.Say("the audit record cannot be written because Latchpost's PostgreSQL takes no writes, so nothing is released; the operator has to look at it").Because(err)
	case errors.Is(err, ErrSilent):
		return auth.ErrAudit.Say("the audit record cannot be written because Latchpost's PostgreSQL does not answer, so nothing is released; try again in a minute, and tell the operator if it stays so").Because(err)
	case errors.Is(err, ErrGone), errors.Is(err, ErrBroken):
		return auth.ErrAudit.Say("the audit record cannot be written because Latchpost's disk fails or its store is gone, so nothing is released; the operator has to look at it").Because(err)
	case err != nil:
		return auth.ErrAudit.Because(err)
	}
	return nil
}

func (l *Log) append(ctx context.Context, events []auth.Event) error {
	db := l.db
	switch {
	case db.group == nil:
		return errOpenedToRead
	case db.file != nil && db.spentLately():
		return ErrFull
	}
	return db.explain(db.group.do(ctx, &job{log: l, events: entries(events)}))
}

// Later queues events without waiting for the disk. Events that cannot be written
// are counted and reported to the operator's log.
func (l *Log) Later(events ...auth.Event) {
	if len(events) == 0 {
		return
	}
	if l.db.group == nil {
		l.lost(len(events), ErrReadOnly)
		return
	}
	if err := l.db.group.send(context.Background(), &job{log: l, events: entries(events)}); err != nil {
		l.lost(len(events), err)
	}
}

func (l *Log) lost(n int, err error) {
	l.db.log().Error("audit events of outcomes could not be written", "events", n, "error", err)
}

func entries(events []auth.Event) []entry {
	all := make([]entry, len(events))
	for i, e := range events {
		e.At = at(ms(e.At)) // as it will be read
		// Names come from strangers. None of them may keep an event, or the others of its group, out of the log.
		for _, s := range [...]*string{&e.ID, &e.Of, &e.Owner.Org, &e.Owner.User, &e.Client, &e.Kind, &e.Provider, &e.Connection, &e.Request, &e.Decision} {
			*s = clean(*s)
		}
		detail := dict(e.Detail)
		all[i] = entry{event: e, detail: detail, fields: fields(e, detail)}
	}
	return all
}

// fields encodes what the MAC covers, each part with its length before it, so
// that no two events encode alike.
func fields(e auth.Event, detail string) []byte {
	b := make([]byte, 0, 384)
	b = binary.BigEndian.AppendUint64(b, uint64(ms(e.At)))
	for _, s := range [...]string{e.ID, e.Of, e.Owner.Org, e.Owner.User, e.Client, e.Kind, e.Provider, e.Connection, e.Request, e.Decision, detail} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b
}

// next is the MAC of an event that follows c.
func (l *Log) next(c chain, fields []byte) []byte {
	b := make([]byte, 0, len(c.mac)+len(c.writer)+len(fields)+24)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.mac)))
	b = append(b, c.mac...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.writer)))
	b = append(b, c.writer...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.seq+1))
	return l.mac(append(b, fields...))
}

// proof is the MAC of a chain's end ("head") or beginning ("base"): nobody without
// the key can shorten a chain and make them agree.
func (l *Log) proof(of, writer string, seq int64, mac []byte) []byte {
	b := []byte(of)
	for _, part := range [][]byte{[]byte(writer), mac} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return l.mac(binary.BigEndian.AppendUint64(b, uint64(seq)))
}

// part is what one log writes in one group.
type part struct {
	log  *Log
	jobs []*job
	to   chain
	ok   bool
}

func gatherLogs(batch []*job) (parts []*part) {
	for _, j := range batch {
		if j.log == nil {
			continue
		}
		i := slices.IndexFunc(parts, func(p *part) bool { return p.log == j.log })
		if i < 0 {
			i, parts = len(parts), append(parts, &part{log: j.log})
		}
		parts[i].jobs = append(parts[i].jobs, j)
	}
	return parts
}

// write puts the part's events at the end of the log's chain. What makes one
// event fail makes all fail.
func (p *part) write(ctx context.Context, q querier) error {
	err := p.extend(ctx, q)
	for _, j := range p.jobs {
		j.err = err
	}
	p.ok = err == nil
	return err
}

// written is called when the part is on disk.
func (p *part) written() {
	if p.ok {
		p.log.mu.Lock()
		p.log.chain = p.to
		p.log.mu.Unlock()
	}
}

func (p *part) extend(ctx context.Context, q querier) error {
	l := p.log
	now := l.db.now()
	from := l.place()
	for {
		if from.writer == "" {
			var err error
			if from, err = l.claim(ctx, q, now); err != nil {
				return err
			}
		}
		p.to = from
		for _, j := range p.jobs {
			for i := range j.events {
				e := &j.events[i]
				e.event.MAC = l.next(p.to, e.fields)
				p.to.seq, p.to.mac = p.to.seq+1, e.event.MAC
				e.event.Writer, e.event.Seq = p.to.writer, p.to.seq
			}
		}
		// The head moves first: if another process took the chain after a long silence
		// of ours, it does not stand where we left it.
		n, err := q.exec(ctx, `UPDATE audit_heads SET seq = $4, mac = $5, proof = $6, held_until = $7
			WHERE writer = $1 AND holder = $2 AND seq = $3`,
			p.to.writer, l.holder, from.seq, p.to.seq, p.to.mac, l.proof("head", p.to.writer, p.to.seq, p.to.mac), ms(now.Add(hold)))
		if err != nil {
			return err
		}
		if n == 1 {
			break
		}
		from = chain{}
	}
	var events []byte
	for _, j := range p.jobs {
		for _, e := range j.events {
			events = e.pack(events)
		}
	}
	_, err := q.exec(ctx, `INSERT INTO audit_batches (writer, seq, events) VALUES ($1, $2, $3)`, p.to.writer, from.seq+1, events)
	return err
}

func insertEvent(ctx context.Context, q querier, e auth.Event, detail string) error {
	_, err := q.exec(ctx, `INSERT INTO audit_events (writer, seq, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
		e.Writer, e.Seq, e.ID, e.Of, ms(e.At), e.Owner.Org, e.Owner.User, e.Client, e.Kind, e.Provider, e.Connection, e.Request, e.Decision, detail, e.MAC)
	return err
}

func (l *Log) place() chain {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain
}

// claim takes a chain that nobody holds, or begins one. A chain that is shorter
// than the anchor remembers, or whose head is not genuine, is left as evidence.
func (l *Log) claim(ctx context.Context, q querier, now time.Time) (chain, error) {
	anchor, err := l.readAnchor()
	if err != nil {
		anchor = nil // Verify reports it
	}
	free, err := heads(ctx, q, `WHERE held_until < $1 ORDER BY writer LIMIT 100`, ms(now))
	if err != nil {
		return chain{}, err
	}
	for _, h := range free {
		if a, ok := anchor[h.writer]; ok && a.seq > h.seq || !l.genuine(h) {
			continue
		}
		n, err := q.exec(ctx, `UPDATE audit_heads SET holder = $1 WHERE writer = $2 AND seq = $3`, l.holder, h.writer, h.seq)
		if err != nil {
			return chain{}, err
		}
		if n == 1 {
			return h.chain, nil
		}
	}
	c := chain{writer: rand.Text(), mac: []byte{}}
	_, err = q.exec(ctx, `INSERT INTO audit_heads (writer, holder, held_until, seq, mac, proof, base_seq, base_mac, base_proof)
		VALUES ($1, $2, $3, 0, $4, $5, 0, $4, $6)`,
		c.writer, l.holder, ms(now.Add(hold)), c.mac, l.proof("head", c.writer, 0, c.mac), l.proof("base", c.writer, 0, c.mac))
	return c, err
}

// head is a row of audit_heads: where a chain ends, and where it begins, after what
// Trim removed.
type head struct {
	chain
	proof     []byte
	base      chain
	baseProof []byte
}

func heads(ctx context.Context, q querier, where string, args ...any) ([]head, error) {
	return collect(ctx, q, func(s scanner) (h head, err error) {
		err = s.Scan(&h.writer, &h.seq, &h.mac, &h.proof, &h.base.seq, &h.base.mac, &h.baseProof)
		h.base.writer = h.writer
		return h, err
	}, `SELECT writer, seq, mac, proof, base_seq, base_mac, base_proof FROM audit_heads `+where, args...)
}

// genuine reports whether a head was written with our key.
func (l *Log) genuine(h head) bool {
	return hmac.Equal(h.proof, l.proof("head", h.writer, h.seq, h.mac)) &&
		hmac.Equal(h.baseProof, l.proof("base", h.writer, h.base.seq, h.base.mac))
}

// release lets another process continue the chain at once.
func (l *Log) release(ctx context.Context) error {
	c := l.place()
	if c.writer == "" {
		return nil
	}
	err := l.db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `UPDATE audit_heads SET held_until = 0 WHERE writer = $1 AND holder = $2`, c.writer, l.holder)
		return err
	})
	return firstError(err, l.dropAnchor())
}

// Events of an owner, newest first.
func (l *Log) Events(ctx context.Context, o auth.Owner, f auth.EventFilter) (all []auth.Event, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	err = l.db.snapshot(ctx, func(q querier) error {
		late, err := pending(ctx, q)
		if err != nil {
			return err
		}
		all = matching(late, o, f)
		settled, err := collect(ctx, q, scanEvent, `SELECT writer, seq, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac
			FROM audit_events WHERE org = $1 AND user_id = $2
			AND ($3 = '' OR connection = $3) AND ($4 = '' OR client = $4) AND ($5 = '' OR kind = $5)
			AND at >= $6 AND (at < $7 OR $7 = 0)
			ORDER BY at DESC, writer DESC, seq DESC LIMIT $8`, o.Org, o.User, f.Connection, f.Client, f.Kind, ms(f.Since), ms(f.Before), limit)
		all = append(all, settled...)
		slices.SortFunc(all, newestFirst)
		all = all[:min(len(all), limit)]
		return err
	})
	return all, err
}

func scanEvent(s scanner) (auth.Event, error) {
	e, detail, err := scanWritten(s)
	if err == nil {
		e.Detail = words(detail)
	}
	return e, err
}

// words are those of a detail, or what is left of one that is damaged.
func words(detail string) map[string]string {
	m, err := undict(detail)
	if err != nil {
		m = map[string]string{"damaged": detail}
	}
	return m
}

// scanWritten gives an event as it was written, with its detail as the MAC covers it.
func scanWritten(s scanner) (e auth.Event, detail string, err error) {
	var when int64
	err = s.Scan(&e.Writer, &e.Seq, &e.ID, &e.Of, &when, &e.Owner.Org, &e.Owner.User, &e.Client, &e.Kind, &e.Provider, &e.Connection, &e.Request, &e.Decision, &detail, &e.MAC)
	e.At = at(when)
	return e, detail, err
}
