package web

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"Claude":                    "Claude",
		" Claude \n\t Desktop ":     "Claude Desktop",
		"a\u202eb\u2066c\u200bd":    "abcd",
		"x\U000e0041y":              "xy",
		"\x1b]8;;http://e\x07link":  "]8;;http://elink",
		"z\u0301\u0301\u0301\u0301": "z\u0301\u0301",
		"\xff\xfe":                  "",
		"日本語":                       "日本語",
		strings.Repeat("ä", 100):    strings.Repeat("ä", 20) + "…",
	} {
		if got := clean(20, in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// PI-003: no control, escape, direction, zero-width or tag character is ever shown.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"\x1b]8;;http://evil\x07x\x1b]8;;\x07", "\u202egro.live", "\U000e0041\U000e0042", "a\u200d\u2060b", "\xc3\x28", strings.Repeat("\u0301", 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(40, s)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 41 {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if unicode.In(r, unicode.C) || unicode.IsSpace(r) && r != ' ' {
				t.Errorf("%q holds %U", got, r)
			}
		}
	})
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for got, want := range map[string]string{
		ago(now, time.Time{}):               "never",
		ago(now, now.Add(-30*time.Second)):  "just now",
		ago(now, now.Add(-time.Minute)):     "1 minute ago",
		ago(now, now.Add(-50*time.Hour)):    "2 days ago",
		until(now, now.Add(90*time.Minute)): "in 1 hour",
		until(now, now):                     "ended",
		until(now, time.Time{}):             "no end",
		moment(now, now.Add(-2*time.Hour)):  "2 hours ago · 10:00 UTC",
		moment(now, now.Add(-72*time.Hour)): "3 days ago · 20 Nov 2026, 12:00 UTC",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
