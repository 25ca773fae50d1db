package auth

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

const maxLifetime = 10 * 365 * 24 * time.Hour

// expiry of the access token: as told, else as the definition assumes, else zero. It counts from the
// moment the request was sent.
func (t *tokens) expiry(sentAt time.Time) time.Time {
	r := t.def.Response
	if d := lifetime(t.doc.first(orPaths(r.ExpiresIn, "expires_in")), r.Unit); d > 0 {
		return sentAt.Add(d).UTC().Round(0)
	}
	if at := moment(t.doc.first(r.ExpiresAt), r.Unit); at.After(sentAt) {
		return earliest(at, sentAt.Add(maxLifetime)).UTC()
	}
	if r.AssumeTTL > 0 {
		return sentAt.Add(seconds(r.AssumeTTL)).UTC().Round(0)
	}
	return time.Time{}
}

// refreshExpiry is when the person has to sign in again: as told, or as the
// definition knows.
func (t *tokens) refreshExpiry(sentAt time.Time) time.Time {
	if d := lifetime(t.doc.first(orPaths(t.def.Response.RefreshExpiresIn, "refresh_token_expires_in")), t.def.Response.Unit); d > 0 {
		return sentAt.Add(d).UTC().Round(0)
	}
	if t.refresh == "" {
		return time.Time{}
	}
	var at time.Time
	for _, life := range []int{t.def.Refresh.LifeS, t.def.Refresh.IdleS} {
		if life > 0 {
			at = earliest(sentAt.Add(seconds(life)), at)
		}
	}
	return at.UTC().Round(0)
}

// earliest of two moments; the zero one means never.
func earliest(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// lifetime reads a number of seconds in every form that servers send. What makes no
// sense is 0, unknown; more than ten years is ten years.
func lifetime(v any, unit string) time.Duration {
	n, ok := number(v)
	if !ok || n <= 0 {
		return 0
	}
	scale := time.Second
	if unit == "ms" {
		scale = time.Millisecond
	}
	if n >= float64(maxLifetime/scale) {
		return maxLifetime
	}
	return time.Duration(n * float64(scale))
}

// moment reads RFC 3339, or seconds or milliseconds since 1970; zero when it is neither.
func moment(v any, unit string) time.Time {
	if s, ok := v.(string); ok {
		if at, err := time.Parse(time.RFC3339, s); err == nil {
			return at
		}
	}
	n, ok := number(v)
	if !ok || n <= 0 || n > 1e15 {
		return time.Time{}
	}
	if unit == "ms" {
		return time.UnixMilli(int64(n))
	}
	return time.UnixMilli(int64(math.Min(n, 1e12) * 1000))
}

func number(v any) (float64, bool) {
	var s string
	switch v := v.(type) {
	case json.Number:
		s = v.String()
	case string:
		s = v
	}
	if s == "" || strings.Trim(s, "0123456789.eE+-") != "" { // ParseFloat also knows hex, inf and underscores
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}
