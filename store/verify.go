package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth"
)

// Report is what Verify found.
type Report struct {
	Events  int64
	Trimmed int64 // events before those, which Trim removed
	Writers int
	Faults  []Fault // none: nothing was changed, removed, moved or added
	Unread  error   // why the anchor could not be read: then nobody knows whether events are missing at the end
}

// Fault is a place where the log is not as it was written.
type Fault struct {
	Writer string
	Seq    int64 // where; 0 = the writer as a whole
	What   string
}

func (f Fault) String() string { return fmt.Sprintf("%s/%d: %s", f.Writer, f.Seq, f.What) }

// Verify reads the whole log and checks every chain against its MACs, its head and
// the anchor. The error says that it could not be read; faults are in the report.
func (l *Log) Verify(ctx context.Context) (report Report, err error) {
	// The anchor is read first: what it says was in the database before.
	anchor, anchorErr := l.readAnchor()
	err = l.db.snapshot(ctx, func(q querier) error {
		report = Report{}
		if anchorErr != errAnchor {
			report.Unread = anchorErr
		} else {
			report.Faults = append(report.Faults, Fault{What: anchorErr.Error()})
		}
		return l.verify(ctx, q, &report, anchor)
	})
	return report, err
}

func (l *Log) verify(ctx context.Context, q querier, report *Report, anchor map[string]chain) error {
	all, err := heads(ctx, q, `ORDER BY writer`)
	if err != nil {
		return err
	}
	report.Writers = len(all)
	open := make(map[string]*walk, len(all))
	for _, h := range all {
		w := &walk{log: l, report: report, head: h, at: h.base}
		if a, ok := anchor[h.writer]; ok {
			w.anchor = &a
		}
		if !l.genuine(h) {
			w.fault(0, "its head was changed")
		}
		open[h.writer] = w
		report.Trimmed += h.base.seq
	}
	for _, writer := range slices.Sorted(maps.Keys(anchor)) {
		if open[writer] == nil {
			report.Faults = append(report.Faults, Fault{Writer: writer, Seq: anchor[writer].seq, What: "all events of this writer are gone; the anchor remembers them"})
		}
	}
	_, err = eachEvent(ctx, q, beginning, math.MaxInt64, func(e auth.Event, detail string) error {
		report.Events++
		w := open[e.Writer]
		if w == nil {
			w = &walk{log: l, report: report, at: chain{writer: e.Writer, mac: []byte{}}}
			w.fault(0, "this writer has events and no head")
			open[e.Writer] = w
		}
		w.step(e, detail)
		return nil
	})
	for _, writer := range slices.Sorted(maps.Keys(open)) {
		open[writer].end()
	}
	return err
}

// walk goes along one chain.
type walk struct {
	log    *Log
	report *Report
	head   head
	anchor *chain
	at     chain
}

func (w *walk) fault(seq int64, format string, args ...any) {
	w.report.Faults = append(w.report.Faults, Fault{Writer: w.at.writer, Seq: seq, What: fmt.Sprintf(format, args...)})
}

func (w *walk) step(e auth.Event, detail string) {
	switch {
	case e.Seq <= w.at.seq:
		w.fault(e.Seq, "an event stands before the beginning of the chain")
		return
	case e.Seq > w.at.seq+1:
		w.fault(w.at.seq+1, "%d events are missing", e.Seq-w.at.seq-1)
		w.at.seq = e.Seq - 1
	case !hmac.Equal(e.MAC, w.log.next(w.at, fields(e, detail))):
		w.fault(e.Seq, "the event, or the one before it, was changed, moved or added")
	}
	w.at.seq, w.at.mac = e.Seq, e.MAC
	if w.anchor != nil && w.anchor.seq == e.Seq && !bytes.Equal(w.anchor.mac, e.MAC) {
		w.fault(e.Seq, "the anchor remembers another event here")
	}
}

func (w *walk) end() {
	switch {
	case w.at.seq < w.head.seq:
		w.fault(w.at.seq+1, "the last %d events are missing", w.head.seq-w.at.seq)
	case w.at.seq > w.head.seq && w.head.writer != "":
		w.fault(w.head.seq+1, "%d events stand behind the end of the chain", w.at.seq-w.head.seq)
	case w.head.writer != "" && !bytes.Equal(w.at.mac, w.head.mac):
		w.fault(w.at.seq, "the last event is not the one that was written last")
	}
	if w.anchor != nil && w.anchor.seq > w.at.seq {
		w.fault(w.at.seq+1, "the last %d events are missing; the anchor remembers them", w.anchor.seq-w.at.seq)
	}
}

// beginning is the first place of all.
var beginning = chain{seq: math.MinInt64}

// eachEvent streams the log from a place on, chain after chain, and stops after limit rows: then there are more.
func eachEvent(ctx context.Context, q querier, from chain, limit int64, visit func(e auth.Event, detail string) error) (more bool, err error) {
	late, err := pending(ctx, q)
	if err != nil {
		return false, err
	}
	late = slices.DeleteFunc(late, func(l entry) bool {
		return cmp.Or(cmp.Compare(l.event.Writer, from.writer), cmp.Compare(l.event.Seq, from.seq)) < 0
	})
	// What is in batches comes behind the rows of its chain.
	lateUntil := func(over func(writer string) bool) error {
		for len(late) > 0 && over(late[0].event.Writer) {
			if err := visit(late[0].event, late[0].detail); err != nil {
				return err
			}
			late = late[1:]
		}
		return nil
	}
	rows, err := q.query(ctx, `SELECT writer, seq, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac
		FROM audit_events WHERE (writer, seq) >= ($1, $2) ORDER BY writer, seq LIMIT $3`, from.writer, from.seq, limit)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for ; rows.Next(); limit-- {
		e, detail, err := scanWritten(rows)
		if err != nil {
			return false, err
		}
		if err := lateUntil(func(writer string) bool { return writer < e.Writer }); err != nil {
			return false, err
		}
		if err := visit(e, detail); err != nil {
			return false, err
		}
	}
	if err := rows.Err(); err != nil || limit == 0 {
		return true, err
	}
	return false, lateUntil(func(string) bool { return true })
}

// exported is an event as a line of Export.
type exported struct {
	At         string            `json:"at"` // RFC 3339; of a damaged event perhaps in a year that time.Time would not encode
	ID         string            `json:"id"`
	Of         string            `json:"of,omitempty"`
	Org        string            `json:"org,omitempty"`
	User       string            `json:"user"`
	Client     string            `json:"client,omitempty"`
	Kind       string            `json:"kind"`
	Provider   string            `json:"provider,omitempty"`
	Connection string            `json:"connection,omitempty"`
	Request    string            `json:"request,omitempty"`
	Decision   string            `json:"decision,omitempty"`
	Detail     map[string]string `json:"detail,omitempty"`
	Writer     string            `json:"writer"`
	Seq        int64             `json:"seq"`
	MAC        []byte            `json:"mac"` // base64
}

const exportRows = 1000 // read at once

// Export writes every event of every owner as one line of JSON, each by one Write, chain after chain. While w
// takes its time nothing is read: the WAL would grow behind a reader.
func (l *Log) Export(ctx context.Context, w io.Writer) error {
	enc := json.NewEncoder(PlainLines(w))
	from, begun := beginning, false
	for more := true; more; {
		var part []exported
		err := l.db.snapshot(ctx, func(q querier) (err error) {
			more, err = eachEvent(ctx, q, from, exportRows, func(e auth.Event, detail string) error {
				if begun && e.Writer == from.writer && e.Seq == from.seq {
					return nil // the last one of the part before
				}
				from.writer, from.seq, begun = e.Writer, e.Seq, true
				part = append(part, exported{e.At.Format(time.RFC3339Nano), e.ID, e.Of, e.Owner.Org, e.Owner.User, e.Client, e.Kind, e.Provider, e.Connection, e.Request, e.Decision, words(detail), e.Writer, e.Seq, e.MAC})
				return nil
			})
			return err
		})
		for _, e := range part {
			if wrong := enc.Encode(e); wrong != nil {
				return errors.Join(err, wrong)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// PlainLines passes on the lines that a json.Encoder writes, and escapes in them what encoding/json leaves as it is and what
// a reader or a terminal may take for the end of a line or a command, such as U+0085.
func PlainLines(w io.Writer) io.Writer { return plainLines{w} }

type plainLines struct{ w io.Writer }

func (p plainLines) Write(line []byte) (int, error) {
	odd := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
	if !bytes.ContainsFunc(line, odd) {
		return p.w.Write(line)
	}
	var plain []byte
	for _, r := range string(line) {
		if !odd(r) {
			plain = utf8.AppendRune(plain, r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			plain = fmt.Appendf(plain, `\u%04x`, u)
		}
	}
	if _, err := p.w.Write(plain); err != nil {
		return 0, err
	}
	return len(line), nil
}

const trimEvents = 1000 // removed in one transaction

// Trim removes the events from before a time, from the beginning of each chain up to the
// first that is younger, and gives their number, which is put on record. It lets others write in between, and what is
// left verifies at any time, also when it comes to its end early. What does not verify it leaves: a chain that began
// behind it would be whole.
func (l *Log) Trim(ctx context.Context, before time.Time) (removed int64, err error) {
	removed, err = l.trim(ctx, before)
	if removed == 0 {
		return 0, err
	}
	told := l.Append(context.WithoutCancel(ctx), auth.Event{
		ID: rand.Text(), At: l.db.now(), Kind: "audit.trim", Decision: "ok",
		Detail: map[string]string{"events": strconv.FormatInt(removed, 10), "until": before.UTC().Format(time.RFC3339)},
	})
	return removed, errors.Join(err, told)
}

func (l *Log) trim(ctx context.Context, before time.Time) (removed int64, err error) {
	for moved := spreadBatches; moved == spreadBatches; { // of processes that are gone, too
		err := l.db.write(ctx, func(ctx context.Context, q querier) (err error) {
			moved, err = spread(ctx, q, `ORDER BY writer, seq LIMIT $1`, spreadBatches)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	var all []head
	err = l.db.read(ctx, func(ctx context.Context, q querier) (err error) {
		all, err = heads(ctx, q, `ORDER BY writer`)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, h := range all { // all of them before anything is removed
		if err := l.trimmable(h); err != nil {
			return 0, err
		}
	}
	for _, h := range all {
		for n := int64(trimEvents); n == trimEvents; {
			began := time.Now()
			err := l.db.write(ctx, func(ctx context.Context, q querier) (err error) {
				n, err = l.trimChain(ctx, q, h.writer, before)
				return err
			})
			if err != nil {
				return removed, err
			}
			removed += n
			select { // other processes look now and then whether the file is free
			case <-time.After(time.Since(began)):
			case <-ctx.Done():
				return removed, ctx.Err()
			}
		}
	}
	return removed, nil
}

func (l *Log) trimmable(h head) error {
	if !l.genuine(h) {
		return fmt.Errorf("the head of %s was changed; run latchpost audit verify before removing anything", h.writer)
	}
	return nil
}

// trimChain removes the oldest of a chain, trimEvents at most.
func (l *Log) trimChain(ctx context.Context, q querier, writer string, before time.Time) (int64, error) {
	found, err := heads(ctx, q, `WHERE writer = $1`, writer)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	if err := l.trimmable(found[0]); err != nil {
		return 0, err
	}
	oldest, err := collect(ctx, q, func(s scanner) (w entry, err error) {
		w.event, w.detail, err = scanWritten(s)
		return w, err
	}, `SELECT writer, seq, id, of, at, org, user_id, client, kind, provider, connection, request, decision, detail, mac
		FROM audit_events WHERE writer = $1 ORDER BY seq LIMIT $2`, writer, trimEvents)
	if err != nil {
		return 0, err
	}
	// The new beginning is signed, so it has to be one that the chain came to from the old one: columns alone
	// (when it was, that nothing stood before it) are anybody's word who can write to the database.
	last, n := found[0].base, int64(0)
	for _, w := range oldest {
		if w.event.Seq != last.seq+1 || !hmac.Equal(w.event.MAC, l.next(last, fields(w.event, w.detail))) {
			return 0, fmt.Errorf("event %d of %s, or one before it, was changed, moved, added or removed; nothing from there on was trimmed: run latchpost audit verify, and keep a copy of the store", w.event.Seq, writer)
		}
		if ms(w.event.At) >= ms(before) {
			break
		}
		last, n = chain{writer, w.event.Seq, w.event.MAC}, n+1
	}
	if n == 0 {
		return 0, nil
	}
	_, err = q.exec(ctx, `UPDATE audit_heads SET base_seq = $2, base_mac = $3, base_proof = $4 WHERE writer = $1`,
		writer, last.seq, last.mac, l.proof("base", writer, last.seq, last.mac))
	if err != nil {
		return 0, err
	}
	return q.exec(ctx, `DELETE FROM audit_events WHERE writer = $1 AND seq <= $2`, writer, last.seq)
}
