package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/store"
)

// forged is what would end a line and begin another one, in a log, a table or JSON, or take over a terminal.
var forged = []string{
	"a\nb", "a\r\n2026-01-01T00:00:00Z  call  allow", "\x1b[2Ja", "\x1b]0;owned\x07", "\x9b31m", `"},{"kind":"grant`, "a\tb\tc", "\u2028\u2029\u0085", "\u202egrant", "\x00", "\xff\xfe", "\x7f",
}

// AU-007: whatever a client calls itself, asks for and brings along, one event is one line wherever the record is read, and one
// message one line of the log; nothing in it moves a terminal's cursor.
func TestLogInjection(t *testing.T) {
	keepCanary(t, func(c *canary) {
		c.connect(map[string]any{"provider": "practice"}, &authtest.Browser{})
		harmful := func(r rune) bool { return r != '\n' && r != unicode.ReplacementChar && !unicode.IsPrint(r) }
		lines := func(text string) []string {
			t.Helper()
			if i := strings.IndexFunc(text, harmful); i >= 0 {
				t.Errorf("harmful: %q", text[max(0, i-60):min(len(text), i+60)])
			}
			return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
		for _, s := range forged {
			for _, args := range []map[string]any{
				{"provider": s, "path": "/me"}, {"provider": "practice", "path": "/" + s}, {"provider": "practice", "url": s}, {"provider": "practice", "path": "/me", "account": s},
				{"provider": "practice", "path": "/me", "method": s}, {"provider": "practice", "path": "/me", "query": map[string]any{s: s}},
				{"provider": "practice", "path": "/me", "headers": map[string]any{"Accept": s, "User-Agent": s}},
			} {
				_, _, _ = c.agent.Call(t.Context(), "call_api", args) // a broken string may not get as far as an answer
			}
			for _, call := range []auth.Call{{Provider: s, Path: "/me"}, {Provider: "practice", Method: s, Path: "/me"}, {Provider: "practice", Path: "/me"}} {
				_, _ = c.vault.Call(t.Context(), auth.Caller{Owner: auth.Local, Client: s}, call)
			}
			lines(c.says(exitDone, "audit", "tail", "--json"))
			tail := lines(c.says(exitDone, "audit", "tail"))
			for _, line := range tail[1:] {
				if at, _, _ := strings.Cut(line, " "); len(at) != len("2026-01-01T00:00:00Z") {
					t.Errorf("%q made a line that is no event: %q", s, line)
				}
			}
		}
		verified := func() store.Report {
			t.Helper()
			report, err := c.audit.Verify(t.Context())
			if err != nil || len(report.Faults) > 0 {
				t.Fatalf("%+v, %v", report, err)
			}
			return report
		}
		report := verified()
		export := lines(c.says(exitDone, "audit", "export"))
		for now := verified(); now.Events != report.Events; now = verified() { // outcomes come a little later
			report, export = now, lines(c.says(exitDone, "audit", "export"))
		}
		if int64(len(export)) != report.Events {
			t.Errorf("%d lines for %d events", len(export), report.Events)
		}
		for _, line := range export {
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
		lines(c.says(exitDone, "list"))
		for _, line := range lines(c.out.String()) {
			if !strings.HasPrefix(line, "time=") {
				t.Errorf("a line that is no message: %q", line)
			}
		}
	})
}

// AU-007, for whatever the record and the log are given: one event is one line of both tables, of the export and of the log, with
// nothing in it that ends a line or moves a cursor, and the JSON says what was recorded.
func FuzzLogInjection(f *testing.F) {
	for _, s := range forged {
		f.Add("agent", s)
		f.Add(s, "/me")
	}
	db, err := store.Open(f.Context(), store.Options{URL: "sqlite:" + filepath.Join(f.TempDir(), "latchpost.db"), Dir: f.TempDir(), Ballast: -1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { db.Close() })
	audit := db.AuditLog(func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] })
	if err := audit.Append(f.Context(), auth.Event{ID: rand.Text(), At: time.Now(), Kind: "begin"}); err != nil {
		f.Fatal(err)
	}
	unknown := regexp.MustCompile("[\x00\ufffd]+") // no database takes NUL, and what is no UTF-8 is told as such
	said := func(text string) string {
		return unknown.ReplaceAllString(strings.ToValidUTF8(text, "\ufffd"), "\ufffd")
	}
	harmful := func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
	}
	f.Fuzz(func(t *testing.T, name, what string) {
		var out bytes.Buffer
		s := &settings{out: &out, err: &out, logLevel: "info"}
		s.token.user = rand.Text()
		h := &house{settings: s, vault: &auth.Vault{Audit: audit}}
		lines := func(where string, want int) []string {
			t.Helper()
			text := out.String()
			out.Reset()
			all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			if strings.ContainsFunc(text, harmful) || len(all) != want {
				t.Fatalf("%s: %d lines, and not %d, or not plain: %q", where, len(all), want, text)
			}
			return all
		}
		if _, err := audit.Trim(t.Context(), time.Now().Add(time.Hour)); err != nil { // which is the one event beside ours
			t.Fatal(err)
		}
		e := auth.Event{ID: rand.Text(), At: time.Now(), Owner: s.owner(), Client: name, Kind: what, Provider: name, Decision: what, Detail: map[string]string{"path": what, "account": name, what: name}}
		if err := audit.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(h.tailAudit(t.Context()))
		lines("audit tail", 3)
		s.json = true
		must(h.tailAudit(t.Context()))
		tail := lines("audit tail --json", 2)
		must(audit.Export(t.Context(), &out))
		for _, all := range [][]string{tail, lines("audit export", 2)} {
			if !slices.ContainsFunc(all, func(line string) bool {
				var got struct{ Client, Kind string }
				must(json.Unmarshal([]byte(line), &got))
				return said(got.Client) == said(name) && said(got.Kind) == said(what)
			}) {
				t.Fatalf("%q says nowhere %q of %q", all, what, name)
			}
		}
		log, err := s.logger()
		must(err)
		log.Info(what, what, name, slog.Group(name, "error", errors.New(what), "words", []string{what}))
		lines("the log", 1)
	})
}

// dying is a log whose process ends before the outcome of a call is written.
type dying struct{ auth.AuditLog }

func (dying) Later(...auth.Event) {}

// AU-002: a call whose outcome is missing reads as unknown, for people and for programs; one that has ended does not.
func TestMissingOutcome(t *testing.T) {
	keepCanary(t, func(c *canary) {
		c.connect(map[string]any{"provider": "practice"}, &authtest.Browser{})
		c.do("call_api", map[string]any{"provider": "practice", "path": "/me"})
		c.looks("/activity?kind=call", "/api/v1/events?kind=call")
		if got := c.pages.String() + c.says(exitDone, "audit", "tail"); strings.Contains(got, "unknown") {
			t.Errorf("a call that has ended reads as unknown: %s", got)
		}
		inner := c.vault.Audit
		c.vault.Audit = dying{inner}
		c.do("call_api", map[string]any{"provider": "practice", "path": "/repos"})
		c.vault.Audit = inner
		c.do("call_api", map[string]any{"provider": "practice", "path": "/me"})
		c.looks("/activity?kind=call", "/api/v1/events?kind=call")
		for where, text := range map[string]string{
			"/activity": `<span class="tag">unknown</span>`, "/api/v1/events": `"outcome":"unknown"`,
		} {
			if n := strings.Count(c.pages.String(), text); n != 1 {
				t.Errorf("%s: %d calls read as unknown", where, n)
			}
		}
		for flag, text := range map[string]string{"--json": `"outcome":"unknown"`, "--json=false": "outcome=unknown"} {
			if got := c.says(exitDone, "audit", "tail", flag); strings.Count(got, text) != 1 {
				t.Errorf("audit tail %s: %s", flag, got)
			}
		}
	})
}
