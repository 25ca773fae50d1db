package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// starting: what an MCP host waits for when it starts us, and what we take of its
// machine's memory afterwards.
func (m *bench) starting() []figure {
	home := m.b.TempDir()
	ours := []string{m.latchpost, "stdio", "--data", filepath.Join(home, "data"), "--listen", "127.0.0.1:0"}
	first, _ := m.initialize(ours) // makes key and store
	m.initialize([]string{m.floor, "stdio"})
	var added, us, them, memory []float64
	for range m.starts {
		took, rss := m.initialize(ours)
		floor, _ := m.initialize([]string{m.floor, "stdio"})
		us, them, memory = append(us, took), append(them, floor), append(memory, rss)
		added = append(added, took-floor)
	}
	return []figure{
		figure{
			Name: "cold start of stdio, over an empty mcp-go server", Value: median(added), Unit: "ms",
			Note: fmt.Sprintf("%s; %.1f against %.1f ms to the answer to initialize, %.0f ms the very first time; load average %s", spread(added), median(us), median(them), first, loadAverage()),
		}.atMost(25),
		figure{Name: "resident memory of stdio when idle", Value: median(memory), Unit: "MiB", Note: spread(memory)}.atMost(30),
	}
}

// initialize starts a program on pipes and gives the ms until it has answered
// initialize, and its memory then in MiB.
func (m *bench) initialize(command []string) (took, rss float64) {
	m.b.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		m.b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.b.Fatal(err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		m.b.Fatal(err)
	}
	_, err = io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`+"\n")
	if err != nil {
		m.b.Fatal(err)
	}
	answer, err := bufio.NewReader(out).ReadString('\n')
	took = time.Since(begin).Seconds() * 1e3
	if err != nil || !strings.Contains(answer, `"serverInfo"`) {
		m.b.Fatalf("%v: %q %v", command, answer, err)
	}
	rss = resident(m.b, cmd.Process.Pid)
	if err := in.Close(); err != nil {
		m.b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		m.b.Fatalf("%v: %v", command, err)
	}
	return took, rss
}
