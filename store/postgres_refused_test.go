package store

import (
	"errors"
	"strings"
	"testing"
)

// A server without TLS has answered, and is told on one line.
func TestPostgresWithoutTLS(t *testing.T) {
	err := notConnected("db", errors.New("failed to connect:\n\ttls error: server refused TLS connection"))
	if got := err.Error(); !strings.HasPrefix(got, "store: PostgreSQL on db answers without TLS: ") || !strings.Contains(got, "ssl = on") || strings.Contains(got, "\n") {
		t.Error(got)
	}
}
