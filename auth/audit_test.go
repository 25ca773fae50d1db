package auth_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

func jsonLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// record is the audit record as `latchpost audit export` prints it, with everything
// that was queued.
func record(t *testing.T, v *authtest.Vault) string {
	t.Helper()
	settle(t, v)
	var b bytes.Buffer
	if err := v.DB.AuditLog(v.Box.MAC("audit")).Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// settle waits until what was queued is written: events of one group stay in their order.
func settle(t *testing.T, v *authtest.Vault) {
	t.Helper()
	if err := v.Vault.Audit.Append(t.Context(), auth.Event{ID: rand.Text(), Owner: auth.Owner{User: "nobody"}, Kind: "test"}); err != nil {
		t.Fatal(err)
	}
}

// events of the agent's owner, oldest first.
func events(t *testing.T, v *authtest.Vault, kind string) []auth.Event {
	t.Helper()
	settle(t, v)
	all, err := v.Desk(auth.Local).Events(t.Context(), auth.EventFilter{Kind: kind, Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}
