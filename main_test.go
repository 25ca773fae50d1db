package main

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/latchpost/latchpost/store"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"latchpost": main, "latchpost-replay": replay, "latchpost-watched": watched, "latchpost-alone": alone, "latchpost-calls": calls,
	})
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
	})
}

const module = "github.com/latchpost/latchpost"

// allowed are the arrows of the house: which of our packages each may import.
var allowed = map[string][]string{
	"auth":                 {"auth/egress", "auth/seal", "providers", "providers/strictjson"},
	"auth/authtest":        {"auth", "auth/egress", "auth/seal", "providers", "store"},
	"auth/egress":          {},
	"auth/guard":           {},
	"auth/identity":        {"auth", "auth/egress"},
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

// OP-005: a flag that weakens something says so in its name, and is reported.
func TestUnsafeFlagsAreNamedAndReported(t *testing.T) {
	s := &settings{unsafeLoopback: true, release: "github"}
	if got := s.unsafe(); len(got) != 2 || !strings.Contains(got[0]+got[1], "--unsafe-loopback") || !strings.Contains(got[0]+got[1], "--release github") {
		t.Errorf("unsafe settings are reported as %q", got)
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

// OP-001, ST-013: a store that can only be read is not called well.
func TestDoctorNamesAReadOnlyStore(t *testing.T) {
	h := newHouse(t, filepath.Join(t.TempDir(), "data"), freePort(t))
	if f := h.checkStore(t.Context()); !f.OK {
		t.Errorf("%+v", f)
	}
	h.cannotWrite = store.ErrReadOnly
	if f := h.checkStore(t.Context()); f.OK || f.Says != store.ErrReadOnly.Error() || f.Effect == "" {
		t.Errorf("%+v", f)
	}
}
