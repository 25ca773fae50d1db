package main

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// DS-002: who opens all the connections that there can be leaves the process descriptors for its files, and others are served.
func TestConnectionsLeaveDescriptors(t *testing.T) {
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 256; exec latchpost "$@"`, "sh", "serve", "--data", filepath.Join(home, "data"), "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "HOME="+home)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	said := bufio.NewScanner(stderr)
	base := ""
	for base == "" && said.Scan() {
		if _, after, ok := strings.Cut(said.Text(), "serves agents on "); ok {
			base, _, _ = strings.Cut(after, "/mcp")
		}
	}
	if base == "" {
		t.Fatal("the server does not say where it is")
	}
	trouble := make(chan string, 1)
	go func() {
		for said.Scan() {
			if strings.Contains(said.Text(), "too many open files") {
				select {
				case trouble <- said.Text():
				default:
				}
			}
		}
	}()
	from := func(last byte) *net.Dialer {
		return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, last)}, Timeout: 5 * time.Second}
	}
	for i := range 300 {
		conn, err := from(byte(2+i%2)).DialContext(t.Context(), "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	elsewhere := &http.Client{Transport: &http.Transport{DialContext: from(9).DialContext}, Timeout: 10 * time.Second}
	resp, err := elsewhere.Get(base + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a client elsewhere gets %s", resp.Status)
	}
	select {
	case line := <-trouble:
		t.Error(line)
	default:
	}
}
