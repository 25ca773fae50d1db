//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// hosted is the real program, as an MCP host has started it.
type hosted struct {
	*exec.Cmd
	t     *testing.T
	in    io.WriteCloser
	log   io.ReadCloser
	lines chan string
	asked int
}

// startHosted starts command line args, which end in latchpost stdio, with a data directory of its own. Its log goes to log, or
// where nil is given to a pipe.
func startHosted(t *testing.T, log *os.File, args ...string) *hosted {
	t.Helper()
	home := t.TempDir()
	h := &hosted{Cmd: exec.CommandContext(t.Context(), args[0], append(args[1:], "--data", filepath.Join(home, "data"), "--listen", "127.0.0.1:0")...), t: t, lines: make(chan string, 100)}
	h.Env = append(os.Environ(), "HOME="+home)
	var out io.Reader
	var errs [3]error
	h.in, errs[0] = h.StdinPipe()
	out, errs[1] = h.StdoutPipe()
	if log == nil {
		h.log, errs[2] = h.StderrPipe()
	} else {
		h.Stderr = log
	}
	for _, err := range append(errs[:], h.Start()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		defer close(h.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			h.lines <- scan.Text()
		}
	}()
	h.answers()
	return h
}

// answers fails the test when the program does not.
func (h *hosted) answers() {
	h.t.Helper()
	h.asked++
	if _, err := fmt.Fprintf(h.in, `{"jsonrpc":"2.0","id":%d,"method":"ping"}`+"\n", h.asked); err != nil {
		h.t.Fatal(err)
	}
	select {
	case line, open := <-h.lines:
		if want := fmt.Sprintf(`"id":%d,`, h.asked); !open || !strings.Contains(line, want) {
			h.t.Fatalf("to ping %d: %q, %v", h.asked, line, h.Wait())
		}
	case <-time.After(time.Minute):
		h.t.Fatal("ping has no answer")
	}
}

// A host that closes the pipe of the log, or dies and leaves a call under way, does not end the program with it: the
// renewal in that call may hold the only copy of a token.
func TestNobodyReadsTheLog(t *testing.T) {
	h := startHosted(t, nil, "latchpost-noisy", "stdio")
	if err := h.log.Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		time.Sleep(2 * time.Millisecond) // in which it writes to standard error
		h.answers()
	}
	if err := h.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil {
		t.Error(err)
	}
}

// A terminal that is closed, with the host in it, ends the program as SIGTERM does: what is under way comes to its end, and
// the leases are given back. Who starts it under nohup is taken at their word.
func TestTerminalIsClosed(t *testing.T) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // what we take, a program that we start does not ignore, though we were started under nohup
	defer signal.Stop(hup)
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		h := startHosted(t, nil, "latchpost", "stdio")
		if err := h.Process.Signal(how); err != nil {
			t.Fatal(err)
		}
		if err := h.Wait(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if left, err := os.ReadDir(filepath.Join(h.Args[3], "holders")); err != nil || len(left) > 0 {
			t.Errorf("%s leaves %v, %v", how, left, err)
		}
	}
	h := startHosted(t, nil, "sh", "-c", `trap "" HUP; exec latchpost stdio "$@"`, "sh")
	if err := h.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	h.answers()
}

// A host that never reads the log, which MCP leaves to it, holds nothing up when the pipe is full: a line that has to be written
// is left out.
func TestLogThatFillsUp(t *testing.T) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	fd, filled := int(theirs.Fd()), 0
	for _ = syscall.SetNonblock(fd, true); err == nil; filled++ {
		_, err = syscall.Write(fd, []byte("."))
	}
	_ = syscall.SetNonblock(fd, false)
	h := startHosted(t, theirs, "latchpost", "stdio")
	if err := os.Remove(filepath.Join(h.Args[3], "latchpost.db")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // in which the log says that it is gone
	h.answers()
	if err := h.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = h.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	if filled < 2 {
		t.Error("the pipe was not full")
	}
}

// Of a log that is read again every line from then on is there, each by itself.
func TestLogIsReadAgain(t *testing.T) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := newUnread(theirs)
	long := strings.Repeat("x", 3*unreadPart) + "\n"
	began := time.Now()
	for range 1000 {
		if n, err := log.Write([]byte(long)); n != len(long) || err != nil {
			t.Fatal(n, err)
		}
	}
	if waited := time.Since(began); waited > 5*unreadTime {
		t.Errorf("waited %s", waited)
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(ours)
		read <- string(all)
	}()
	for log.wait == 0 || log.torn {
		time.Sleep(time.Millisecond)
		_, _ = log.Write([]byte("again\n"))
	}
	_, _ = log.Write([]byte("last\n"))
	_ = theirs.Close()
	lines := strings.SplitAfter(<-read, "\n")
	for i, line := range lines[:len(lines)-1] {
		if line != long && line != "again\n" && line != "last\n" && (!strings.HasPrefix(long, strings.TrimSpace(line)) || lines[i+1] == long) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if n := len(lines); n < 3 || lines[n-2] != "last\n" || lines[n-3] != "again\n" {
		t.Errorf("the last lines are %q", lines[max(0, n-3):])
	}
}
