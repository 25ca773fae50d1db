package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Ctrl-C at the question for a secret ends the command, and the terminal shows again what is typed.
func TestInterruptAtASecret(t *testing.T) {
	us, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer us.Close()
	n, err := unix.IoctlGetInt(int(us.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(us.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
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
