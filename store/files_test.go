//go:build unix

package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
)

// filled makes a store with something in every table that matters, closes it, and
// gives the path of its file.
func filled(t testing.TB) (dir, path string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	db := openAt(t, dir)
	for i := range 20 {
		c := &auth.Connection{ID: fmt.Sprint("c", i), Owner: auth.Local, Provider: "github", Account: fmt.Sprint(i), State: auth.Active, Version: 1, Salt: []byte("s"), Sealed: bytes.Repeat([]byte{7}, 1500)}
		r := &auth.Request{ID: fmt.Sprint("r", i), Owner: auth.Local, Provider: fmt.Sprint(i), State: auth.Created}
		if _, err := db.CreateRequest(t.Context(), r, 100); err != nil {
			t.Fatal(err)
		}
		if err := db.CompleteRequest(t.Context(), r, c, []auth.Grant{{ID: fmt.Sprint("g", i), Owner: auth.Local, Connection: c.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, db.AuditLog(testMAC), 50)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "latchpost.db")
}

// refuses expects that Open fails with is, in one line, and leaves the file as it was.
func refuses(t *testing.T, dir string, is error, says string) {
	t.Helper()
	path := filepath.Join(dir, "latchpost.db")
	before, _ := os.ReadFile(path)
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Dir: dir, Ballast: -1})
	if err == nil {
		db.Close()
		t.Fatal("opened")
	}
	if is != nil && !errors.Is(err, is) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Fatal("the file was changed")
	}
}

// ST-008: without its file, a log of changes is not played into a new one.
func TestLogWithoutItsFile(t *testing.T) {
	dir, path := filled(t)
	if err := os.Rename(path, path+"-wal"); err != nil {
		t.Fatal(err)
	}
	refuses(t, dir, nil, "changes to it wait in "+path+"-wal")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a new file was made")
	}
}

// ST-008: what is not whole, or not ours, is refused and kept.
func TestDamagedFile(t *testing.T) {
	dir, path := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		put(whole[:len(whole)*i/20])
		refuses(t, dir, ErrDamaged, "restore")
	}
	put(whole[:len(whole)-1])
	refuses(t, dir, ErrDamaged, "restore")
	random := make([]byte, len(whole))
	rand.Read(random)
	put(random)
	refuses(t, dir, ErrDamaged, "restore")
	put([]byte("listen: 127.0.0.1\n"))
	refuses(t, dir, ErrDamaged, "restore")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	pool, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.ExecContext(t.Context(), `CREATE TABLE keys (mine TEXT)`); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, dir, ErrForeign, "--store")

	put(whole)
	newer := raw(t, dir)
	if _, err := newer.ExecContext(t.Context(), `INSERT INTO migrations VALUES (999, 0)`); err != nil {
		t.Fatal(err)
	}
	newer.Close()
	refuses(t, dir, nil, "newer latchpost")
	put(whole)
	openAt(t, dir).Close()
}

// ST-009: one bad page in each b-tree is noticed: at the start, by what reads it, or by Check.
func TestDamagedPage(t *testing.T) {
	dir, path := filled(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := raw(t, dir).QueryContext(t.Context(), `SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0`)
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string]int{}
	for rows.Next() {
		var name string
		var page int
		if err := rows.Scan(&name, &page); err != nil {
			t.Fatal(err)
		}
		roots[name] = page
	}
	rows.Close()
	for name, page := range roots {
		damaged := bytes.Clone(whole)
		rand.Read(damaged[(page-1)*8192 : page*8192])
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Dir: dir, Ballast: -1})
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err := db.Check(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Check says %v", name, err)
		}
		if all, err := db.Connections(t.Context(), auth.Local, "", ""); err == nil && len(all) != 20 {
			t.Errorf("%s: %d of 20 connections and no error", name, len(all))
		}
		db.Close()
	}
	if len(roots) < 20 {
		t.Fatal("too few b-trees", roots)
	}
}

// ST-009: a page of an index that is as it was before the last change, because the disk lost the write, is whole in itself. Check
// notices it, or a connection would be there by one question and not by another.
func TestStaleIndex(t *testing.T) {
	dir, path := filled(t)
	var page int64
	pool := raw(t, dir)
	err := pool.QueryRowContext(t.Context(), `SELECT rootpage FROM sqlite_schema WHERE name = 'connections_account'`).Scan(&page)
	if err := errors.Join(err, pool.Close()); err != nil { // else what follows stays in its WAL
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db := openAt(t, dir)
	if err := db.Import(t.Context(), auth.Connection{ID: "last", Owner: auth.Local, Provider: "p", Account: "last", State: auth.Active, Version: 1, Sealed: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Check(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(after[(page-1)*pageSize:page*pageSize], before[(page-1)*pageSize:])
	if err := os.WriteFile(path, after, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := openAt(t, dir).Check(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("Check says %v", err)
	}
}

// ST-015: every connection of every pool has the settings that keep data safe, and the
// ones that a URL cannot set wrong.
func TestPragmas(t *testing.T) {
	db := openAt(t, filepath.Join(t.TempDir(), "data"))
	for name, pool := range map[string]*conns{"readers": db.file.readers, "keeper": db.file.keeper} {
		var each func(n int) error // holds those before, so that each is another one
		each = func(n int) error {
			if n == 0 {
				return nil
			}
			return pool.use(t.Context(), func(c *sqliteConn) error {
				checkPragmas(t, name, func(pragma string) any {
					v, err := c.pragma(pragma)
					if err != nil {
						t.Error(err)
					}
					return v
				})
				return each(n - 1)
			})
		}
		if err := each(cap(pool.free)); err != nil {
			t.Fatal(err)
		}
	}
	err := db.write(t.Context(), func(ctx context.Context, q querier) error {
		checkPragmas(t, "writer", func(pragma string) any {
			v, err := first(ctx, q, func(s scanner) (v any, err error) { return v, s.Scan(&v) }, "PRAGMA "+pragma)
			if err != nil {
				t.Fatal(err)
			}
			return *v
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.file.readers.use(t.Context(), func(c *sqliteConn) error {
		if _, err := c.exec(t.Context(), `DELETE FROM meta`); err == nil {
			t.Error("a reader wrote")
		}
		page, err := c.pragma("page_size")
		if page != int64(8192) {
			t.Error("page size", page)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// A connection that lacks one is not used.
	unsafe := toRead
	unsafe.pragmas = append(slices.Clone(toRead.pragmas), "synchronous = NORMAL")
	if _, err := openConn(db.file.path, unsafe); err == nil || !strings.Contains(err.Error(), "synchronous") {
		t.Fatal(err)
	}
}

func checkPragmas(t *testing.T, name string, get func(string) any) {
	t.Helper()
	for pragma, want := range map[string]any{
		"synchronous": int64(2), "journal_mode": "wal", "foreign_keys": int64(1), "secure_delete": int64(1), "trusted_schema": int64(0), "busy_timeout": int64(5000),
	} {
		if got := get(pragma); got != want {
			t.Errorf("%s: %s is %v, want %v", name, pragma, got, want)
		}
	}
}

// ST-017: with the loosest umask everything is private all the same; a place that
// others can enter, or that is a link, is refused.
func TestPermissions(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "data")
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: 4096})
	if err != nil {
		t.Fatal(err)
	}
	l := db.AuditLog(testMAC)
	write(t, l, 1)
	if err := errors.Join(l.dropAnchor(), db.layBallast(), db.Backup(t.Context(), filepath.Join(dir, "backup.db"))); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s is %04o", path, info.Mode().Perm())
		}
		seen++
		return err
	})
	if err != nil || seen < 9 { // two directories, database, WAL, SHM, two locks, holder, anchor, ballast, backup
		t.Fatal(seen, err)
	}
	db.Close()

	modes := map[string]fs.FileMode{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir && d.Name() != "backup.db" { // which may lie anywhere
			info, _ := d.Info()
			modes[path] = info.Mode().Perm()
			return os.Chmod(path, modes[path]|0o055)
		}
		return err
	})
	if err != nil || len(modes) < 6 {
		t.Fatal(modes, err)
	}
	openAt(t, dir).Close()
	for path, want := range modes {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("a looser mode of %s was not corrected: %v, %v", path, info.Mode(), err)
		}
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	refuses(t, dir, nil, "chmod 700")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	refuses(t, link, nil, "symbolic link")
	file := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(file, 0o700), os.Symlink(filepath.Join(dir, "latchpost.db"), filepath.Join(file, "latchpost.db"))); err != nil {
		t.Fatal(err)
	}
	refuses(t, file, nil, "not a regular file")
	empty := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	openAt(t, empty).Close() // nothing in it: taken over
	if info, err := os.Stat(empty); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal(info.Mode(), err)
	}
}

// A command of root in the data directory of a service leaves nothing that the service cannot read and write.
func TestRootLeavesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	const service = 54321
	dir := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, service, service)); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := db.AuditLog(testMAC)
	write(t, l, 1)
	copied := filepath.Join(dir, "latchpost.db.restoring")
	if err := errors.Join(l.dropAnchor(), db.layBallast(), CopyBackup(db.file.path, copied)); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != service {
			t.Errorf("%s belongs to root", path)
		}
		seen++
		return err
	})
	if err != nil || seen < 11 { // two directories, database, WAL, SHM, changes, two locks, holder, anchor, ballast, copy
		t.Error(seen, err)
	}

	// A link that was there before leads nowhere.
	foreign := filepath.Join(t.TempDir(), "foreign")
	if err := errors.Join(os.WriteFile(foreign, nil, 0o600), os.Link(foreign, filepath.Join(dir, "x.lock"))); err != nil {
		t.Fatal(err)
	}
	lock, err := lockFile(filepath.Join(dir, "x.lock"))
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if info, err := os.Stat(foreign); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("a file of root was given away", err)
	}
}

// What keeps us from the anchor is told once, and is no fault of the record.
func TestAnchorOutOfReach(t *testing.T) {
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "data")
	db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.stop() // the ticks below are the only ones
	db.tasks.Wait()
	l := db.AuditLog(testMAC)
	write(t, l, 3)
	anchor := filepath.Join(dir, anchorFile)
	if err := os.Mkdir(anchor, 0o700); err != nil {
		t.Fatal(err)
	}
	var k keeper
	for range 5 {
		k.tick(t.Context(), db)
	}
	if n := strings.Count(log.String(), "audit.anchor cannot be read"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	if r, err := l.Verify(t.Context()); err != nil || len(r.Faults) > 0 || r.Unread == nil || r.Events != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := anchorTrouble(anchorFile, "read", &fs.PathError{Op: "open", Path: anchor, Err: syscall.EACCES}); err.Error() != "audit.anchor cannot be read: permission denied; chown it to the owner of the directory" {
		t.Error(err)
	}
	if err := os.Remove(anchor); err != nil {
		t.Fatal(err)
	}
	k.tick(t.Context(), db)
	if r, err := l.Verify(t.Context()); err != nil || len(r.Faults) > 0 || r.Unread != nil || size(anchor) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// ST-016: after a revocation the secret is nowhere in the files, nor is its label's
// sealed text; the log's and the request's words are not secrets.
func TestDeletedSecretIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db := openAt(t, dir)
	canary := []byte("CANARY-" + rand.Text())
	big := bytes.Repeat(canary, 700) // over several pages
	for i, sealed := range [][]byte{canary, big} {
		c := &auth.Connection{ID: fmt.Sprint(i), Owner: auth.Local, Provider: "p", Account: fmt.Sprint(i), State: auth.Active, Version: 1, Salt: canary, Sealed: sealed}
		r := &auth.Request{ID: fmt.Sprint("r", i), Owner: auth.Local, Account: fmt.Sprint(i), Private: canary, State: auth.Created}
		if _, err := db.CreateRequest(t.Context(), r, 10); err != nil {
			t.Fatal(err)
		}
		if err := db.CompleteRequest(t.Context(), r, c, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.KeepAnswer(t.Context(), auth.Local, c.ID, 1, big); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	if hits(t, dir, canary) == 0 {
		t.Fatal("the canary is not found where it must be")
	}
	for i := range 2 {
		if err := db.RevokeConnection(t.Context(), auth.Local, fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.checkpoint(t.Context(), "TRUNCATE"); err != nil {
		t.Fatal(err)
	}
	if n := hits(t, dir, canary); n > 0 {
		t.Fatalf("the canary is found %d times", n)
	}
	if err := db.Backup(t.Context(), filepath.Join(dir, "backup.db")); err != nil {
		t.Fatal(err)
	}
	if n := hits(t, dir, canary); n > 0 {
		t.Fatalf("the canary is found %d times beside a backup", n)
	}
}

// A process with nothing to do folds the WAL in behind a long reader, such as an export, but makes no writer wait for
// that reader, and tries again when it cannot.
func TestCheckpointWaitsForNobody(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, other := openAt(t, dir), openAt(t, dir)
	write(t, other.AuditLog(testMAC), 1)
	wal := filepath.Join(dir, "latchpost.db-wal")
	k := keeper{commits: db.group.commits.Load(), idle: idleSeconds - 1}
	err := other.snapshot(t.Context(), func(q querier) error {
		if _, err := heads(t.Context(), q, ``); err != nil {
			return err
		}
		began := time.Now()
		err := k.checkpoint(t.Context(), db)
		if took := time.Since(began); took > busyTimeout/2 || size(wal) == 0 {
			t.Errorf("it took %v, and left %d bytes to a reader", took, size(wal))
		}
		return err
	})
	for try := 0; err == nil && size(wal) > 0 && try < 100; try++ { // the process beside it may be at it
		err = k.checkpoint(t.Context(), db)
	}
	if err != nil || size(wal) != 0 {
		t.Errorf("%d bytes are left, %v", size(wal), err)
	}
}

func hits(t *testing.T, dir string, what []byte) (n int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err == nil { // directories give an error
			n += bytes.Count(data, what)
		}
	}
	return n
}

// Whoever deletes, moves or replaces the file under a running process is told: what would be written to it is lost.
func TestFileIsGone(t *testing.T) {
	for name, away := range map[string]func(dir string) error{
		"directory deleted": os.RemoveAll,
		"directory moved":   func(dir string) error { return os.Rename(dir, dir+".away") },
		"replaced": func(dir string) error {
			path := filepath.Join(dir, "latchpost.db")
			whole, err := os.ReadFile(path)
			return errors.Join(err, os.Rename(path, path+".away"), os.WriteFile(path, whole, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			dir := filepath.Join(t.TempDir(), "data")
			db, err := Open(t.Context(), Options{URL: "sqlite:" + filepath.Join(dir, "latchpost.db"), Dir: dir, Ballast: -1, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			db.stop() // the ticks below are the only ones
			db.tasks.Wait()
			l := db.AuditLog(testMAC)
			write(t, l, 3)
			if err := errors.Join(db.Failed(), away(dir)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := l.Append(t.Context(), auth.Event{ID: "x", Owner: auth.Local}); !errors.Is(err, ErrGone) {
					t.Error("an event was taken:", err)
				}
			}
			if err := db.Failed(); !errors.Is(err, ErrGone) {
				t.Error(err)
			}
			var k keeper
			for range 3 {
				k.tick(t.Context(), db)
			}
			if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("%d lines in the log:\n%s", n, log.String())
			}
			if name != "directory moved" {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Fatal(err)
			}
			k.tick(t.Context(), db)
			write(t, l, 3)
			if err := errors.Join(db.Failed(), db.Close()); err != nil {
				t.Error(err)
			}
			report, err := openAt(t, dir).AuditLog(testMAC).Verify(t.Context())
			if err != nil || report.Events != 6 || len(report.Faults) > 0 || !strings.Contains(log.String(), "again") {
				t.Errorf("%+v, %v\n%s", report, err, log.String())
			}
		})
	}
}
