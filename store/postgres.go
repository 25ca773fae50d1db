package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is the PostgreSQL side of a DB. Every write is one SERIALIZABLE
// transaction that is tried again when another one was in its way: so a method is
// right when it is right alone, as with SQLite's one writer.
type postgres struct {
	pool     *sql.DB
	patience time.Duration // for each answer within a transaction; 0 = as long as it takes
}

const (
	postgresConns = 8 // measured: 4 serve nine tenths of what 16 do
	postgresTries = 20
)

func (db *DB) openPostgres(ctx context.Context) error {
	config, err := pgx.ParseConfig(db.opt.URL)
	if err != nil {
		return errors.New("store URL: not a PostgreSQL URL; use postgres://user@host/database?sslmode=verify-full") // the cause may show the password
	}
	if db.opt.ReadOnly {
		return errors.New("store: read-only is for a SQLite file; with PostgreSQL use a server that can be written")
	}
	if !db.opt.UnsafePlaintext {
		if err := refusePlaintext(config); err != nil {
			return err
		}
	}
	if db.dir != "" {
		if err := privateDir(db.dir, false); err != nil {
			return err
		}
	}
	name := pgName(db.id) + " " + config.RuntimeParams["application_name"] // by which others see that this process is here
	config.RuntimeParams["application_name"] = strings.TrimSpace(name)
	config.DialFunc = pgDialer().DialContext
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(postgresConns)
	pool.SetMaxIdleConns(postgresConns)
	db.pg = &postgres{pool: pool}
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return notConnected(config.Host, err)
	}
	db.group = newGroup(db.pg.begin, func(error) bool { return false }, nil)
	db.group.leave = true
	if err := firstError(db.migrate(ctx), db.enroll(ctx)); err != nil {
		db.group.close()
		pool.Close()
		return fmt.Errorf("store: %w", db.explain(err))
	}
	db.pg.patience = pgPatience // a migration takes as long as it takes
	db.keep()
	return nil
}

// refusePlaintext refuses to send the store's rows over a network unencrypted, also
// where the URL only lets it happen (sslmode=prefer falls back).
func refusePlaintext(config *pgx.ConnConfig) error {
	plain := config.TLSConfig == nil && remote(config.Host)
	for _, f := range config.Fallbacks {
		plain = plain || f.TLSConfig == nil && remote(f.Host)
	}
	if plain {
		return fmt.Errorf("store: the connection to PostgreSQL on %s may be unencrypted; add sslmode=verify-full to the URL, or accept the risk with --unsafe-store", config.Host)
	}
	return nil
}

func remote(host string) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// read runs fn outside a transaction, again when the connection was lost.
func (p *postgres) read(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return p.again(ctx, func() (retry bool, err error) {
		err = fn(ctx, overSQL{p.pool})
		return passing(err), err
	})
}

// write runs fn in a transaction, again when it was certainly not committed.
func (p *postgres) write(ctx context.Context, fn func(ctx context.Context, q querier) error) error {
	return p.again(ctx, func() (retry bool, err error) {
		tx, err := p.start(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			return passing(err), err
		}
		defer tx.Rollback()
		if err := fn(tx.ctx, tx); err != nil {
			return passing(err), err
		}
		err = tx.Commit()
		return clashed(err), err
	})
}

func (p *postgres) again(ctx context.Context, once func() (retry bool, err error)) error {
	for try := 1; ; try++ {
		retry, err := once()
		if pgCode(err) == "22021" { // character_not_in_repertoire
			return errUnstorable
		}
		if err == nil || !retry || try == postgresTries {
			return err
		}
		wait := time.NewTimer(rand.N(time.Duration(min(try, 10)) * 4 * time.Millisecond))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}

// begin is for the group, which writes the audit log.
func (p *postgres) begin(ctx context.Context) (transaction, error) {
	var tx *postgresTx
	err := p.again(ctx, func() (_ bool, err error) {
		tx, err = p.start(ctx, nil)
		return passing(err), err
	})
	return tx, err
}

// renew closes the sessions that rest, so that the next ones find the server that takes writes now.
func (p *postgres) renew() {
	p.pool.SetMaxIdleConns(-1)
	p.pool.SetMaxIdleConns(postgresConns)
}

// snapshot runs fn on the rows as they all were at one time.
func (p *postgres) snapshot(ctx context.Context, fn func(q querier) error) error {
	tx, err := p.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	return fn(overSQL{tx})
}

// pgName is what a process of the store calls itself to PostgreSQL.
func pgName(holder string) string { return "latchpost/" + holder }

// alone is for DB.alone. Reading goes on meanwhile; who wants to write waits, and so do we for who does.
func (p *postgres) alone(ctx context.Context, tables []table, fn func(q querier) error) error {
	tx, err := p.pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	q := overSQL{tx}
	if _, err := q.exec(ctx, `SET LOCAL lock_timeout = '30s'`); err != nil {
		return err
	}
	if _, err := q.exec(ctx, `LOCK TABLE `+strings.Join(names, ", ")+` IN EXCLUSIVE MODE`); err != nil {
		return fmt.Errorf("lock the tables, so that nobody else writes meanwhile: %w", err)
	}
	if err := fn(q); err != nil {
		return err
	}
	return tx.Commit()
}

// overSQL makes a querier of a pool or a transaction of database/sql.
type overSQL struct {
	sql interface {
		ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
	}
}

func (o overSQL) exec(ctx context.Context, text string, args ...any) (int64, error) {
	result, err := o.sql.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (o overSQL) query(ctx context.Context, text string, args ...any) (rows, error) {
	r, err := o.sql.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func pgCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isUnwritable: no transaction on this server can write now.
func isUnwritable(err error) bool {
	code := pgCode(err)
	return code == "25006" || code == "53100" // read_only_sql_transaction, disk_full
}

// clashed: another transaction was in the way, this one is undone.
func clashed(err error) bool {
	code := pgCode(err)
	return code == "40001" || code == "40P01"
}

// passing: the same may work on another connection in a moment.
func passing(err error) bool {
	if errors.Is(err, ErrSilent) { // who has waited so long waits no more
		return false
	}
	code := pgCode(err)
	var network net.Error
	// feature_not_supported is what a prepared statement says once the type of one of its columns was changed; pgx prepares it anew.
	return clashed(err) || code == "0A000" || strings.HasPrefix(code, "57P0") || strings.HasPrefix(code, "08") || code == "53300" ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded) || pgconn.SafeToRetry(err)
}
