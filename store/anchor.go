package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/latchpost/latchpost/auth"
)

// The anchor is a file outside the database that remembers how long each chain
// was: one line for each (writer, seq, MAC) and a MAC over the lines. A bit that
// flips in the WAL makes commits disappear and leaves a database that looks whole;
// the anchor remembers that there were more.
const anchorFile = "audit.anchor"

var errAnchor = errors.New("the audit anchor does not verify: it was changed by hand or written with another key; keep a copy, then delete it")

// readAnchor gives what the anchor says for each writer; an empty map when there is none.
func (l *Log) readAnchor() (map[string]chain, error) {
	anchor := map[string]chain{}
	if l.db.dir == "" {
		return anchor, nil
	}
	data, err := os.ReadFile(filepath.Join(l.db.dir, anchorFile))
	if errors.Is(err, fs.ErrNotExist) {
		return anchor, nil
	}
	if err != nil {
		return nil, anchorTrouble(anchorFile, "read", err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	last := max(0, len(lines)-2) // SplitAfter leaves an empty one behind the last line
	body := bytes.Join(lines[:last], nil)
	if string(lines[last]) != hex.EncodeToString(l.mac(append([]byte("anchor"), body...)))+"\n" {
		return nil, errAnchor
	}
	for _, line := range lines[:last] {
		var c chain
		if _, err := fmt.Sscanf(string(line), "%s %d %x\n", &c.writer, &c.seq, &c.mac); err != nil {
			return nil, errAnchor
		}
		anchor[c.writer] = c
	}
	return anchor, nil
}

// dropAnchor writes where our chain stands into the file, when it has moved, and with it where those of other processes do, on other
// machines too. An anchor that does not verify is left as evidence.
func (l *Log) dropAnchor() error {
	l.mu.Lock()
	now, before := l.chain, l.anchored
	l.mu.Unlock()
	if l.db.dir == "" || now.seq == 0 || now.writer == before.writer && now.seq == before.seq && !l.lacksAnchor() {
		return nil
	}
	places := []chain{now}
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	err := l.db.read(ctx, func(ctx context.Context, q querier) error {
		all, err := heads(ctx, q, `ORDER BY writer`)
		for _, h := range all {
			if h.seq > 0 && l.genuine(h) {
				places = append(places, h.chain)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := l.remember(places...); err != nil {
		return err
	}
	l.mu.Lock()
	l.anchored = now
	l.mu.Unlock()
	return nil
}

func (l *Log) lacksAnchor() bool {
	_, err := os.Lstat(filepath.Join(l.db.dir, anchorFile))
	return errors.Is(err, fs.ErrNotExist)
}

// remember writes those places into the file that are behind what it says of their chain. A file that was there and is gone is
// made anew as we knew it, and that is put on record.
func (l *Log) remember(places ...chain) error {
	lock, err := lockFile(filepath.Join(l.db.dir, anchorFile+".lock"))
	if err != nil {
		return anchorTrouble(anchorFile+".lock", "opened", err)
	}
	defer lock.Close()
	l.mu.Lock()
	known := maps.Clone(l.anchor)
	l.mu.Unlock()
	missing := len(known) > 0 && l.lacksAnchor()
	anchor, err := l.readAnchor()
	if err != nil {
		return err
	}
	moved := missing
	if missing {
		maps.Copy(anchor, known)
	}
	for _, c := range places {
		if anchor[c.writer].seq < c.seq {
			anchor[c.writer], moved = c, true
		}
	}
	if moved {
		if err := l.writeAnchor(anchor); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.anchor = anchor
	l.mu.Unlock()
	if missing {
		l.db.log().Error("the anchor of the audit log was deleted; it is written anew from what this process knew: look who did, and run latchpost audit verify", "path", filepath.Join(l.db.dir, anchorFile))
		l.Later(auth.Event{ID: rand.Text(), At: l.db.now(), Kind: "anchor.missing", Decision: "failed"})
	}
	return nil
}

func (l *Log) writeAnchor(anchor map[string]chain) error {
	var b bytes.Buffer
	for _, writer := range slices.Sorted(maps.Keys(anchor)) {
		c := anchor[writer]
		fmt.Fprintf(&b, "%s %d %x\n", c.writer, c.seq, c.mac)
	}
	proof := l.mac(append([]byte("anchor"), b.Bytes()...))
	fmt.Fprintf(&b, "%x\n", proof)
	if err := writeFile(filepath.Join(l.db.dir, anchorFile), &b); err != nil {
		return anchorTrouble(anchorFile, "written", err)
	}
	return nil
}

// anchorTrouble says what keeps us from a file, and what to do: nobody has changed the record because of that.
func anchorTrouble(name, done string, err error) error {
	next := "see what lies there, and look at the disk (dmesg)"
	switch {
	case errors.Is(err, fs.ErrPermission):
		next = "chown it to the owner of the directory"
	case isNoSpace(err):
		next = "make room on its disk"
	}
	if at, ok := errors.AsType[*fs.PathError](err); ok { // its path may be that of the file that was to take the place
		err = at.Err
	}
	return fmt.Errorf("%s cannot be %s: %w; %s", name, done, err, next)
}
