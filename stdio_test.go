package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// noisy is latchpost with a dependency that prints wherever it can, once the protocol has begun.
func noisy() {
	go func() {
		for {
			time.Sleep(time.Millisecond)
			out, _ := os.Readlink("/proc/self/fd/1")
			if log, _ := os.Readlink("/proc/self/fd/2"); out != log { // standard output is not taken away yet
				continue
			}
			fmt.Println("NOISE by fmt")
			_, _ = os.Stdout.WriteString("NOISE by os.Stdout\n")
			_, _ = syscall.Write(1, []byte("NOISE by descriptor\n"))
			println("NOISE by println")
			log.Printf("NOISE by log, of %q", "a SECRET")
			_ = exec.Command("/bin/sh", "-c", "echo NOISE by a child; echo NOISE by a child >&2").Run()
			child := exec.Command("/bin/sh", "-c", "echo NOISE by an heir")
			child.Stdout = os.Stdout
			_ = child.Run()
		}
	}()
	main()
}

// MC-009: the real program, with a dependency that prints, logs all it can and is asked for everything, in order and out
// of order, and at last made to print the stacks of its goroutines: every line on its standard output is JSON-RPC.
func TestStdioPrintsOnlyJSONRPC(t *testing.T) {
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "latchpost-noisy", "stdio", "--data", filepath.Join(home, "data"), "--listen", "127.0.0.1:0", "--log-level", "debug", "--unsafe-loopback")
	cmd.Env = append(os.Environ(), "HOME="+home, "GOTRACEBACK=all")
	var noise bytes.Buffer
	cmd.Stderr = &noise
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan map[string]any)
	go func() {
		defer close(lines)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 8<<20)
		for scan.Scan() {
			var m map[string]any
			if err := json.Unmarshal(scan.Bytes(), &m); err != nil || m["jsonrpc"] != "2.0" {
				t.Errorf("on standard output: %q", scan.Text())
			}
			lines <- m
		}
	}()
	answer := func(line string) map[string]any {
		t.Helper()
		if _, err := io.WriteString(in, line+"\n"); err != nil {
			t.Fatal(err)
		}
		for {
			select {
			case m, open := <-lines:
				if !open {
					t.Fatalf("the server ended: %s", noise.String())
				}
				if m["method"] == nil { // not a notification
					return m
				}
			case <-time.After(time.Minute):
				t.Fatalf("no answer to %.200s", line)
			}
		}
	}
	hello := answer(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"host","version":"1"}}}`)
	if hello["result"] == nil {
		t.Fatalf("initialize: %v", hello)
	}
	for i, call := range []string{
		`"list_providers","arguments":{"query":"git"}`, `"list_providers","arguments":{"limit":-1}`,
		`"request_auth","arguments":{"provider":"github"}`, `"request_auth","arguments":{"provider":"nobody"}`, `"request_auth","arguments":{}`,
		`"wait_for_auth","arguments":{"request_id":"none","wait_seconds":0}`, `"wait_for_auth","arguments":{"wait_seconds":99}`,
		`"get_credential","arguments":{"provider":"github"}`, `"get_credential","arguments":{"provider":"github","raw":true}`, `"get_credential","arguments":[]`,
		`"call_api","arguments":{"provider":"github","path":"/user"}`, `"call_api","arguments":{"provider":"github","url":"https://evil.example/"}`,
		`"call_api","arguments":{"provider":"github","path":"/","password":"x"}`,
		`"list_connections","arguments":{}`, `"list_connections","arguments":{"provider":"nobody"}`,
		`"revoke","arguments":{"provider":"github"}`, `"revoke","arguments":{"request_id":"none"}`, `"revoke","arguments":{}`,
		`"no_such_tool","arguments":{}`,
	} {
		if m := answer(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%s}}`, i+1, call)); m["id"] != float64(i+1) {
			t.Errorf("%s: %v", call, m)
		}
	}
	for _, line := range []string{"hello", `{"jsonrpc":"2.0","id":1,"METHOD":"ping"}`, `[]`, "\xff", `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, strings.Repeat("[", 10000)} {
		if m := answer(line); m["error"] == nil {
			t.Errorf("%.50q: %v", line, m)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	for range lines { // what comes now must be JSON-RPC too
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(noise.String(), "goroutine ") {
		t.Errorf("there were no stacks on standard error: %v", err)
	}
	if strings.Contains(noise.String(), "SECRET") {
		t.Error("what the standard logger is told of others is on standard error")
	}
	for _, by := range []string{"fmt", "os.Stdout", "descriptor", "println", "log", "an heir"} {
		if !strings.Contains(noise.String(), "NOISE by "+by) {
			t.Errorf("the noise by %s is not on standard error", by)
		}
	}
}
