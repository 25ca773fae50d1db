package seal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/latchpost/latchpost/auth/seal"
)

const nobody = 65534

// SH-005: core dumps are asked for and the process is aborted; another process
// of the same user attaches to it, and reads its environment. The same is tried
// on a process that was not hardened, to know that the attack works here.
func TestHardenProcess(t *testing.T) {
	for _, hardened := range []bool{false, true} {
		t.Run(fmt.Sprintf("hardened %v", hardened), func(t *testing.T) {
			role := "victim"
			if hardened {
				role = "hardened victim"
			}
			dir := publicDir(t)
			victim := spawn(t, dir, role, "")
			victim.Env = append(victim.Env, "GOTRACEBACK=crash", "CANARY=in-the-environment")
			line := start(t, victim)
			if want := map[bool]string{false: "dumpable 1\n", true: "core 0 dumpable 0\n"}[hardened]; !strings.HasSuffix(line, want) {
				t.Errorf("victim says %q, want %q", line, want)
			}

			spy := spawn(t, dir, "spy", fmt.Sprint(victim.Process.Pid))
			report := start(t, spy)
			if err := spy.Wait(); err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Contains(report, "environ read"), !hardened; got != want {
				t.Errorf("spy says %q", report)
			}
			if hardened && !strings.Contains(report, "attach: operation not permitted") {
				t.Errorf("spy says %q", report)
			}

			if err := victim.Process.Signal(syscall.SIGABRT); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := victim.Wait(); !errors.As(err, &exit) {
				t.Fatalf("victim ended with %v", err)
			}
			status := exit.Sys().(syscall.WaitStatus)
			cores, _ := filepath.Glob(filepath.Join(dir, "*core*"))
			t.Logf("core dumped: %v", status.CoreDump()) // unhardened: as the system is set up
			if hardened && (status.CoreDump() || len(cores) > 0) {
				t.Errorf("core dumped (%v): %v", status.CoreDump(), cores)
			}
		})
	}
}

func init() {
	children["victim"] = func(string) int { return waitToBeAttacked() }
	children["hardened victim"] = func(string) int {
		if err := seal.HardenProcess(); err != nil {
			fmt.Println(err)
			return 1
		}
		return waitToBeAttacked()
	}
	children["spy"] = spyOn
}

// waitToBeAttacked prints how this process is protected, and waits.
func waitToBeAttacked() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		fmt.Println(err)
		return 1
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	core := fmt.Sprint(limit.Cur)
	if limit.Cur == unix.RLIM_INFINITY {
		core = "unlimited"
	}
	never := make(chan os.Signal, 1)
	signal.Notify(never, syscall.SIGUSR1)
	fmt.Printf("core %s dumpable %d\n", core, dumpable)
	<-never
	return 0
}

// spyOn attacks process pid and prints what came of it, on one line.
func spyOn(pid string) int {
	if environ, err := os.ReadFile("/proc/" + pid + "/environ"); err != nil {
		fmt.Printf("environ: %v; ", err)
	} else if strings.Contains(string(environ), "CANARY=in-the-environment") {
		fmt.Print("environ read; ")
	}
	runtime.LockOSThread()
	var n int
	fmt.Sscan(pid, &n)
	err := syscall.PtraceAttach(n)
	if err == nil {
		syscall.Wait4(n, nil, 0, nil)
		syscall.PtraceDetach(n)
	}
	fmt.Printf("attach: %v\n", err)
	return 0
}

// publicDir is a directory where another user can run and write.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "seal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spawn prepares this binary in a role, with (small) core dumps allowed. When the tests
// run as root it becomes another user, because root may attach to anything.
func spawn(t *testing.T, dir, role, arg string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, strings.ReplaceAll(role, " ", "-"))
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -c 2048 || true; exec "$0" "$@"`, copied, arg)
	cmd.Dir, cmd.Env = dir, []string{"SEAL_TEST_CHILD=" + role, "GORACE=atexit_sleep_ms=0"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// start starts cmd and returns the line it prints.
func start(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	return line
}
