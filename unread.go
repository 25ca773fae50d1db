package main

import (
	"bytes"
	"os"
	"sync"
	"time"
)

// unread is standard error of a process whose host may never read it, as MCP allows. What is not taken in time is left out, and
// from then on what is not taken at once, until something is again. Else whoever writes a line would wait for ever once the pipe is full.
type unread struct {
	out  *os.File
	mu   sync.Mutex
	wait time.Duration
	torn bool // the last line has no end
}

const (
	unreadTime = time.Second
	unreadPart = 512 // bytes that a pipe takes without waiting when it takes any (POSIX: PIPE_BUF)
)

func newUnread(out *os.File) *unread { return &unread{out: out, wait: unreadTime} }

// Write says of what is left out that it was written: there is nobody to tell.
func (u *unread) Write(line []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	rest := line
	if u.torn {
		rest = append([]byte("\n"), line...)
	}
	for len(rest) > 0 {
		if !takes(u.out, u.wait) {
			u.wait = 0
			break
		}
		part := rest[:min(len(rest), unreadPart)]
		if _, err := u.out.Write(part); err != nil {
			return 0, err
		}
		u.wait, u.torn, rest = unreadTime, !bytes.HasSuffix(part, []byte("\n")), rest[len(part):]
	}
	return len(line), nil
}
