package store

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// notConnected says whether the server of PostgreSQL was not there, or what it said, and what to do next.
func notConnected(host string, err error) error {
	what, next := "does not answer", "see that it runs, and that host and port in the URL are its own"
	said, refused := errors.AsType[*pgconn.PgError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case refused:
		what, next = "refuses the connection", refusals[said.Code]
		if next == "" {
			next = "correct the URL, or the server's settings"
		}
	case strings.Contains(err.Error(), "refused TLS"):
		what, next = "answers without TLS", "turn it on there (ssl = on), or name a server that has it"
	case untrusted:
		what, next = "shows a certificate that does not pass", "name its authority with sslrootcert in the URL, and the host as the certificate does"
	}
	// Of several addresses the driver tells on several lines.
	return because{fmt.Sprintf("store: PostgreSQL on %s %s: %s; %s", host, what, strings.Join(strings.Fields(err.Error()), " "), next), err}
}

// refusals are the answers that people can do something about, by SQLSTATE.
var refusals = map[string]string{
	"3D000": "make the database (createdb), or name another one in the URL",
	"28P01": "correct the user in the URL, and the password in PGPASSWORD or ~/.pgpass",
	"28000": "name a user whom the server lets in from here (pg_hba.conf)",
	"42501": "let the user of the URL use the database (GRANT)",
	"53300": "end processes that use the server, or let it take more (max_connections)",
	"57P03": "try again when it has started",
}
