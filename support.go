package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchpost/latchpost/providers"
)

const supportAbout = "Latchpost support report. It is safe to attach to a public bug report: it has no credential, no name of an owner, an agent or an account, " +
	"and no address, path or definition of your own. It is short, so look through it before you send it."

// support is what a bug report needs. Everything in it is a count, a word from a closed
// set, or a finding of the doctor with the places and names of this house left out.
type support struct {
	About       string           `json:"about"`
	Version     string           `json:"version"`
	Go          string           `json:"go"`
	System      string           `json:"system"`
	Flags       []string         `json:"flags"` // names, never values
	Store       string           `json:"store"` // kinds, as in sqlite and file
	Key         string           `json:"key"`
	Findings    []finding        `json:"findings"`
	Files       map[string]int64 `json:"files,omitempty"` // bytes
	Connections map[string]int   `json:"connections,omitempty"`
	Requests    map[string]int   `json:"requests,omitempty"`
	Events      []supportEvent   `json:"events,omitempty"` // the newest
}

// supportEvent is an event of the record without who, whose, where and what.
type supportEvent struct {
	At       time.Time         `json:"at"`
	Kind     string            `json:"kind"`
	Provider string            `json:"provider,omitempty"`
	Decision string            `json:"decision,omitempty"`
	Detail   map[string]string `json:"detail,omitempty"`
}

const supportEvents = 100

// printSupport writes the report; h is nil when the store could not be opened.
func (s *settings) printSupport(ctx context.Context, h *house, findings []finding) error {
	kind := func(u string) string { scheme, _, _ := strings.Cut(u, ":"); return scheme }
	r := support{
		About: supportAbout, Version: buildVersion(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Flags: s.flagNames(), Store: kind(s.storeURL()), Key: kind(s.keyURL()), Files: s.fileSizes(),
	}
	hide := s.hider(findings)
	for _, f := range findings {
		f.Says, f.Effect = hideAddresses(hide.Replace(f.Says)), hide.Replace(f.Effect)
		r.Findings = append(r.Findings, f)
	}
	if h != nil {
		census, err := h.db.Census(ctx)
		if err != nil {
			return err
		}
		r.Connections, r.Requests = map[string]int{}, map[string]int{}
		for state, n := range census.Connections {
			r.Connections[string(state)] = n
		}
		for step, n := range census.Requests {
			r.Requests[step.Method+" "+string(step.State)] = n
		}
		newest := newestEvents{known: h.vault.Catalog}
		if err := h.audit.Export(ctx, &newest); err != nil {
			return err
		}
		r.Events = newest.cut()
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", " ")
	return enc.Encode(r)
}

// flagNames are those of the command line and of the environment.
func (s *settings) flagNames() []string {
	names := map[string]bool{}
	for _, f := range s.given {
		names["--"+f.Name] = true
	}
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "LATCHPOST_") {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (s *settings) fileSizes() map[string]int64 {
	sizes := map[string]int64{}
	for _, name := range []string{"latchpost.db", "latchpost.db-wal", "audit.anchor", "ballast"} {
		if info, err := os.Stat(filepath.Join(s.data, name)); err == nil {
			sizes[name] = info.Size()
		}
	}
	return sizes
}

// hider puts a word in the place of everything that names this machine and its people.
func (s *settings) hider(findings []finding) *strings.Replacer {
	home, _ := os.UserHomeDir()
	hidden := map[string]string{
		s.storeURL(): "STORE", s.shownStore(): "STORE", s.keyURL(): "KEY", s.data: "DATA", s.providers: "PROVIDERS", s.baseURL: "URL", s.listen: "ADDRESS", home: "HOME",
	}
	if u, err := url.Parse(s.store); err == nil && u.Scheme != "sqlite" {
		hidden[u.Hostname()], hidden[u.User.Username()], hidden[strings.Trim(u.Path, "/")] = "HOST", "USER", "DATABASE"
	}
	for _, f := range findings {
		if f.Part == "definitions" && !f.OK { // it quotes the file
			hidden[f.Says] = "a definition is refused; latchpost doctor says which one and why"
		}
	}
	for name := range s.released() { // may be a provider of their own
		hidden["--release "+name], hidden[strconv.Quote(name)] = "--release PROVIDER", `"PROVIDER"`
	}
	delete(hidden, "")
	// The longest first: one may hold another.
	longest := slices.SortedFunc(maps.Keys(hidden), func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, word := range longest {
		pairs = append(pairs, word, hidden[word])
	}
	return strings.NewReplacer(pairs...)
}

var address = regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b|[0-9a-fA-F]*(:[0-9a-fA-F]*){2,}(\.\d{1,3})*`)

// hideAddresses puts a word in the place of every IP address. A time of day has colons too.
func hideAddresses(s string) string {
	return address.ReplaceAllStringFunc(s, func(found string) string {
		if _, err := netip.ParseAddr(found); err != nil && strings.Count(found, ".") < 3 {
			return found
		}
		return "ADDRESS"
	})
}

// newestEvents reads an export of the record, line by line, and keeps the newest.
type newestEvents struct {
	known  *providers.Catalog
	events []supportEvent
}

func (n *newestEvents) Write(line []byte) (int, error) {
	var e supportEvent
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&e); err != nil {
		return 0, err
	}
	words := e.Detail
	e.Detail = map[string]string{}
	for _, name := range []string{"rule", "status", "cause", "at_provider", "how"} {
		if word, _, _ := strings.Cut(words[name], ":"); word != "" { // without the id of a grant
			e.Detail[name] = word
		}
	}
	if p, err := n.known.Get(e.Provider); e.Provider != "" && (err != nil || p.Custom) {
		e.Provider = "custom"
	}
	if n.events = append(n.events, e); len(n.events) == 50*supportEvents {
		n.events = n.cut()
	}
	return len(line), nil
}

func (n *newestEvents) cut() []supportEvent {
	slices.SortStableFunc(n.events, func(a, b supportEvent) int { return a.At.Compare(b.At) })
	return n.events[max(0, len(n.events)-supportEvents):]
}
