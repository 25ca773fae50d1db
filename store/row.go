package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth"
)

// querier is a connection, a pool or a transaction.
type querier interface {
	// exec runs a statement and gives how many rows it changed.
	exec(ctx context.Context, text string, args ...any) (int64, error)
	query(ctx context.Context, text string, args ...any) (rows, error)
}

// rows of a query, one after another; Close ends it.
type rows interface {
	scanner
	Next() bool
	Err() error
	Close() error
}

type scanner interface{ Scan(dest ...any) error }

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// first reads the first row of a query; auth.ErrNotFound when there is none.
func first[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) (*T, error) {
	rows, err := q.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, err
		}
		return nil, auth.ErrNotFound
	}
	one, err := scan(rows)
	if err != nil {
		return nil, err
	}
	return &one, rows.Close()
}

// change runs a statement and gives miss when it changed no row.
func change(ctx context.Context, q querier, miss error, text string, args ...any) error {
	n, err := q.exec(ctx, text, args...)
	if err == nil && n == 0 {
		return miss
	}
	return err
}

var errUnstorable = auth.ErrInvalid.Say("a value holds bytes that are not text; write it in UTF-8 without NUL")

func unclean(s string) bool { return strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) }

// clean makes s storable whatever it is.
func clean(s string) string {
	if !unclean(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// ms is how a time stands in a column: unix milliseconds, 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// list and dict are how lists and maps stand in a column: JSON, or nothing for
// nil. An empty list stays one: as the scopes of a token nil means all.
func list(l []string) string {
	if l == nil {
		return ""
	}
	b, _ := json.Marshal(l) // strings always marshal
	return string(b)
}

func dict(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	b, _ := json.Marshal(m)
	return string(b)
}

// unlist and undict undo them. What a fault of the disk has spoilt is an error that keeps its own row out of use, and no
// other: a scan gives it in the state in which it does the least.
func unlist(s string) (l []string, err error) {
	if s == "" {
		return nil, nil
	}
	if l, ok := plain(s, `["`, `"]`, 1); ok {
		return l, nil
	}
	return l, json.Unmarshal([]byte(s), &l)
}

func undict(s string) (m map[string]string, err error) {
	if s == "" {
		return nil, nil
	}
	pairs, ok := plain(s, `{"`, `"}`, 2)
	if !ok {
		return m, json.Unmarshal([]byte(s), &m)
	}
	m = make(map[string]string, len(pairs))
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, `":"`)
		m[key] = value
	}
	return m, nil
}

// plain takes apart what list and dict write for strings that need no escape: nearly
// all, and every read of a connection has four. Each element holds n strings.
func plain(s, open, end string, n int) ([]string, bool) {
	inner, opens := strings.CutPrefix(s, open)
	inner, ends := strings.CutSuffix(inner, end)
	if !opens || !ends || strings.IndexByte(inner, '\\') >= 0 {
		return nil, false
	}
	all := strings.Split(inner, `","`)
	for _, one := range all { // no string has a quote, and between two there is `":"`
		if strings.Count(one, `"`) != 2*(n-1) || n == 2 && !strings.Contains(one, `":"`) {
			return nil, false
		}
	}
	return all, true
}
