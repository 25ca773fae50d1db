package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// credentials look like this.
var credentials = regexp.MustCompile(`ghp_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40}|glpat-[A-Za-z0-9_-]{20}|xox[abprs]-[0-9A-Za-z-]{20}|AKIA[0-9A-Z]{16}|` +
	`AIza[0-9A-Za-z_-]{35}|sk_live_[0-9A-Za-z]{20}|lp_[A-Za-z0-9_-]{43}|eyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----\n`)

// SH-018: nothing in the tree looks like a real credential. Canaries of tests say so by name. What is released beside it is
// looked through by TestLicences, which makes it.
func TestNoCredentialsInTheTree(t *testing.T) {
	list, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !credentials.MatchString("AKIA" + strings.Repeat("A", 16)) {
		t.Fatal("the shapes find nothing")
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := credentials.FindIndex(data); at != nil {
			t.Errorf("%s, byte %d: looks like a credential", name, at[0])
		}
	}
}

// tracked gives the files of the repository that match.
func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	list, err := exec.Command("git", append([]string{"ls-files", "-z", "--"}, patterns...)...).Output()
	if err != nil || len(list) == 0 {
		t.Fatalf("%v: %d bytes, %v", patterns, len(list), err)
	}
	return strings.Split(strings.TrimRight(string(list), "\x00"), "\x00")
}

// SC-011: a finding of an analyser is silenced only with the rule's name and a reason behind it.
func TestSuppressions(t *testing.T) {
	silenced := regexp.MustCompile(`(?m)//\s*(nolint|#nosec|lint:ignore|lint:file-ignore)(.*)$`)
	reason := regexp.MustCompile(`^:? ?[A-Z]+[0-9]+ \S+ \S+ \S+`) // a rule, and three words at least
	for _, bare := range []string{"//nolint", "// #nosec G101", "//lint:ignore SA1019"} {
		if m := silenced.FindStringSubmatch(bare); m == nil || reason.MatchString(m[2]) {
			t.Errorf("%s would pass", bare)
		}
	}
	for _, name := range tracked(t, "*.go", ":!tree_test.go") {
		for _, m := range silenced.FindAllStringSubmatch(page(t, name), -1) {
			if !reason.MatchString(m[2]) {
				t.Errorf("%s: %s has no reason", name, m[0])
			}
		}
	}
}

// SC-012: nothing that runs in CI knows a lasting secret to publish with, and the page for releases says how it is done instead.
func TestNoPublishSecrets(t *testing.T) {
	secrets := regexp.MustCompile(`(?i)secrets\.|_TOKEN\b|_PASSWORD\b|API_KEY|docker login|npm (login|publish)|gh release|cosign sign.*--key|signing.?key=`)
	if !secrets.MatchString("${{ secrets.NPM }}") || !secrets.MatchString("NPM_TOKEN=x npm publish") {
		t.Fatal("the pattern finds nothing")
	}
	for _, name := range tracked(t, ".ci", ".github", ".gitlab-ci.yml", "Makefile") {
		if at := secrets.FindString(page(t, name)); at != "" {
			t.Errorf("%s: %q", name, at)
		}
	}
	saysAll(t, "docs/releasing.md", "second factor that cannot be phished", "OpenID Connect identity (trusted publishing)", "There is no publish token")
}

// OP-006: where to report, when an answer comes, what an advisory has to say, and that the test is there before the fix.
func TestAdvisories(t *testing.T) {
	saysAll(t, "SECURITY.md", "Report a vulnerability", "answer within three days", "a test that shows the fault is added before the fix is merged", "docs/releasing.md", "within 72 hours")
	saysAll(t, "docs/releasing.md", "Within three days", "before the fix is merged", "Affected:", "Mended in:", "Severity:", "Was I affected:", "What to do:", "Until then:", "| drill |")
}

// broken says what a line of the log of drills does not keep of what is promised, "" for nothing. known are the names of all tests.
func broken(line string, known func(test string) bool) string {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	if len(cells) != 5 {
		return "it has not five cells"
	}
	var days [3]time.Time
	for i, at := range []int{1, 2, 4} {
		day, err := time.Parse(time.DateOnly, strings.TrimSpace(cells[at]))
		if err != nil {
			return "a day is no day"
		}
		days[i] = day
	}
	switch reported, answered, mended := days[0], days[1], days[2]; {
	case answered.Before(reported) || mended.Before(reported):
		return "something came before the report"
	case answered.Sub(reported) > 3*24*time.Hour:
		return "the answer came later than within three days"
	case !known(strings.Trim(cells[3], " `")):
		return "there is no such test"
	}
	return ""
}

// OP-006: what is in the log of drills keeps what SECURITY.md promises.
func TestDrills(t *testing.T) {
	_, log, ok := strings.Cut(page(t, "docs/releasing.md"), "| drill | reported | answered | test | mended |\n|---|---|---|---|---|\n")
	if !ok {
		t.Fatal("there is no log of drills")
	}
	var tests strings.Builder
	for _, name := range tracked(t, "*_test.go") {
		tests.WriteString(page(t, name))
	}
	known := func(test string) bool {
		return strings.HasPrefix(test, "Test") && strings.Contains(tests.String(), "\nfunc "+test+"(t *testing.T) {")
	}
	for line, want := range map[string]string{
		"| one | 2026-11-02 | 2026-11-05 | `TestDrills` | 2026-11-09 |":   "",
		"| late | 2026-11-02 | 2026-11-06 | `TestDrills` | 2026-11-09 |":  "the answer came later than within three days",
		"| early | 2026-11-02 | 2026-11-01 | `TestDrills` | 2026-11-09 |": "something came before the report",
		"| open | 2026-11-02 | 2026-11-03 | `TestDrills` | |":             "a day is no day",
		"| bare | 2026-11-02 | 2026-11-03 | `TestDrill` | 2026-11-09 |":   "there is no such test",
		"| short | 2026-11-02 | 2026-11-03 |":                             "it has not five cells",
	} {
		if got := broken(line, known); got != want {
			t.Errorf("%s: %q, not %q", line, got, want)
		}
	}
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if why := broken(line, known); why != "" {
			t.Errorf("%s: %s", line, why)
		}
	}
}

// saysAll looks for sentences in a page, wherever its lines break.
func saysAll(t *testing.T, name string, sentences ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(page(t, name)), " ")
	for _, s := range sentences {
		if !strings.Contains(text, s) {
			t.Errorf("%s does not say %q", name, s)
		}
	}
}

// What CI and the tests fetch is fixed: a tool by its version, which go.sum's database vouches for, and each npm package by its SHA-512.
// npm looks at no hash where the lock file has none.
func TestToolsAndPackagesArePinned(t *testing.T) {
	tool := regexp.MustCompile(`(?m)\bgo (?:run|install) (?:-\S+ )*([a-z0-9.-]+\.[a-z]+/[^\s@]+)(@\S+)?`)
	version := regexp.MustCompile(`^@v\d+\.\d+\.\d+$`)
	tools := 0
	for _, name := range tracked(t, ".ci", "Makefile") {
		for _, m := range tool.FindAllStringSubmatch(page(t, name), -1) {
			if tools++; !version.MatchString(m[2]) {
				t.Errorf("%s: %s has no version", name, m[0])
			}
		}
	}
	if tools == 0 {
		t.Error("the pattern finds no tool")
	}
	for _, name := range tracked(t, "*package-lock.json") {
		var lock struct {
			Packages map[string]struct{ Integrity string }
		}
		if err := json.Unmarshal([]byte(page(t, name)), &lock); err != nil || len(lock.Packages) < 2 {
			t.Fatalf("%s: %d packages, %v", name, len(lock.Packages), err)
		}
		for where, p := range lock.Packages {
			if where != "" && !strings.HasPrefix(p.Integrity, "sha512-") { // "" is ours
				t.Errorf("%s: %s has no SHA-512", name, where)
			}
		}
	}
}
