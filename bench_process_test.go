package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/guard"
	"github.com/latchpost/latchpost/mcp"
)

// process is a server of its own, so that its processor time and memory are its own too.
type process struct {
	pid     int
	address string // host:port
}

// start runs a server until the benchmark ends. It must tell its address on standard error.
func start(b testing.TB, stdin io.Reader, name string, args ...string) *process {
	b.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = stdin
	stderr, err := cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	p := &process{pid: cmd.Process.Pid}
	said := make(chan struct{})
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-said // standard error is read to its end before Wait closes it
		_ = cmd.Wait()
	})
	ready := make(chan string)
	go func() {
		defer close(said)
		defer close(ready)
		lines := bufio.NewScanner(stderr)
		for told := false; lines.Scan(); {
			if _, rest, found := strings.Cut(lines.Text(), " on http://"); found && !told {
				told = true
				address, _, _ := strings.Cut(rest, "/")
				ready <- address
			} else if !strings.Contains(lines.Text(), "unsafe flag") {
				fmt.Fprintln(os.Stderr, name, lines.Text())
			}
		}
	}()
	address, ok := <-ready
	if !ok {
		b.Fatalf("%s %v did not start", name, args)
	}
	p.address = address
	return p
}

// processorTime is what the kernel has counted for the processes, in ticks of 10 ms (proc(5)).
func processorTime(b testing.TB, all []*process) (sum time.Duration) {
	b.Helper()
	for _, p := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
		for _, field := range fields[11:13] { // utime, stime
			ticks, err := strconv.Atoi(field)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return sum
}

// resident is the memory of a process in MiB (VmRSS).
func resident(b testing.TB, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}

// build compiles a command of this module as users get it.
func build(b testing.TB, into, path string) string {
	b.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", into, path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("building %s: %v\n%s", path, err, out)
	}
	return into
}

// replay is latchpost serve over a broker that asks the vault once and then repeats
// the answer: the no-op tool with all layers of the server before it and as many
// bytes behind it, but without policy, credential, record or call.
func replay() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &settings{err: os.Stderr}
	if err := s.replay(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

func (s *settings) replay(ctx context.Context) error {
	if _, err := s.parse(newFlags(command{name: "serve", flags: serveFlags}, s), os.Args[1:]); err != nil {
		return err
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	if err := h.openServe(); err != nil {
		return errors.Join(err, h.Close())
	}
	pages, err := h.door.Share(ctx, func(authority string) *http.Server {
		agents := mcp.New(&repeated{Broker: h.vault}, mcp.Options{Version: buildVersion(), Log: h.log, Seal: h.tickets()})
		mux := http.NewServeMux()
		mux.Handle("/mcp", agents.HTTP(mcp.HTTPOptions{Identify: h.identity.Caller, HostChecked: true}))
		return guard.Server(mux, guard.Options{Hosts: hosts(authority, h.door.URL()), Origins: []string{h.door.URL()}, Class: class, Logger: h.log})
	})
	if err != nil {
		return errors.Join(err, h.Close())
	}
	fmt.Fprintf(s.err, "replays on %s/mcp\n", h.door.URL())
	return errors.Join(pages(), h.Close())
}

type repeated struct {
	mcp.Broker
	get  once[*auth.Handle]
	call once[*auth.Response]
}

func (r *repeated) Get(ctx context.Context, c auth.Caller, n auth.Need) (*auth.Handle, error) {
	return r.get.do(func() (*auth.Handle, error) { return r.Broker.Get(ctx, c, n) })
}

func (r *repeated) Call(ctx context.Context, c auth.Caller, call auth.Call) (*auth.Response, error) {
	return r.call.do(func() (*auth.Response, error) { return r.Broker.Call(ctx, c, call) })
}

// once keeps the first good answer.
type once[T any] struct {
	sync.RWMutex
	done  bool
	value T
}

func (o *once[T]) do(ask func() (T, error)) (T, error) {
	o.RLock()
	done, value := o.done, o.value
	o.RUnlock()
	if done {
		return value, nil
	}
	o.Lock()
	defer o.Unlock()
	value, err := ask()
	o.done, o.value = err == nil, value
	return value, err
}
