//go:build !unix

package storetest

import "testing"

// Postgres skips t: the server would be on a unix socket.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	t.Skip("PostgreSQL is started for tests on Unix only")
	return ""
}
