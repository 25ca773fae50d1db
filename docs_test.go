package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func page(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every tool, each of its arguments and answer fields, and every code of the closed set is on the page.
func TestToolsAreDocumented(t *testing.T) {
	doc := page(t, "docs", "tools.md")
	common, _, _ := strings.Cut(doc, "\n## list_providers\n")
	var golden struct {
		Result struct {
			Tools []struct {
				Name                      string
				InputSchema, OutputSchema struct{ Properties map[string]any }
			}
		}
	}
	if err := json.Unmarshal([]byte(page(t, "mcp", "testdata", "tools.json")), &golden); err != nil || len(golden.Result.Tools) == 0 {
		t.Fatal(err)
	}
	for _, tool := range golden.Result.Tools {
		_, section, found := strings.Cut(doc, "\n## "+tool.Name+"\n")
		if !found {
			t.Errorf("no section for %s", tool.Name)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for name := range tool.InputSchema.Properties {
			if !strings.Contains(section, "`"+name+"`") {
				t.Errorf("%s: argument %s is not described", tool.Name, name)
			}
		}
		for name := range tool.OutputSchema.Properties {
			if tool.Name != "auth_status" && !strings.Contains(section+common, "`"+name+"`") {
				t.Errorf("%s: answer field %s is not described", tool.Name, name)
			}
		}
	}
	codes := regexp.MustCompile(`&Error\{Code: "([a-z_]+)"`).FindAllStringSubmatch(page(t, "auth", "auth.go"), -1)
	if len(codes) < 15 {
		t.Fatalf("found only %d codes", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(doc, "| `"+code[1]+"` |") {
			t.Errorf("code %s is not described", code[1])
		}
	}
}

// ST-024: what a stolen backup shows is what the page says. Every column of every table is in the list.
func TestReadableMetadataIsPublished(t *testing.T) {
	doc := page(t, "docs", "security.md")
	migrations, err := filepath.Glob(filepath.Join("store", "migrations", "*.sql"))
	if err != nil || len(migrations) == 0 {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?s)CREATE TABLE (\w+) \((.*?)\n\);`)
	column := regexp.MustCompile(`(?m)^  ([a-z]\w*) `)
	added := regexp.MustCompile(`ALTER TABLE (\w+) ADD COLUMN (\w+) `)
	readable := func(table, name string) {
		_, row, _ := strings.Cut(doc, "\n| `"+table+"` |")
		row, _, _ = strings.Cut(row, "\n")
		if !strings.Contains(row, "`"+name+"`") {
			t.Errorf("docs/security.md does not say whether %s.%s can be read", table, name)
		}
	}
	var all string
	for _, migration := range migrations {
		all += page(t, migration)
	}
	for _, migration := range migrations {
		text := page(t, migration)
		tables, more := table.FindAllStringSubmatch(text, -1), added.FindAllStringSubmatch(text, -1)
		if len(tables) != strings.Count(text, "CREATE TABLE") || len(more) != strings.Count(text, "ADD COLUMN") {
			t.Fatalf("%s: a column that this test does not see", migration)
		}
		for _, found := range tables {
			if strings.Contains(all, "DROP TABLE "+found[1]+";") {
				continue
			}
			for _, c := range column.FindAllStringSubmatch(found[2], -1) {
				readable(found[1], c[1])
			}
		}
		for _, c := range more {
			readable(c[1], c[2])
		}
	}
}

// SH-009, BF-036: what is not promised is said. That memory cannot be read by others of the same user, short of root, is
// tried by TestHardened in auth/seal (SH-005); that data in a query is on record and no credential with it by
// TestDataInTheQuery in auth.
func TestLimitsAreSaid(t *testing.T) {
	saysAll(t, "docs/security.md",
		"Not protected against: root, a debugger of the same user, or a swap file of this machine", "up to ten seconds longer in the buffers of a connection that is kept for the next call", "they are short-lived there, buffers with opened credentials are overwritten where Go lets us, core dumps are off", "nothing more is promised: memory is neither locked nor encrypted", "Encrypt your disk and your swap",
		"Asking with your data", "can put what it knows into the query of an allowed host", "There is no credential at hand that could be put there")
}

// Every page is reached from the README, and no link leads nowhere.
func TestPagesAreLinked(t *testing.T) {
	pages, _ := filepath.Glob("docs/*.md")
	if len(pages) < 10 {
		t.Fatalf("found only %q", pages)
	}
	link, heading := regexp.MustCompile(`\]\(([^)\s]+)\)`), regexp.MustCompile(`(?m)^#+ (.+)$`)
	readme := page(t, "README.md")
	for _, name := range append(pages, "README.md", "SECURITY.md") {
		if strings.HasPrefix(name, "docs/") && !strings.Contains(readme, "]("+name+")") {
			t.Errorf("README.md does not lead to %s", name)
		}
		for _, found := range link.FindAllStringSubmatch(page(t, name), -1) {
			path, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", name, found[1])
				continue
			}
			named := func(heading []string) bool { return slug(heading[1]) == anchor }
			if anchor != "" && !slices.ContainsFunc(heading.FindAllStringSubmatch(page(t, target), -1), named) {
				t.Errorf("%s: %s has no such heading", name, found[1])
			}
		}
	}
}

// slug is the anchor of a heading.
func slug(heading string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}
