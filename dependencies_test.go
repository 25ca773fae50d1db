package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// released are the modules in the release binary, of all systems it is built for. The value says that
// our own packages import the module.
func released(t *testing.T, flags ...string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, system := range []string{"linux", "darwin", "windows"} {
		cmd := exec.Command("go", append(append([]string{"list", "-deps", "-json=ImportPath,Imports,Module"}, flags...), ".")...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		type pkg struct {
			ImportPath string
			Imports    []string
			Module     *struct {
				Path string
				Main bool
			}
		}
		of, ours := map[string]string{}, []pkg(nil)
		for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
			var p pkg
			switch err := dec.Decode(&p); {
			case err != nil:
				t.Fatal(err)
			case p.Module == nil: // the standard library
			case p.Module.Main:
				ours = append(ours, p)
			default:
				of[p.ImportPath] = p.Module.Path
				if !all[p.Module.Path] {
					all[p.Module.Path] = false // in, and not known to be direct yet
				}
			}
		}
		for _, p := range ours {
			for _, imported := range p.Imports {
				if m := of[imported]; m != "" {
					all[m] = true
				}
			}
		}
	}
	return all
}

// SC-003: every module in the binary is in docs/dependencies.md, argued when we import it ourselves and listed when it comes along.
// What is there no more is not in the document either. What only the tag otel brings is argued as such.
func TestDependencies(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	above, below, ok := strings.Cut(string(page), "## What comes along")
	if !ok {
		t.Fatal("docs/dependencies.md has no section of what comes along")
	}
	argued, listed, apart := map[string]bool{}, map[string]bool{}, map[string]bool{}
	name := regexp.MustCompile("`([a-z0-9.]+\\.[a-z]+/[^`]+)`")
	for line := range strings.SplitSeq(above, "\n") {
		cells := strings.Split(line, "|")
		for _, m := range name.FindAllStringSubmatch(strings.Join(cells[:min(2, len(cells))], ""), -1) {
			if strings.Contains(cells[1], "(tests)") || strings.Contains(cells[1], "(tag `otel`)") {
				apart[m[1]] = true
			} else {
				argued[m[1]] = true
			}
		}
	}
	for line := range strings.SplitSeq(below, "\n") {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				listed[m[1]] = true
			}
		}
	}
	all := released(t)
	for m, direct := range all {
		switch {
		case direct && !argued[m]:
			t.Errorf("docs/dependencies.md does not argue %s, which we import", m)
		case !direct && !listed[m]:
			t.Errorf("docs/dependencies.md does not list %s, which comes along", m)
		}
	}
	for m := range maps.Keys(argued) {
		if !all[m] {
			t.Errorf("docs/dependencies.md argues %s, which we do not import", m)
		}
	}
	for m := range maps.Keys(listed) {
		if direct, in := all[m]; !in || direct {
			t.Errorf("docs/dependencies.md lists %s, which does not come along", m)
		}
	}
	for m, direct := range released(t, "-tags", "otel") {
		if _, in := all[m]; !in && direct && !apart[m] {
			t.Errorf("docs/dependencies.md does not argue %s, which the tag otel brings", m)
		}
	}
}

// permissive are the licences that modules in the binary may have; mpl are the modules under MPL-2.0 that were looked at.
var (
	permissive = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Apache-2.0"}
	mpl        = []string{}
)

// SC-005, SC-008: the software bill of materials is what the binary says of itself, in valid
// CycloneDX, and every licence in it is one that asks for no more than to be passed on, which the notices do. SH-018: none of
// the three holds what looks like a credential.
func TestLicences(t *testing.T) {
	binary := build(t, filepath.Join(t.TempDir(), "latchpost"), ".")
	sbom := func(args ...string) []byte {
		out, err := exec.Command("go", append([]string{"run", "./.ci/sbom"}, append(args, binary)...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var bill struct {
		BOMFormat, SpecVersion string
		Components             []struct {
			Type, Name, Version, PURL string
			Licenses                  []struct{ License struct{ ID string } }
			Properties                []struct{ Name, Value string }
		}
	}
	said, notices := sbom(), string(sbom("-notices"))
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{"the binary": program, "the bill": said, "the notices": []byte(notices)} {
		if at := credentials.FindIndex(data); at != nil {
			t.Errorf("%s, byte %d: looks like a credential", what, at[0])
		}
	}
	if err := json.Unmarshal(said, &bill); err != nil || bill.BOMFormat != "CycloneDX" || bill.SpecVersion != "1.6" {
		t.Fatal(err, bill)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"std " + strings.TrimPrefix(info.GoVersion, "go")}
	for _, m := range info.Deps {
		want = append(want, fmt.Sprint(m.Path, " ", m.Version, " ", m.Sum))
	}
	var got []string
	for _, c := range bill.Components {
		line := c.Name + " " + c.Version
		if len(c.Properties) == 1 {
			line += " " + c.Properties[0].Value
		}
		got = append(got, line)
		if len(c.Licenses) != 1 || c.PURL != "pkg:golang/"+c.Name+"@"+c.Version {
			t.Errorf("%s: %v, %s", c.Name, c.Licenses, c.PURL)
			continue
		}
		id := c.Licenses[0].License.ID
		if !slices.Contains(permissive, id) && !(id == "MPL-2.0" && slices.Contains(mpl, c.Name)) {
			t.Errorf("%s is under %s", c.Name, id)
		}
		if c.Name != "std" && !strings.Contains(notices, c.Name+" "+c.Version+" ("+id+")\n") {
			t.Errorf("the notices lack %s", c.Name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the bill is\n%s\nand the binary has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
