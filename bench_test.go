package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// BenchmarkTargets measures what is promised, and prints one JSON object
// a line. Every figure is a ratio to a floor that is measured in the same run, in
// rounds that take turns, because the machine is never ours alone; what stands in a
// figure is the median of the rounds, and the note has their spread.
// docs/performance.md explains the lines.
func BenchmarkTargets(b *testing.B) {
	fmt.Println() // the testing package leaves its line open
	lines := json.NewEncoder(os.Stdout)
	lines.SetEscapeHTML(false)
	for _, f := range measure(b, full) {
		if err := lines.Encode(f); err != nil {
			b.Fatal(err)
		}
	}
}

// The benchmarks themselves work: each line comes out whole. Nothing is said about
// the figures, which mean nothing in so short a time.
func TestTargetsAreMeasured(t *testing.T) {
	lines := measure(t, small)
	if len(lines) < 15 {
		t.Errorf("only %d lines", len(lines))
	}
	seen := map[string]bool{}
	for _, l := range lines {
		if l.Name == "" || l.Unit == "" || l.Note == "" || l.Value <= 0 {
			t.Errorf("incomplete: %+v", l)
		}
		if seen[l.Name] {
			t.Errorf("twice: %s", l.Name)
		}
		seen[l.Name] = true
	}
}

// figure is one line of make bench.
type figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target string  `json:"target"` // "" is a figure for information
	OK     bool    `json:"ok"`
	Note   string  `json:"note"`
}

// extent is how much is measured.
type extent struct {
	rows   [3]int // connections in the stores: few, usual, many
	rounds int
	round  time.Duration
	starts int // processes started one after another
	// released means to measure the program as users get it, and not as it is in the test binary.
	released bool
}

var (
	full  = extent{rows: [3]int{1_000, 100_000, 1_000_000}, rounds: 9, round: 600 * time.Millisecond, starts: 21, released: true}
	small = extent{rows: [3]int{100, 200, 400}, rounds: 1, round: 60 * time.Millisecond, starts: 1} // the kernel counts time in ticks of 10 ms
)

func measure(b testing.TB, e extent) []figure {
	m := newBench(b, e)
	return slices.Concat(
		m.credentials(), m.growth(), m.lists(), m.calls(), m.starting(),
		redaction(), m.groupCommit(), m.singleFlight(),
	)
}

// atLeast and atMost judge a value by its target.
func (f figure) atLeast(limit float64) figure {
	f.Target, f.OK = fmt.Sprintf(">= %g", limit), f.Value >= limit
	return f
}

func (f figure) atMost(limit float64) figure {
	f.Target, f.OK = fmt.Sprintf("<= %g", limit), f.Value <= limit
	return f
}

func (f figure) noTarget() figure {
	f.OK = true
	return f
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread tells the range of the rounds.
func spread(of []float64) string {
	return fmt.Sprintf("rounds %.3g to %.3g", slices.Min(of), slices.Max(of))
}
