package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"latchpost": main, "latchpost-replay": replay, "latchpost-watched": watched, "latchpost-alone": alone, "latchpost-calls": calls, "latchpost-noisy": noisy,
	})
}

// calls is what no command of ours does.
func calls() {
	for _, address := range os.Args[1:] {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = conn.Close()
		}
	}
}

// What a user sees on the command line: testdata/script/*.txtar.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("LATCHPOST_DATA", e.WorkDir+"/data")
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "mounts": // may be made, in a namespace
				return exec.Command("unshare", "--mount", "true").Run() == nil, nil
			case "nobody": // is a user as whom commands can be run
				return exec.Command("setpriv", "--reuid", "nobody", "--clear-groups", "true").Run() == nil, nil
			}
			return false, fmt.Errorf("there is no condition %s", name)
		},
	})
}

const module = "github.com/latchpost/latchpost"

// allowed are the arrows of the house: which of our packages each may import.
var allowed = map[string][]string{
	"auth":                 {"auth/egress", "auth/seal", "providers", "providers/strictjson"},
	"auth/authtest":        {"auth", "auth/egress", "auth/seal", "providers", "store"},
	"auth/egress":          {},
	"auth/guard":           {},
	"auth/identity":        {"auth", "auth/egress", "auth/guard"},
	"auth/seal":            {},
	"auth/web":             {"auth", "auth/guard", "providers"},
	"browserlogin":         {"auth", "auth/egress", "providers"},
	"mcp":                  {"auth", "providers/strictjson"},
	"providers":            {"providers/strictjson"},
	"providers/strictjson": {},
	"store":                {"auth", "auth/seal"},
	"store/storetest":      {"auth", "auth/seal", "store"},
}

// only names packages that a single one of ours may import.
var only = map[string]string{
	"github.com/mark3labs/mcp-go":                   "mcp",
	"github.com/playwright-community/playwright-go": "browserlogin",
	"modernc.org/sqlite":                            "store",
	"github.com/jackc/pgx":                          "store",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		arrows, known := allowed[name]
		if !known && name != "" {
			t.Errorf("package %s has no place in the house: add it to allowed, or merge it", name)
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok && name != "" && !slices.Contains(arrows, ours) {
				t.Errorf("%s imports %s, against the house", name, ours)
			}
			for prefix, owner := range only {
				if strings.HasPrefix(imp, prefix) && name != owner {
					t.Errorf("%s imports %s, which belongs to %s alone", name, imp, owner)
				}
			}
		}
	}
}

// SH-007: no flag takes a secret; what could hold one says where it comes from instead.
func TestNoFlagTakesASecret(t *testing.T) {
	for _, c := range commands() {
		newFlags(c, &settings{}).VisitAll(func(f *flag.Flag) {
			for _, word := range []string{"secret", "password", "token", "api-key"} {
				if strings.Contains(f.Name, word) && !strings.HasSuffix(f.Name, "-file") {
					t.Errorf("latchpost %s --%s looks like a secret on the command line", c.name, f.Name)
				}
			}
		})
	}
}

// Every command and every flag is documented where users look.
func TestCommandsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "commands.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		if !strings.Contains(string(page), "## latchpost "+c.name+"\n") {
			t.Errorf("docs/commands.md has no section for %s", c.name)
		}
		newFlags(c, &settings{}).VisitAll(func(f *flag.Flag) {
			if !strings.Contains(string(page), "`--"+f.Name) {
				t.Errorf("docs/commands.md does not name --%s", f.Name)
			}
		})
	}
}

// OP-005: a flag that weakens something says so in its name and its help. Each of them, and a raw release, is logged at the
// start, is in doctor's report, and stands on the page with the connections (which auth/web tests); so is a browser that is
// reached in the clear.
func TestUnsafeFlagsAreNamedAndReported(t *testing.T) {
	weaken := map[string]string{ // and what the report has to say of each
		"unsafe-loopback": "http", "unsafe-no-sandbox": "sandbox", "unsafe-device-flow": "phishing", "unsafe-metrics": "other machines", "release": "raw access token",
		"browser": "in the clear", "unsafe-same-users": "another issuer", "unsafe-store": "in the clear", "unsafe-private-net": "10.20.0.0/16",
	}
	for _, c := range commands() {
		newFlags(c, &settings{}).VisitAll(func(f *flag.Flag) {
			if weaken[f.Name] == "" && (strings.Contains(f.Name, "unsafe") || strings.Contains(f.Name, "insecure") || strings.HasPrefix(f.Name, "no-") || strings.HasPrefix(f.Name, "allow")) {
				t.Errorf("latchpost %s has --%s, of which nobody is warned", c.name, f.Name)
			}
		})
	}
	for name, says := range weaken {
		value := "--" + name
		switch name {
		case "release":
			value += "=github"
		case "unsafe-private-net":
			value += "=10.20.0.0/16"
		case "browser":
			value += "=cdp:ws://browser.example:3000/CANARY"
		}
		for _, c := range commands() {
			s := &settings{in: strings.NewReader(""), out: io.Discard}
			fs := newFlags(c, s)
			if fs.Lookup(name) == nil {
				continue
			}
			if _, err := s.parse(fs, []string{value, "--data", filepath.Join(t.TempDir(), "data"), "--log-level", "error"}); err != nil {
				t.Fatal(err)
			}
			if got := s.unsafe(); len(got) != 1 || !strings.HasPrefix(got[0], "--"+name) || !strings.Contains(got[0], says) || strings.Contains(got[0], "CANARY") {
				t.Errorf("latchpost %s %s is reported as %q", c.name, value, got)
			}
			if f := s.checkFlags(); !strings.Contains(f.Says, "--"+name) || f.Effect == "" {
				t.Errorf("doctor says %+v", f)
			}
			var log strings.Builder
			s.err = &log
			h, err := open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			_ = h.Close()
			if !strings.Contains(log.String(), "unsafe flag") || !strings.Contains(log.String(), "--"+name) {
				t.Errorf("logged at the start: %s", log.String())
			}
			break
		}
	}
	for _, kind := range []string{"local", "headed", "cdp:ws://127.0.0.1:9222", "cdp:http://localhost:9222", "cdp:http://[::1]:9222", "cdp:wss://browser.example/", "cdp:https://browser.example/"} {
		if got := (&settings{browser: browserSettings{kind: kind}}).unsafe(); got != nil {
			t.Errorf("--browser %s is reported: %q", kind, got)
		}
	}
	if got := (&settings{}).unsafe(); got != nil {
		t.Errorf("without any flag %q is reported", got)
	}
}

// OP-001: with each part broken in turn, doctor names that part and no other, says what does not work because of it, and
// ends with 1.
func TestDoctorNamesWhatIsBroken(t *testing.T) {
	alter := func(t *testing.T, dir, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite", filepath.Join(dir, "latchpost.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		part, says string
		spoil      func(t *testing.T, dir, listen string)
	}{
		"nothing": {"", "", func(*testing.T, string, string) {}},
		"no key":  {"key and store", "key", func(t *testing.T, dir, _ string) { must(t, os.Remove(filepath.Join(dir+"-key", "master.key"))) }},
		"another key": {"key and store", "key", func(t *testing.T, dir, _ string) {
			must(t, os.WriteFile(filepath.Join(dir+"-key", "master.key"), []byte(strings.Repeat("A", 43)+"=\n"), 0o600))
		}},
		"no database": {"key and store", "", func(t *testing.T, dir, _ string) {
			must(t, os.WriteFile(filepath.Join(dir, "latchpost.db"), []byte("a text"), 0o600))
		}},
		"record changed": {"audit", "changed", func(t *testing.T, dir, _ string) {
			alter(t, dir, `UPDATE audit_events SET decision = 'deny' WHERE seq = 1`)
		}},
		"record removed": {"audit", "changed", func(t *testing.T, dir, _ string) { alter(t, dir, `DELETE FROM audit_events WHERE seq = 1`) }},
		"port taken": {"port", "another program", func(t *testing.T, _, listen string) {
			l, err := net.Listen("tcp", listen)
			must(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}},
		"clock": {"clock", "before", func(t *testing.T, dir, _ string) {
			later := time.Now().Add(time.Hour)
			must(t, os.Chtimes(dir, later, later))
		}},
		"definition": {"definitions", "bad.json", func(t *testing.T, dir, _ string) {
			must(t, os.WriteFile(filepath.Join(dir, "own", "bad.json"), []byte("{"), 0o600))
		}},
		"Chromium that fails": {"browser", "", func(t *testing.T, dir, _ string) {
			must(t, os.WriteFile(filepath.Join(dir, "own", "chromium"), []byte("#!/bin/sh\nexit 3\n"), 0o700))
			t.Setenv("PATH", filepath.Join(dir, "own"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", t.TempDir()) // no browser, unless the case brings one
			dir, listen := filepath.Join(t.TempDir(), "data"), freePort(t)
			h := newHouse(t, dir, listen)
			must(t, h.vault.Desk(auth.Local).SetApp(t.Context(), "github", "Iv1.example", auth.NewSecret("secret"), nil))
			must(t, h.Close())
			must(t, os.Mkdir(filepath.Join(dir, "own"), 0o700))
			test.spoil(t, dir, listen)
			var out strings.Builder
			code := run(t.Context(), []string{"doctor", "--json", "--data", dir, "--listen", listen, "--providers", filepath.Join(dir, "own"), "--log-level", "error"}, &settings{in: strings.NewReader(""), out: &out, err: io.Discard})
			var wrong []finding
			for dec := json.NewDecoder(strings.NewReader(out.String())); dec.More(); {
				var f finding
				must(t, dec.Decode(&f))
				if !f.OK {
					wrong = append(wrong, f)
				}
			}
			if test.part == "" {
				if code != exitDone || len(wrong) != 0 {
					t.Errorf("exit code %d, %+v", code, wrong)
				}
				return
			}
			// What keeps the store shut is told of the store, whose definitions are beside the point.
			if code != exitFailed || len(wrong) == 0 || wrong[0].Part != test.part || !strings.Contains(wrong[0].Says, test.says) || wrong[0].Effect == "" {
				t.Errorf("exit code %d, %+v", code, wrong)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// SH-007: what doctor calls the store holds no password.
func TestShownStore(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://ada:CANARY@db/latchpost?sslmode=verify-full&password=CANARY": "postgres://db/latchpost",
		"postgres://ada:CANARY@db:port/latchpost":                                "PostgreSQL",
		"sqlite:/srv/latchpost.db":                                               "sqlite:/srv/latchpost.db",
	} {
		if got := (&settings{store: url}).shownStore(); got != want {
			t.Errorf("%s is shown as %s", url, got)
		}
	}
}

// OP-001, ST-013: a store that can only be read is not called well, nor one whose disk failed lately.
func TestDoctorNamesAStoreInTrouble(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	if f := h.checkStore(t.Context()); !f.OK {
		t.Errorf("%+v", f)
	}
	for age, ok := range map[time.Duration]bool{time.Hour: false, 8 * 24 * time.Hour: true} { // ST-031
		if err := h.db.SetMeta(t.Context(), "disk_failed_at", strconv.FormatInt(time.Now().Add(-age).UnixMilli(), 10)); err != nil {
			t.Fatal(err)
		}
		if f := h.checkStore(t.Context()); f.OK != ok || !ok && !strings.Contains(f.Says, "the disk failed") {
			t.Errorf("%v after a failure: %+v", age, f)
		}
	}
	probe := func() int {
		rec := httptest.NewRecorder()
		h.ready(rec, httptest.NewRequest("GET", "/readyz", nil))
		return rec.Code
	}
	if code := probe(); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}
	h.cannotWrite = store.ErrReadOnly
	if f := h.checkStore(t.Context()); f.OK || f.Says != store.ErrReadOnly.Error() || f.Effect == "" {
		t.Errorf("%+v", f)
	}
	if code := probe(); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz of a store that can only be read: %d", code)
	}
}

// OP-001: a provider that is gone when a token has to be renewed is told of as long as it is gone, without its name.
func TestDoctorNamesAProviderThatIsDown(t *testing.T) {
	provider := authtest.NewServer(authtest.Options{})
	t.Cleanup(provider.Close)
	s := &settings{
		in: strings.NewReader(""), out: io.Discard, err: t.Output(), logLevel: "error", data: filepath.Join(t.TempDir(), "data"), listen: "127.0.0.1:0", unsafeLoopback: true,
		vars:    vars{"practice.port": port(provider.URL), "practice.api_port": "1", "practice.site_port": "1"},
		browser: browserSettings{kind: "local", dir: t.TempDir()},
	}
	h, err := open(t.Context(), s)
	must(t, err)
	defer h.Close()
	must(t, h.vault.Desk(auth.Local).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil))
	agent := auth.Caller{Owner: auth.Local, Client: "agent"}
	id, err := requested(h.vault.Request(t.Context(), agent, auth.Wish{Provider: "practice"}))
	must(t, err)
	must(t, finish(t.Context(), h.vault, provider, id, browserHash))
	if f := h.checkConnections(t.Context()); !f.OK || !strings.HasPrefix(f.Says, "1 work, 0 wait") {
		t.Errorf("%+v", f)
	}
	provider.Close()
	h.vault.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := h.vault.Call(t.Context(), agent, auth.Call{Provider: "practice", Path: "/me"}); !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("a call: %v", err)
	}
	if f := h.checkConnections(t.Context()); f.OK || !strings.HasPrefix(f.Says, "1 cannot be renewed") || f.Effect == "" || strings.Contains(f.Says, "ractice") {
		t.Errorf("%+v", f)
	}
}
