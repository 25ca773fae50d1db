package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/latchpost/latchpost/auth"
)

// leftBehind are the tables that Transfer does not carry, and why.
var leftBehind = map[string]string{
	"migrations": "each store has its own",
}

// Transferred is what Transfer has brought to the other store.
type Transferred struct {
	Tables []Count // in the order of the schema
	Sealed int64   // values that were opened there
	Record Report  // of the audit log there, which is that of the log here
}

// Count is how many rows a table has.
type Count struct {
	Table string
	Rows  int64
}

// Transfer copies every row to the store at opt.URL, which must have none, and only reads here. All of it is one transaction there:
// killed or failed, it leaves no row, and can be tried again. Nobody writes here meanwhile, and a process that has the
// store open is an error, because it would go on with what was left. Before the commit every row is read there and compared, each
// sealed value is given to opens, and the audit log (mac as for AuditLog) has to verify as it does here.
//
// What is good once, or for a while, stays good (sign-ins under way, sessions, links, approvals): the other store is this one as of now, as
// after an end and a start of every process, and not one from before like a backup. Only what the processes themselves held ends.
func (db *DB) Transfer(ctx context.Context, opt Options, mac func([]byte) []byte, opens func(auth.Sealed) error) (done *Transferred, err error) {
	tables, err := schema(ctx)
	if err != nil {
		return nil, err
	}
	tables = slices.DeleteFunc(tables, func(t table) bool { return leftBehind[t.name] != "" })
	if path, ok := strings.CutPrefix(opt.URL, "sqlite:"); ok && db.file != nil {
		if is, err := os.Stat(path); err == nil && os.SameFile(is, db.file.is) {
			return nil, errors.New("the new store is the one that is in use: name another file")
		}
	}
	err = db.alone(ctx, tables, func(from querier) error {
		if err := db.unused(ctx); err != nil {
			return err
		}
		to, err := Open(ctx, opt)
		if err != nil {
			return err
		}
		m := move{tables: tables, from: from, old: &Log{db: db, mac: mac}, new: &Log{db: to, mac: mac}, opens: opens}
		err = to.read(ctx, func(ctx context.Context, q querier) error { return empty(ctx, q, tables) }) // before its lock, which a store that is ours already has
		if err == nil {
			err = m.anchors()
		}
		if err == nil {
			err = to.alone(ctx, tables, func(into querier) error { done, err = m.run(ctx, into); return explainOpen(err) })
		}
		if err == nil && to.dir != "" {
			err = m.new.remember(slices.Collect(maps.Values(m.anchor))...)
		}
		return firstError(err, to.Close())
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// move is a transfer under way.
type move struct {
	tables   []table
	from     querier
	old, new *Log
	anchor   map[string]chain // of the old store
	merged   map[string]chain // what the anchor of the new one will say
	opens    func(auth.Sealed) error
}

// anchors reads what is remembered of the record beside both stores. What the old anchor misses in the
// record has to be missed beside the new store too.
func (m *move) anchors() (err error) {
	if m.anchor, err = m.old.readAnchor(); err != nil {
		m.anchor = nil // Verify reports it
	}
	if m.merged, err = m.new.readAnchor(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(m.new.db.dir, anchorFile), err)
	}
	for _, c := range m.anchor {
		if m.merged[c.writer].seq < c.seq {
			m.merged[c.writer] = c
		}
	}
	return nil
}

func (m *move) run(ctx context.Context, into querier) (*Transferred, error) {
	if err := empty(ctx, into, m.tables); err != nil {
		return nil, err
	}
	done := &Transferred{}
	for _, t := range m.tables {
		gave, err := t.copy(ctx, m.from, into)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		has, err := t.read(ctx, into, func([]any) error { return nil })
		if err == nil && has != gave {
			err = fmt.Errorf("the new store gives back %d rows that are not the %d that it was given; nothing was moved", has.rows, gave.rows)
		}
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.name, err)
		}
		done.Tables = append(done.Tables, Count{t.name, has.rows})
	}
	var err error
	if done.Sealed, err = openSealed(ctx, into, m.opens); err != nil {
		return nil, err
	}
	if done.Record, err = m.verify(ctx, into); err != nil {
		return nil, err
	}
	return done, firstError(settle(ctx, into), ctx.Err())
}

// verify gives the report of the new record. It has the faults of the old one, which stay to be seen, and no others.
func (m *move) verify(ctx context.Context, into querier) (report Report, err error) {
	var before Report
	if err := firstError(m.new.verify(ctx, into, &report, m.merged), m.old.verify(ctx, m.from, &before, m.anchor)); err != nil {
		return report, err
	}
	if reflect.DeepEqual(report, before) {
		return report, nil
	}
	for _, f := range report.Faults {
		if !slices.Contains(before.Faults, f) {
			return report, fmt.Errorf("the record does not verify in the new store (%s), so nothing was moved; if %s is another store's, move it away", f, filepath.Join(m.new.db.dir, anchorFile))
		}
	}
	return report, fmt.Errorf("the record in the new store is not that of the old one (%d events of %d processes, not %d of %d); nothing was moved", report.Events, report.Writers, before.Events, before.Writers)
}

// settle ends what processes of the old store held, and forgets what is of its disk.
func settle(ctx context.Context, q querier) error {
	if _, err := q.exec(ctx, `UPDATE connections SET lease_holder = '', lease_until = 0 WHERE lease_holder <> '' OR lease_until <> 0`); err != nil {
		return err
	}
	if _, err := q.exec(ctx, `UPDATE audit_heads SET held_until = 0`); err != nil {
		return err
	}
	_, err := q.exec(ctx, `DELETE FROM meta WHERE name IN ($1, $2)`, failedAt, triedAt)
	return err
}
