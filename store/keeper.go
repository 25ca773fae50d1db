package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// idleSeconds without a write before the WAL is cut to nothing.
const idleSeconds = 5

// keeper does, once a second, what would otherwise slow a write down: it gives audit
// events rows of their own, moves the WAL into the file, writes the anchor of the audit log and
// restores the ballast.
type keeper struct {
	commits int64 // of the group when the WAL was last folded in
	idle    int   // seconds since
	seconds int
	gone    bool
	anchor  said
	ballast said
	outage
}

// said is what was logged last of something that is tried again and again.
type said string

// news reports whether err is to be logged: another one than the last time.
func (s *said) news(err error) bool {
	var text said
	if err != nil {
		text = said(err.Error())
	}
	fresh := text != "" && text != *s
	*s = text
	return fresh
}

// outage is a disk that fails writes.
type outage struct {
	seen  *error // the failure of the group that is on record in the store
	since time.Time
	pause int // seconds between two tries
	next  int // second of the next one
}

func (k *keeper) tick(ctx context.Context, db *DB) {
	k.seconds++
	if db.file != nil {
		if k.look(db); k.gone {
			return
		}
		k.mend(ctx, db)
	}
	k.try(ctx, db)
	var anchor error
	for _, l := range db.audits() {
		anchor = firstError(anchor, l.dropAnchor())
		db.missed(ctx, "audit events not sorted in", l.spread(ctx))
	}
	if k.anchor.news(anchor) {
		db.log().Warn("audit anchor not written", "error", anchor)
	}
	db.missed(ctx, "times of use not noted", db.noteUses(ctx))
	if db.file == nil {
		return
	}
	if counts := db.file.changes.Load(); counts != nil && !counts.stand(db.file.path) {
		db.countChanges() // somebody deleted the file: other processes may count in another one
	}
	if err := k.checkpoint(ctx, db); err != nil && ctx.Err() == nil {
		db.log().Warn("checkpoint", "error", err)
	}
	if k.seconds%60 == 1 {
		if err := db.layBallast(); k.ballast.news(err) {
			db.log().Warn("no ballast for a full disk", "error", err)
		}
	}
}

// look tells once that the file is gone, and once that it is back.
func (k *keeper) look(db *DB) {
	was := k.gone
	k.gone = db.file.gone()
	switch {
	case k.gone && !was:
		db.log().Error("the store cannot be written", "path", db.file.path, "error", ErrGone)
	case was && !k.gone:
		db.log().Warn("the store's file is where it was again; whatever was refused meanwhile has to be asked for again", "path", db.file.path)
	}
}

// missed warns of work that was not done, for another reason than that the store ends, that its disk is
// full or has failed, or that PostgreSQL takes no writes or does not answer: those are told elsewhere.
func (db *DB) missed(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil && !isFull(err) && !errors.Is(err, ErrBroken) && !isUnwritable(err) && !errors.Is(err, ErrSilent) {
		db.log().Warn(what, "error", err)
	}
}

// slowest is how many seconds pass at most until a failed disk is tried again.
const slowest = 60

// Both stand in meta, as unix milliseconds, and are of one disk.
const (
	failedAt = "disk_failed_at"
	triedAt  = "tried_at"
)

// mend tries a disk that has failed a write, with growing pauses, by a note of that failure for doctor.
func (k *keeper) mend(ctx context.Context, db *DB) {
	failure := db.group.failure.Load()
	if failure == k.seen || k.seconds < k.next {
		return
	}
	if k.since.IsZero() {
		k.since = db.now()
		db.log().Error("the disk failed during a write; nothing is released until one succeeds", "error", *failure)
	}
	err := db.group.do(ctx, &job{mends: true, run: func(ctx context.Context, q querier) error {
		return setMeta(ctx, q, failedAt, strconv.FormatInt(ms(k.since), 10))
	}})
	if err != nil {
		k.pause = min(2*k.pause+1, slowest)
		k.next = k.seconds + k.pause
		if ctx.Err() == nil {
			db.log().Error("the disk still fails", "error", err, "seconds_to_next_try", k.pause)
		}
		return
	}
	db.log().Warn("the disk takes writes again; whatever was refused meanwhile has to be asked for again", "failed_at", k.since)
	k.outage = outage{seen: failure}
}

// try writes now and then as long as writes find no room, or not their turn: where nobody else asks, nobody would see that it is
// over. It leaves the room of the ballast alone.
func (k *keeper) try(ctx context.Context, db *DB) {
	if db.group.refused.Load() == nil || k.seconds%5 != 0 {
		return
	}
	if db.pg != nil {
		db.pg.renew()
	}
	_ = db.SetMeta(ctx, triedAt, strconv.FormatInt(ms(db.now()), 10)) // Failed tells
}

// FailedAt is when the disk last failed a write that one of the store's processes told of; zero for never.
func (db *DB) FailedAt(ctx context.Context) (time.Time, error) {
	value, err := db.Meta(ctx, failedAt)
	if errors.Is(err, auth.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	n, err := strconv.ParseInt(value, 10, 64)
	return at(n), err
}

func (k *keeper) checkpoint(ctx context.Context, db *DB) error {
	if now := db.group.commits.Load(); now != k.commits {
		k.commits, k.idle = now, 0
		_, err := db.checkpoint(ctx, "PASSIVE")
		return err
	}
	if k.idle++; k.idle != idleSeconds {
		return nil
	}
	done, err := db.checkpoint(ctx, "TRUNCATE")
	if err == nil && !done {
		k.idle-- // again in a second
	}
	return err
}

// checkpoint moves the WAL into the file: PASSIVE leaves what readers still need, TRUNCATE leaves
// nothing, or is not done. Neither waits for anybody: TRUNCATE would wait for readers as their writer, and keep
// every process from writing meanwhile.
func (db *DB) checkpoint(ctx context.Context, how string) (done bool, err error) {
	if db.group.failed() != nil {
		return true, nil // what is in the WAL stays there for the next process
	}
	err = db.file.keeper.use(ctx, func(c *sqliteConn) error {
		c.SetBusyTimeout(0)
		defer c.SetBusyTimeout(busyTimeout)
		busy, err := first(ctx, c, func(s scanner) (busy int, err error) {
			var skip int
			return busy, s.Scan(&busy, &skip, &skip)
		}, `PRAGMA wal_checkpoint(`+how+`)`)
		if err == nil {
			done = *busy == 0
		}
		return err
	})
	return done, db.group.judge(err)
}
