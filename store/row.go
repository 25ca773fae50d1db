package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/latchpost/latchpost/auth"
)

// querier is a pool, a transaction, or prepared statements on one of them.
type querier interface {
	ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

type scanner interface{ Scan(dest ...any) error }

// collect reads all rows of a query.
func collect[T any](ctx context.Context, q querier, scan func(scanner) (T, error), text string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, text, args...)
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
	rows, err := q.QueryContext(ctx, text, args...)
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
	result, err := q.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return miss
	}
	return err
}

// statements prepares each text once and keeps it.
type statements struct {
	prepare func(ctx context.Context, text string) (*sql.Stmt, error)

	mu     sync.RWMutex
	byText map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, text string) (*sql.Stmt, error) {
	s.mu.RLock()
	stmt := s.byText[text]
	s.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.byText[text]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	if s.byText == nil {
		s.byText = map[string]*sql.Stmt{}
	}
	s.byText[text] = stmt
	return stmt, nil
}

// close is for statements on one connection, which does not close them itself.
func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stmt := range s.byText {
		stmt.Close()
	}
	clear(s.byText)
}

func (s *statements) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	stmt, err := s.get(ctx, text)
	if err := firstError(err, storable(args)); err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (s *statements) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	stmt, err := s.get(ctx, text)
	if err := firstError(err, storable(args)); err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

var errUnstorable = auth.ErrInvalid.Say("a value holds bytes that are not text; write it in UTF-8 without NUL")

// storable refuses for SQLite what PostgreSQL refuses: text that is not UTF-8 or holds NUL.
func storable(args []any) error {
	for _, arg := range args {
		if s, ok := arg.(string); ok && unclean(s) {
			return errUnstorable
		}
	}
	return nil
}

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

func unlist(s string) (l []string, err error) {
	if s == "" {
		return nil, nil
	}
	return l, json.Unmarshal([]byte(s), &l)
}

func undict(s string) (m map[string]string, err error) {
	if s == "" {
		return nil, nil
	}
	return m, json.Unmarshal([]byte(s), &m)
}
