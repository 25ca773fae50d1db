package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
)

// extent is how many rows were read of a table, and a sum over them that does not depend on their order.
type extent struct {
	rows int64
	sum  [sha256.Size]byte
}

func (e *extent) add(row []any) {
	h := sha256.New()
	for _, v := range row {
		switch v := v.(type) {
		case string:
			fmt.Fprintf(h, "text %d %s", len(v), v)
		case []byte:
			fmt.Fprintf(h, "bytes %d %t %s", len(v), v == nil, v)
		default:
			fmt.Fprintf(h, "%T %v ", v, v)
		}
	}
	e.rows++
	for i, b := range h.Sum(nil) {
		e.sum[i] ^= b
	}
}

// read visits every row, in whatever order. What a row holds is the visitor's own.
func (t table) read(ctx context.Context, q querier, visit func(row []any) error) (e extent, err error) {
	rows, err := q.query(ctx, `SELECT `+t.columns()+` FROM `+t.name)
	if err != nil {
		return e, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := ctx.Err(); err != nil { // SQLite does not look
			return e, err
		}
		row, err := t.scan(rows)
		if err != nil {
			return e, err
		}
		e.add(row)
		if err := visit(row); err != nil {
			return e, err
		}
	}
	return e, rows.Err()
}

func (t table) scan(s scanner) ([]any, error) {
	row := make([]any, len(t.fields))
	for i, f := range t.fields {
		switch f.kind {
		case "TEXT":
			row[i] = new(string)
		case "BIGINT":
			row[i] = new(int64)
		case "BOOLEAN":
			row[i] = new(bool)
		case "BYTEA":
			row[i] = new([]byte)
		default:
			return nil, fmt.Errorf("column %s is %s, of which nothing is known", f.name, f.kind)
		}
	}
	if err := s.Scan(row...); err != nil {
		return nil, err
	}
	for i, p := range row {
		row[i] = reflect.ValueOf(p).Elem().Interface()
	}
	return row, nil
}

// At most so much goes into one statement: the way to a server and back is what takes time, and a row may be megabytes.
const (
	insertRows  = 100
	insertBytes = 1 << 20
)

// copy gives into every row of from, and tells what that was.
func (t table) copy(ctx context.Context, from, into querier) (extent, error) {
	var values []any
	size := 0
	flush := func() error {
		if len(values) == 0 {
			return nil
		}
		err := t.insert(ctx, into, values)
		values, size = values[:0], 0
		return err
	}
	e, err := t.read(ctx, from, func(row []any) error {
		for _, v := range row {
			if b, ok := v.([]byte); ok {
				size += len(b)
			}
		}
		if values = append(values, row...); len(values) < insertRows*len(row) && size < insertBytes {
			return nil
		}
		return flush()
	})
	return e, firstError(err, flush())
}

// insert adds the rows whose values these are, one row after another.
func (t table) insert(ctx context.Context, into querier, values []any) error {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", t.name, t.columns())
	for i := range values {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%len(t.fields) == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteString(")")
	if _, err := into.exec(ctx, b.String(), values...); err != nil {
		return fmt.Errorf("into the new store: %w", err)
	}
	return nil
}
