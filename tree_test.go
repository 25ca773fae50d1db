package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// SH-018: nothing in the tree looks like a real credential. Canaries of tests say so by name.
func TestNoCredentialsInTheTree(t *testing.T) {
	list, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	shapes := regexp.MustCompile(`ghp_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40}|glpat-[A-Za-z0-9_-]{20}|xox[abprs]-[0-9A-Za-z-]{20}|AKIA[0-9A-Z]{16}|` +
		`AIza[0-9A-Za-z_-]{35}|sk_live_[0-9A-Za-z]{20}|lp_[A-Za-z0-9_-]{43}|eyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----\n`)
	if !shapes.MatchString("AKIA" + strings.Repeat("A", 16)) {
		t.Fatal("the shapes find nothing")
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := shapes.FindIndex(data); at != nil {
			t.Errorf("%s, byte %d: looks like a credential", name, at[0])
		}
	}
}
