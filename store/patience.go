package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgPatience is how long PostgreSQL may take for one answer within a transaction. A machine that goes away without a word (a power cut, a
// network that swallows everything) would else keep all that want to write for many minutes.
const pgPatience = 15 * time.Second

// pgDialer notices, by the kernel, that nobody is at the other end any more.
func pgDialer() *net.Dialer {
	return &net.Dialer{
		Timeout: pgPatience, Control: giveUp,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pgPatience / 3, Interval: pgPatience / 3, Count: 2},
	}
}

// postgresTx is a transaction that is given up when an answer does not come.
type postgresTx struct {
	overSQL
	pg    *postgres
	tx    *sql.Tx
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer // nil: it may take as long as it takes
}

func (p *postgres) start(ctx context.Context, opt *sql.TxOptions) (*postgresTx, error) {
	t := &postgresTx{pg: p}
	t.ctx, t.end = context.WithCancelCause(ctx)
	if p.patience > 0 {
		t.timer = time.AfterFunc(p.patience, func() { t.end(ErrSilent) })
	}
	var err error
	if t.tx, err = p.pool.BeginTx(t.ctx, opt); err != nil {
		err = t.why(err)
		t.over()
		return nil, err
	}
	t.overSQL = overSQL{t.tx}
	return t, nil
}

func (*postgresTx) of(int) {} // nobody remembers what another machine may change

// asks begins the wait for another answer.
func (t *postgresTx) asks() {
	if t.timer != nil && t.ctx.Err() == nil {
		t.timer.Reset(t.pg.patience)
	}
}

// why puts before err that the server was silent, if that is why. Sessions that rest are probably of the same server.
func (t *postgresTx) why(err error) error {
	if err == nil || !errors.Is(context.Cause(t.ctx), ErrSilent) || errors.Is(err, ErrSilent) {
		return err
	}
	t.pg.renew()
	return fmt.Errorf("%w (%w)", ErrSilent, err)
}

func (t *postgresTx) over() {
	if t.timer != nil {
		t.timer.Stop()
	}
	t.end(nil)
}

func (t *postgresTx) exec(_ context.Context, text string, args ...any) (int64, error) {
	t.asks()
	n, err := t.overSQL.exec(t.ctx, text, args...)
	return n, t.why(err)
}

func (t *postgresTx) query(_ context.Context, text string, args ...any) (rows, error) {
	t.asks()
	r, err := t.overSQL.query(t.ctx, text, args...)
	if err != nil {
		return nil, t.why(err)
	}
	return patientRows{r, t}, nil
}

type patientRows struct {
	rows
	tx *postgresTx
}

func (r patientRows) Err() error { return r.tx.why(r.rows.Err()) }

// Commit gives an error that is errInDoubt when nobody knows what became of it.
func (t *postgresTx) Commit() error {
	t.asks()
	err := t.why(t.tx.Commit())
	t.over()
	if inDoubt(err) {
		return fmt.Errorf("%w (%w)", errInDoubt, err)
	}
	return err
}

var errInDoubt = errors.New("the connection was lost while PostgreSQL committed: whether it did is not known")

// inDoubt: after this error of a COMMIT it may stand. One that answers no is undone; one that is shut down may have committed before.
// pgconn.SafeToRetry is no help: it says yes of a COMMIT whose answer was lost.
func inDoubt(err error) bool {
	code := pgCode(err)
	shut := code == "" || strings.HasPrefix(code, "57P0") || strings.HasPrefix(code, "08")
	return err != nil && shut && !errors.Is(err, pgx.ErrTxCommitRollback)
}

func (t *postgresTx) Rollback() error {
	t.asks()
	err := t.tx.Rollback()
	t.over()
	return err
}
