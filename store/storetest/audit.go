package storetest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

func testAudit(t *testing.T, open func(*testing.T) *store.DB) {
	ctx, o := t.Context(), NewOwner()
	db, other := open(t), open(t)
	log, theirs := db.AuditLog(MAC), other.AuditLog(MAC)
	event := func(n int) auth.Event {
		return auth.Event{
			ID: rand.Text(), Of: "of", At: Now.Add(time.Duration(n) * time.Millisecond), Owner: o, Client: "agent", Kind: "call", Provider: "github",
			Connection: fmt.Sprint("c", n%2), Request: "r", Decision: "allow", Detail: map[string]string{"host": "api", "path": "/x"},
		}
	}

	t.Run("come back newest first, in a chain", func(t *testing.T) {
		var sent []auth.Event
		for n := range 4 {
			sent = append(sent, event(n))
		}
		must(t, log.Append(ctx, sent[0], sent[1]))
		must(t, log.Append(ctx))
		must(t, log.Append(ctx, sent[2]))
		log.Later(sent[3])
		must(t, log.Append(ctx, auth.Event{ID: "behind", Owner: NewOwner()}))
		got, err := log.Events(ctx, o, auth.EventFilter{})
		must(t, err)
		equal(t, len(got), 4)
		for i, e := range got {
			equal(t, e.Seq, got[0].Seq-int64(i))
			equal(t, len(e.MAC), 32)
			e.Writer, e.Seq, e.MAC = "", 0, nil
			equal(t, e, sent[3-i])
		}
		for _, c := range []struct {
			f    auth.EventFilter
			want int
		}{
			{auth.EventFilter{Connection: "c1"}, 2},
			{auth.EventFilter{Client: "agent", Kind: "call"}, 4},
			{auth.EventFilter{Client: "other"}, 0},
			{auth.EventFilter{Kind: "refresh"}, 0},
			{auth.EventFilter{Since: Now.Add(time.Millisecond)}, 3},
			{auth.EventFilter{Before: Now.Add(time.Millisecond)}, 1},
			{auth.EventFilter{Limit: 3}, 3},
		} {
			got, err := theirs.Events(ctx, o, c.f)
			must(t, err)
			equal(t, len(got), c.want)
		}
	})
	t.Run("many writers, one unbroken log", func(t *testing.T) {
		before, err := log.Verify(ctx)
		must(t, err)
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for n := range 10 {
					if err := []*store.Log{log, theirs}[i%2].Append(ctx, event(n), event(n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		report, err := log.Verify(ctx)
		must(t, err)
		equal(t, report.Faults, nil)
		equal(t, report.Events, before.Events+320)
	})
	// AU-007: one event is one line, whatever is in it.
	t.Run("export, a line each", func(t *testing.T) {
		e := event(9)
		e.Client, e.Detail = "a\nb\x1b[31m\"},{\u0085\u009b31m\u202e\U000e0041", map[string]string{"path": "/\r\n\u2028"}
		must(t, log.Append(ctx, e))
		var out bytes.Buffer
		must(t, log.Export(ctx, &out))
		report, err := log.Verify(ctx)
		must(t, err)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		equal(t, int64(len(lines)), report.Events)
		found := false
		for _, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("a line holds a control character: %q", line)
			}
			var got struct {
				ID, Client string
				Detail     map[string]string
			}
			must(t, json.Unmarshal([]byte(line), &got))
			if got.ID == e.ID {
				found = true
				equal(t, got.Client, e.Client)
				equal(t, got.Detail, e.Detail)
			}
		}
		equal(t, found, true)
	})
	t.Run("what is trimmed is gone, the rest verifies", func(t *testing.T) {
		old := NewOwner()
		for n := range 4 {
			e := event(n)
			e.Owner, e.At = old, Now.Add(-48*time.Hour)
			must(t, open(t).AuditLog(MAC).Append(ctx, e)) // each may continue a chain or begin one
		}
		before, err := log.Verify(ctx)
		must(t, err)
		removed, err := log.Trim(ctx, Now.Add(-24*time.Hour))
		must(t, err)
		after, err := log.Verify(ctx)
		must(t, err)
		equal(t, after.Faults, nil)
		equal(t, after.Events, before.Events-removed+1)
		equal(t, after.Trimmed, before.Trimmed+removed)
		told, err := log.Events(ctx, auth.Owner{}, auth.EventFilter{Kind: "audit.trim"})
		must(t, err)
		equal(t, len(told), 1)
		equal(t, told[0].Detail, map[string]string{"events": fmt.Sprint(removed), "until": Now.Add(-24 * time.Hour).UTC().Format(time.RFC3339)})
		must(t, log.Append(ctx, event(1)))
		must(t, theirs.Append(ctx, event(1)))
		after, err = theirs.Verify(ctx)
		must(t, err)
		equal(t, after.Faults, nil)
		_, err = log.Trim(ctx, time.Now().Add(time.Hour)) // all of it
		must(t, err)
		must(t, log.Append(ctx, event(1)))
		after, err = log.Verify(ctx)
		must(t, err)
		equal(t, after.Faults, nil)
		equal(t, after.Events, int64(2)) // the other one says that it was trimmed
	})
}
