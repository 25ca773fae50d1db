package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pseudoTerminal gives a terminal, and the side of it on which somebody types.
func pseudoTerminal(t *testing.T) (us, terminal *os.File) {
	t.Helper()
	us, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = us.Close() })
	n, err := unix.IoctlGetInt(int(us.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(us.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return us, terminal
}

// Somebody who starts stdio by hand learns why nothing comes; a host, whose log standard error is, is told nothing.
func TestStdioOnATerminal(t *testing.T) {
	_, terminal := pseudoTerminal(t)
	ended, stop := context.WithCancel(t.Context())
	stop()
	for _, in := range []io.Reader{terminal, strings.NewReader("")} {
		var errs bytes.Buffer
		run(ended, []string{"stdio", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, &settings{in: in, out: &bytes.Buffer{}, err: &errs})
		if got := strings.HasPrefix(errs.String(), "latchpost stdio speaks MCP"); got != (in == io.Reader(terminal)) {
			t.Errorf("%T: %s", in, &errs)
		}
	}
}

// Ctrl-C at the question for a secret ends the command, and the terminal shows again what is typed.
func TestInterruptAtASecret(t *testing.T) {
	us, terminal := pseudoTerminal(t)
	echoes := func() bool {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		return err == nil && state.Lflag&unix.ECHO != 0
	}
	ctx, interrupt := context.WithCancel(t.Context())
	errs := &shared{}
	ended := make(chan int, 1)
	go func() {
		args := []string{"app", "set", "github", "--client-id", "x", "--data", t.TempDir()}
		ended <- run(ctx, args, &settings{in: terminal, out: &bytes.Buffer{}, err: errs})
	}()
	for end := time.Now().Add(15 * time.Second); echoes(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nothing was asked: %s", errs)
		}
	}
	interrupt() // as main does when the signal comes
	select {
	case code := <-ended:
		if code != exitFailed || !echoes() {
			t.Errorf("ends with %d, echo %v: %s", code, echoes(), errs)
		}
	case <-time.After(5 * time.Second):
		t.Error("the question holds on")
	}
	_, _ = us.WriteString("\n") // ends the read that was left
}

type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
