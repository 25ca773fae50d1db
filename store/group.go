package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	groupQueue = 1024 // writes that may wait; the next one blocks
	groupSize  = 256  // writes in one transaction

	groupLinger = 5 * time.Millisecond // for writes that nobody waits for
)

var errClosed = errors.New("the store is closed")

// group commits writes together: whatever waits while one transaction goes to disk
// becomes the next one, so sixteen callers share one fsync. One goroutine, one
// connection, hence no two writers that starve each other. A write that fails
// undoes itself and no other.
type group struct {
	begin  func(ctx context.Context) (transaction, error)
	fatal  func(error) bool // after such an error of Commit nothing is written until a job that mends
	reopen func() error     // before such a job; nil when nothing is fatal
	leave  bool             // who waits for a record need not wait for its transaction: another machine may have it

	queue   chan *job
	done    chan struct{}
	mu      sync.RWMutex // closed against senders
	closed  bool
	commits atomic.Int64
	broken  atomic.Pointer[error] // why nothing is written; nil while there is no reason
	failure atomic.Pointer[error] // the last broken that was not nil
	mending *error                // broken, when the transaction that runs was begun
	refused atomic.Pointer[error] // why the last transaction found no room, not its turn or no server that answers and writes; nil after one that did
}

// transaction is one that has begun.
type transaction interface {
	querier
	// of says whose rows the statements that follow may change.
	of(slot int)
	Commit() error
	Rollback() error
}

// job is one write: run, or events for a log.
type job struct {
	run    func(ctx context.Context, q querier) error
	slot   int // of the owner whose connections, grants and tokens run changes, everyone (0), or nobodys
	log    *Log
	events []entry
	mends  bool // is tried also when nothing is written, on a handle opened anew; its commit ends that

	state  atomic.Int32 // waiting, started or abandoned
	result chan error   // nil: nobody waits
	err    error
}

const (
	waiting = iota
	started
	abandoned
)

func newGroup(begin func(context.Context) (transaction, error), fatal func(error) bool, reopen func() error) *group {
	g := &group{begin: begin, fatal: fatal, reopen: reopen, queue: make(chan *job, groupQueue), done: make(chan struct{})}
	go g.loop()
	return g
}

// do waits until j is on disk. When ctx ends before j has started it is dropped.
func (g *group) do(ctx context.Context, j *job) error {
	j.result = make(chan error, 1)
	if err := g.send(ctx, j); err != nil {
		return err
	}
	select {
	case err := <-j.result:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, abandoned) || g.leave && j.log != nil { // what is on record and was not done is no harm
			return ctx.Err()
		}
		return <-j.result
	}
}

// send queues j.
func (g *group) send(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return errClosed
	}
	select {
	case g.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close writes what is queued and ends the goroutine.
func (g *group) close() {
	g.mu.Lock()
	if !g.closed {
		g.closed = true
		close(g.queue)
	}
	g.mu.Unlock()
	<-g.done
}

func (g *group) loop() {
	defer close(g.done)
	var batch []*job
	for j := range g.queue {
		// Whoever can run now may still join; alone, this returns at once.
		runtime.Gosched()
		batch = g.linger(g.gather(append(batch[:0], j)))
		g.commit(batch)
		clear(batch)
	}
}

func (g *group) gather(batch []*job) []*job {
	for len(batch) < groupSize {
		select {
		case j, ok := <-g.queue:
			if !ok {
				return batch
			}
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// linger keeps writes that nobody waits for back a moment, so that they share the
// fsync of one that somebody does: the outcome of a call that of the next call.
func (g *group) linger(batch []*job) []*job {
	if slices.ContainsFunc(batch, awaited) {
		return batch
	}
	enough := time.NewTimer(groupLinger)
	defer enough.Stop()
	for len(batch) < groupSize {
		select {
		case j, ok := <-g.queue:
			if !ok {
				return batch
			}
			if batch = append(batch, j); awaited(j) {
				return g.gather(batch)
			}
		case <-enough.C:
			return batch
		}
	}
	return batch
}

func awaited(j *job) bool { return j.result != nil }

func (g *group) commit(batch []*job) {
	if !slices.ContainsFunc(batch, func(j *job) bool { return j.state.Load() == waiting }) {
		return
	}
	// Another process can keep us waiting here. Until it is our turn, every caller may still leave.
	tx, err := g.enter(batch)
	live := batch[:0]
	for _, j := range batch {
		if j.state.CompareAndSwap(waiting, started) {
			live = append(live, j)
		}
	}
	switch {
	case err != nil:
		g.note(err)
		for _, j := range live {
			j.err = err
		}
	case len(live) == 0:
		tx.Rollback()
	default:
		if err := g.try(tx, live); err != nil {
			for _, j := range live {
				j.err = err
				// The transaction was lost as a whole. Alone, what can be written still is; what may be there is not written twice.
				if len(live) > 1 && g.failed() == nil && !errors.Is(err, ErrSilent) && !errors.Is(err, errInDoubt) {
					if tx, j.err = g.enter([]*job{j}); j.err == nil {
						j.err = g.try(tx, []*job{j})
					}
				}
			}
		}
	}
	for _, j := range live {
		if j.result != nil {
			j.result <- j.err
		} else if j.err != nil && j.log != nil {
			j.log.lost(len(j.events), j.err)
		}
	}
}

// enter begins a transaction for batch.
func (g *group) enter(batch []*job) (transaction, error) {
	g.mending = g.broken.Load()
	if g.mending != nil {
		if !slices.ContainsFunc(batch, func(j *job) bool { return j.mends }) {
			return nil, *g.mending
		}
		if err := g.reopen(); err != nil {
			return nil, g.judge(fmt.Errorf("opening the store again: %w", err))
		}
	}
	return g.begin(context.Background())
}

// try runs batch in tx. A job's own failure stands in its err afterwards; the error is of the
// transaction, and then none of the batch is written.
func (g *group) try(tx transaction, batch []*job) (err error) {
	ctx := context.Background()
	defer func() {
		g.note(err)
		if err != nil {
			tx.Rollback()
		}
	}()
	logs := gatherLogs(batch)
	alone := len(logs) == 1 && !slices.ContainsFunc(batch, func(j *job) bool { return j.run != nil }) || len(batch) == 1
	for _, j := range batch {
		if j.run == nil {
			continue
		}
		tx.of(j.slot)
		if err := within(ctx, tx, alone, func() error { j.err = j.run(ctx, tx); return j.err }); err != nil {
			return err
		}
	}
	for _, part := range logs {
		if err := within(ctx, tx, alone, func() error { return part.write(ctx, tx) }); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return g.judge(err)
	}
	g.commits.Add(1)
	g.broken.CompareAndSwap(g.mending, nil) // unless a checkpoint has failed meanwhile
	for _, part := range logs {
		part.written()
	}
	return nil
}

// judge stops all writing when err says that the handle is not to be trusted any more.
func (g *group) judge(err error) error {
	if err != nil && g.fatal(err) {
		g.failure.Store(&err)
		g.broken.Store(&err)
	}
	return err
}

// note remembers whether writes get through.
func (g *group) note(err error) {
	switch {
	case err == nil && g.refused.Load() != nil:
		g.refused.Store(nil)
	case isFull(err) || isLocked(err) || isUnwritable(err) || errors.Is(err, ErrSilent):
		why := err
		g.refused.Store(&why)
	}
}

// failed is why nothing is written, nil when something is.
func (g *group) failed() error {
	if err := g.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// within undoes fn alone when it fails, by a savepoint; what has the transaction
// for itself (alone) fails it instead.
func within(ctx context.Context, tx transaction, alone bool, fn func() error) error {
	if alone {
		return fn()
	}
	if _, err := tx.exec(ctx, `SAVEPOINT job`); err != nil {
		return err
	}
	err := fn()
	if isUnwritable(err) || errors.Is(err, ErrSilent) { // nor will the others be written, though their commit would pass
		return err
	}
	if err != nil {
		// Fails when the database has rolled the whole transaction back itself.
		if _, err := tx.exec(ctx, `ROLLBACK TO SAVEPOINT job`); err != nil {
			return err
		}
	}
	_, err = tx.exec(ctx, `RELEASE SAVEPOINT job`)
	return err
}
