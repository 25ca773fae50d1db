package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
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
