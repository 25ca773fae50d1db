//go:build unix

package storetest

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Postgres starts a PostgreSQL server from the Debian package on a unix socket and
// gives its URL; it ends with t. As root it runs as the user postgres. Without the
// package t is skipped, and fails where CI is set.
func Postgres(t testing.TB) (url string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("PostgreSQL is not installed; run: apt-get install postgresql")
		}
		t.Skip("PostgreSQL is not installed; run: apt-get install postgresql")
	}
	bin := filepath.Dir(slices.Max(found))
	dir, err := os.MkdirTemp("/tmp", "latchpost-pg-") // short: a socket's path is limited
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // the server refuses to run as root
		u, err := user.Lookup("postgres")
		must(t, err)
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		must(t, os.Chown(dir, uid, gid))
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	run := func(name string, args ...string) error {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, as
		if out, err := cmd.Output(); err != nil { // not CombinedOutput: the server would keep the pipe open
			return fmt.Errorf("%s: %w\n%s", name, err, out)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	must(t, run("initdb", "-D", data, "-A", "trust", "-U", "latchpost", "--no-sync", "-E", "UTF8", "--locale", "C.UTF-8"))
	t.Cleanup(func() {
		if err := run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"); err != nil {
			t.Error(err)
		}
	})
	must(t, run("pg_ctl", "-D", data, "-l", filepath.Join(dir, "log"), "-w", "-o", "-c listen_addresses='' -c fsync=off -c unix_socket_directories="+dir, "start"))
	return "postgres://latchpost@/postgres?host=" + dir
}

// Database makes an empty database on the server at url, and gives its own URL.
func Database(t testing.TB, url string) string {
	t.Helper()
	admin, err := sql.Open("pgx", url)
	must(t, err)
	defer admin.Close()
	name := "t" + strings.ToLower(rand.Text())
	_, err = admin.ExecContext(t.Context(), "CREATE DATABASE "+name)
	must(t, err)
	return strings.Replace(url, "/postgres?", "/"+name+"?", 1)
}
