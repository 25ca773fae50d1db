package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// MC-010: the desktop's browser, started by the real program, prints where it likes: nothing of it comes out on the
// program's standard output, and none of the program's files is open in it.
func TestBrowserCannotReachStandardOutput(t *testing.T) {
	home := t.TempDir()
	told := filepath.Join(home, "told") // what the child has open; a pipe, so that reading waits for it
	if err := syscall.Mkfifo(told, 0o600); err != nil {
		t.Fatal(err)
	}
	browser := "#!/bin/sh\necho NOISE; echo NOISE >&2\nls -l /proc/$$/fd >" + told + "\n"
	if err := os.WriteFile(filepath.Join(home, "xdg-open"), []byte(browser), 0o700); err != nil {
		t.Fatal(err)
	}
	inherited := map[string]bool{} // from whoever started the tests
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if file, err := os.Readlink(fd); err == nil {
			inherited[file] = true
		}
	}
	cmd := exec.CommandContext(t.Context(), "latchpost", "open", "--data", filepath.Join(home, "data"))
	cmd.Env = append(os.Environ(), "HOME="+home, "DISPLAY=:0", "PATH="+home+":"+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	if strings.Contains(stdout.String()+stderr.String(), "NOISE") || !strings.Contains(stdout.String(), "Your browser opens") {
		t.Errorf("printed %s%s", stdout.String(), stderr.String())
	}
	for line := range strings.Lines(string(open)) {
		name, file, found := strings.Cut(strings.TrimSpace(line), " -> ")
		if !found {
			continue // the total
		}
		fd := name[strings.LastIndexByte(name, ' ')+1:]
		if n, _ := strconv.Atoi(fd); n <= 2 && file != "/dev/null" && file != told {
			t.Errorf("the child's descriptor %s is %s", fd, file)
		}
		ours := strings.HasPrefix(file, home) && file != told && !strings.HasSuffix(file, "/xdg-open")
		if foreign := strings.Contains(file, ":[") && !inherited[file]; ours || foreign {
			t.Errorf("the child has %s as %s", file, fd)
		}
	}
}
