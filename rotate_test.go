package main

import (
	"fmt"
	mathrand "math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/seal"
)

// ST-020: the real command is killed at any moment, on a real store with many data keys, again and again. Whatever it had
// done, running it again finishes it, and everything opens.
func TestKillWithinRotateKey(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	key := func(n int) string {
		return fmt.Sprintf("file:%s", filepath.Join(dir, fmt.Sprint("key", n), "master.key"))
	}
	house := func(key string) (*house, error) {
		return open(t.Context(), &settings{out: t.Output(), err: t.Output(), logLevel: "error", data: data, key: key, listen: "127.0.0.1:0", browser: browserSettings{kind: "local", dir: dir}})
	}
	h, err := house(key(0))
	if err != nil {
		t.Fatal(err)
	}
	sealed := map[string][]byte{}
	place := seal.Place{Table: "connections", User: "alice", Record: "1", Field: "credential", Version: 1, Salt: []byte("salt")}
	for n := range 40 {
		text := fmt.Sprint("secret ", n)
		if sealed[text], err = h.box.Seal(place, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := h.box.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}

	killed, between := 0, 0
	for n := range much(50, 10) {
		change := func() *exec.Cmd {
			return exec.CommandContext(t.Context(), "latchpost", "rotate-key", "--data", data, "--key", key(n), "--new-key", key(n+1))
		}
		cmd := change()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(mathrand.N(120)) * time.Millisecond)
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if h, err := house(key(n)); err == nil {
			_ = h.Close()
		} else if !strings.Contains(err.Error(), "rotate-key was interrupted, run it again") {
			t.Fatalf("round %d, with the old key: %v", n, err)
		} else if h, err := house(key(n + 1)); err == nil { // it was done already
			_ = h.Close()
		} else {
			between++
		}
		if out, err := change().CombinedOutput(); err != nil || !strings.Contains(string(out), "opens the store now") {
			t.Fatalf("round %d, again: %v %s", n, err, out)
		}
		h, err := house(key(n + 1))
		if err != nil {
			t.Fatalf("round %d, with the new key: %v", n, err)
		}
		for text, value := range sealed {
			if plain, err := h.box.Open(place, value); err != nil || string(plain) != text {
				t.Fatalf("round %d: %s: %v", n, text, err)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if old, err := house(key(n)); err == nil {
			old.Close()
			t.Fatal("the old key still opens the store")
		}
	}
	t.Logf("%d were killed, %d of them half-way", killed, between)
	if killed == 0 {
		t.Error("none was killed in time")
	}
}
