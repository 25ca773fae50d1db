package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
		return nil, err
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

// dropAnchor writes where our chain stands into the file, when it has moved. What
// other processes wrote stays. An anchor that does not verify is left as evidence.
func (l *Log) dropAnchor() error {
	l.mu.Lock()
	now, before := l.chain, l.anchored
	l.mu.Unlock()
	if l.db.dir == "" || now.seq == 0 || now.writer == before.writer && now.seq == before.seq {
		return nil
	}
	if err := l.remember(now); err != nil {
		return err
	}
	l.mu.Lock()
	l.anchored = now
	l.mu.Unlock()
	return nil
}

// remember writes those places into the file that are behind what it says of their chain.
func (l *Log) remember(places ...chain) error {
	lock, err := lockFile(filepath.Join(l.db.dir, anchorFile+".lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	anchor, err := l.readAnchor()
	if err != nil {
		return err
	}
	moved := false
	for _, c := range places {
		if anchor[c.writer].seq < c.seq {
			anchor[c.writer], moved = c, true
		}
	}
	if !moved {
		return nil
	}
	return l.writeAnchor(anchor)
}

func (l *Log) writeAnchor(anchor map[string]chain) error {
	var b bytes.Buffer
	for _, writer := range slices.Sorted(maps.Keys(anchor)) {
		c := anchor[writer]
		fmt.Fprintf(&b, "%s %d %x\n", c.writer, c.seq, c.mac)
	}
	proof := l.mac(append([]byte("anchor"), b.Bytes()...))
	fmt.Fprintf(&b, "%x\n", proof)
	return writeFile(filepath.Join(l.db.dir, anchorFile), &b)
}
