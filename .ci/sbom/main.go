// Command sbom says what a binary of ours is made of: a CycloneDX 1.6 document (JSON), or with -notices the licences
// of all modules in it, as their authors want them passed on. It reads the binary itself and the module cache, and
// gives the same bytes for the same binary.
package main

import (
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
)

func main() {
	notices := flag.Bool("notices", false, "print the licences instead")
	flag.Parse()
	if err := run(flag.Arg(0), *notices); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(binary string, notices bool) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return fmt.Errorf("%w; give the path of a binary that Go built", err)
	}
	var all []component
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return fmt.Errorf("%s is replaced, which a release must not have", dep.Path)
		}
		c, err := describe(dep)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	if notices {
		for _, c := range all {
			fmt.Printf("%s %s (%s)\n\n%s\n\n%s\n\n", c.Name, c.Version, c.Licenses[0].License.ID, strings.TrimSpace(c.text), strings.Repeat("-", 80))
		}
		return nil
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	all = append(all, component{Type: "library", Ref: "pkg:golang/std@" + goVersion, Name: "std", Version: goVersion, PURL: "pkg:golang/std@" + goVersion, Licenses: licenses("BSD-3-Clause")})
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	return out.Encode(document{
		Format: "CycloneDX", Spec: "1.6", Version: 1, Components: all,
		Metadata: metadata{component{Type: "application", Ref: purl(info.Main), Name: info.Main.Path, Version: info.Main.Version, PURL: purl(info.Main), Licenses: licenses("Apache-2.0")}},
	})
}

type document struct {
	Format     string      `json:"bomFormat"`
	Spec       string      `json:"specVersion"`
	Version    int         `json:"version"`
	Metadata   metadata    `json:"metadata"`
	Components []component `json:"components"`
}

type metadata struct {
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PURL       string     `json:"purl"`
	Licenses   []licensed `json:"licenses"`
	Properties []property `json:"properties,omitempty"`
	text       string     // of the licence
}

type licensed struct {
	License license `json:"license"`
}

type license struct {
	ID string `json:"id"` // SPDX
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func licenses(id string) []licensed { return []licensed{{license{id}}} }

func purl(m debug.Module) string { return "pkg:golang/" + m.Path + "@" + m.Version }

// describe finds a module's licence in the module cache.
func describe(m *debug.Module) (component, error) {
	c := component{Type: "library", Ref: purl(*m), Name: m.Path, Version: m.Version, PURL: purl(*m), Properties: []property{{"go:sum", m.Sum}}}
	out, err := exec.Command("go", "mod", "download", "-json", m.Path+"@"+m.Version).Output()
	if err != nil {
		return c, fmt.Errorf("%s: %w", m.Path, err)
	}
	var where struct{ Dir string }
	if err := json.Unmarshal(out, &where); err != nil {
		return c, err
	}
	found, err := filepath.Glob(filepath.Join(where.Dir, "*"))
	if err != nil {
		return c, err
	}
	for _, file := range found {
		if !licenceFile.MatchString(filepath.Base(file)) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return c, err
		}
		if id := identify(string(text)); id != "" && c.Licenses == nil {
			c.Licenses = licenses(id)
		}
		c.text += string(text) + "\n"
	}
	if c.Licenses == nil {
		return c, errors.New(m.Path + " has no licence that is known here; read it, and teach it to identify")
	}
	return c, nil
}

var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice)([.-].*)?$`)

// identify knows licences by a sentence that only they have.
func identify(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, known := range [][2]string{
		{"Apache-2.0", "Apache License Version 2.0"},
		{"MPL-2.0", "Mozilla Public License Version 2.0"},
		{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
		{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee"},
		{"ISC", "Permission to use, copy, modify, and distribute this software for any purpose with or without fee"},
		{"BSD-3-Clause", "may be used to endorse or promote products derived from this software"},
		{"BSD-2-Clause", "Redistributions in binary form must reproduce the above copyright notice"},
	} {
		if strings.Contains(text, known[1]) {
			return known[0]
		}
	}
	return ""
}
