package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/seal"
)

const (
	agents = 16     // owners with an agent each, who share the rows
	inUse  = 10_000 // connections that are asked for; those between them are only in the way
	listed = 3      // connections of the owner who lists them
	client = "bench"
)

// seeded is a data directory with many connections.
type seeded struct {
	dir    string
	flags  []string // of latchpost serve
	stride int      // every how manieth connection of an owner is in use
	used   int      // connections in use of each owner
	tokens []string // of the agents, and at the end of the one who lists
}

// account names the i-th connection in use of an agent.
func (s *seeded) account(agent, i int) string {
	return fmt.Sprintf("account-%07d", (i%s.used)*s.stride*agents+agent)
}

// newSeeded makes a store with rows connections. One is made by a real sign-in at
// the practice provider, the others are copies of its row in one transaction, with
// its credential sealed again for each row that is in use. The rows between those
// have random bytes of the same length, which nobody can tell from sealed ones.
func newSeeded(b testing.TB, issuer *authtest.Server, upstream *process, rows int) *seeded {
	b.Helper()
	s := &seeded{dir: filepath.Join(b.TempDir(), "data")}
	s.stride = max(1, rows/inUse)
	s.used = rows / agents / s.stride
	_, apiPort, _ := strings.Cut(upstream.address, ":")
	values := vars{"practice.port": port(issuer.URL), "practice.api_port": apiPort}
	s.flags = []string{"--data", s.dir, "--listen", "127.0.0.1:0", "--unsafe-loopback", "--requests-per-second", "0"}
	for name, value := range values {
		s.flags = append(s.flags, "--var", name+"="+value)
	}
	h, err := open(b.Context(), &settings{data: s.dir, listen: "127.0.0.1:0", unsafeLoopback: true, logLevel: "error", err: os.Stderr, vars: values})
	if err != nil {
		b.Fatal(err)
	}
	row, plain := s.connect(b, h, issuer)
	if err := h.db.Close(); err != nil {
		b.Fatal(err)
	}
	if err := s.multiply(b.Context(), h.box, row, plain, rows); err != nil {
		b.Fatal(err)
	}
	return s
}

// connect signs in once, and gives each owner a token and an OAuth app.
func (s *seeded) connect(b testing.TB, h *house, issuer *authtest.Server) (row *auth.Connection, plain []byte) {
	b.Helper()
	ctx := b.Context()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	for n := range agents + 1 {
		owner := auth.Owner{User: fmt.Sprintf("owner-%02d", n)}
		must(h.vault.Desk(owner).SetApp(ctx, "practice", "public", auth.Secret{}, nil))
		token, _, err := h.identity.Tokens.Create(ctx, owner, client, nil, time.Time{})
		must(err)
		s.tokens = append(s.tokens, token.Reveal())
	}
	caller := auth.Caller{Owner: auth.Owner{User: "owner-00"}, Client: client, Verified: true}
	browser := sha256.Sum256([]byte("browser"))
	link, err := requested(h.vault.Request(ctx, caller, auth.Wish{Provider: "practice"}))
	must(err)
	must(finish(ctx, h.vault, issuer, link, browser[:]))
	found, err := h.db.Connections(ctx, caller.Owner, "practice", "")
	must(err)
	plain, err = h.box.Open(sealedAt(&found[0]), found[0].Sealed)
	must(err)
	return &found[0], plain
}

// requested wants a request that waits for a person.
func requested(_ *auth.Info, err error) (id string, _ error) {
	if link, ok := errors.AsType[*auth.AuthRequired](err); ok {
		return link.RequestID, nil
	}
	return "", errors.Join(errors.New("no sign-in is asked for"), err)
}

// finish is the person's part of a sign-in.
func finish(ctx context.Context, v *auth.Vault, issuer *authtest.Server, id string, browser []byte) error {
	person := v.Visit(auth.Visitor{Browser: browser})
	step, err := person.Confirm(ctx, id, auth.Choice{Access: auth.Write})
	if err != nil {
		return err
	}
	back, err := issuer.Approve(ctx, step.Redirect, "alice")
	if err != nil {
		return err
	}
	u, err := url.Parse(back)
	if err != nil {
		return err
	}
	_, err = person.Callback(ctx, "practice", u.Query())
	return err
}

// sealedAt is where package auth seals a credential.
func sealedAt(c *auth.Connection) seal.Place {
	return seal.Place{Table: "connections", User: c.Owner.User, Record: c.ID, Field: "credential", Version: c.Version, Bind: c.Bind, Salt: c.Salt}
}

// multiply writes the copies. Durability is off meanwhile; the server turns it on again.
func (s *seeded) multiply(ctx context.Context, box *seal.Box, row *auth.Connection, plain []byte, rows int) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.dir, "latchpost.db")+"?_journal_mode=OFF&_synchronous=OFF&_pragma=cache_size(-400000)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	copies := map[string]string{
		"user_id": fmt.Sprintf("CASE WHEN n < %d THEN printf('owner-%%02d', n %% %d) ELSE 'owner-%d' END", rows, agents, agents),
		"id":      "hex(randomblob(13))", "account": "printf('account-%07d', n)",
		"sealed": "randomblob(length(t.sealed))",
	}
	if err := s.copy(ctx, tx, "connections", copies, fmt.Sprintf("numbers, connections t WHERE t.id = '%s'", row.ID), rows+listed); err != nil {
		return err
	}
	copies = map[string]string{"user_id": "c.user_id", "id": "hex(randomblob(13))", "connection": "c.id"}
	if err := s.copy(ctx, tx, "grants", copies, "connections c, (SELECT * FROM grants LIMIT 1) t WHERE c.account LIKE 'account-%'", 0); err != nil {
		return err
	}
	if err := s.reseal(ctx, tx, box, row, plain); err != nil {
		return err
	}
	return tx.Commit()
}

// copy inserts what stands in from, with all columns of t but those in changed.
func (s *seeded) copy(ctx context.Context, tx *sql.Tx, table string, changed map[string]string, from string, numbers int) error {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	if err = errors.Join(err, rows.Close()); err != nil {
		return err
	}
	values := make([]string, len(columns))
	for i, column := range columns {
		if values[i] = changed[column]; values[i] == "" {
			values[i] = "t." + column
		}
	}
	with := ""
	if numbers > 0 {
		with = fmt.Sprintf("WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < %d) ", numbers)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") "+with+"SELECT "+strings.Join(values, ", ")+" FROM "+from)
	return err
}

// reseal gives the connections in use a credential that opens.
func (s *seeded) reseal(ctx context.Context, tx *sql.Tx, box *seal.Box, row *auth.Connection, plain []byte) error {
	update, err := tx.PrepareContext(ctx, `UPDATE connections SET salt = ?, sealed = ? WHERE org = '' AND user_id = ? AND provider = 'practice' AND account = ? AND state <> 'revoked' RETURNING id`)
	if err != nil {
		return err
	}
	find, err := tx.PrepareContext(ctx, `SELECT id FROM connections WHERE org = '' AND user_id = ? AND provider = 'practice' AND account = ? AND state <> 'revoked'`)
	if err != nil {
		return err
	}
	for agent := range agents {
		for i := range s.used {
			c := *row
			c.Owner.User, c.Account, c.Salt = fmt.Sprintf("owner-%02d", agent), s.account(agent, i), make([]byte, 32)
			rand.Read(c.Salt)
			if err := find.QueryRowContext(ctx, c.Owner.User, c.Account).Scan(&c.ID); err != nil {
				return err
			}
			sealed, err := box.Seal(sealedAt(&c), plain)
			if err != nil {
				return err
			}
			if err := update.QueryRowContext(ctx, c.Salt, sealed, c.Owner.User, c.Account).Scan(&c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
