package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

type auditSettings struct{ keep time.Duration }

func auditFlags(fs *flag.FlagSet, s *settings) {
	userFlags(fs, s)
	jsonFlag(fs, s)
	fs.DurationVar(&s.audit.keep, "keep", 365*24*time.Hour, "`time` of events that trim leaves, such as 8760h")
}

// audit reads the record: verify checks the chain, export prints it as JSON lines,
// tail shows the last events, trim removes what is older than --keep.
func audit(ctx context.Context, s *settings, args []string) error {
	if len(args) != 1 || !slices.Contains([]string{"verify", "export", "tail", "trim"}, args[0]) {
		return usagef("audit takes verify, export, tail or trim")
	}
	if s.audit.keep < 0 {
		return usagef("--keep must be a time that has passed, such as 8760h, or 0 to leave nothing")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	switch args[0] {
	case "verify":
		return h.verifyAudit(ctx)
	case "export":
		return h.audit.Export(ctx, s.out)
	case "trim":
		removed, err := h.audit.Trim(ctx, time.Now().Add(-s.audit.keep))
		if err != nil {
			return err
		}
		if s.json {
			return json.NewEncoder(s.out).Encode(map[string]int64{"removed": removed})
		}
		fmt.Fprintf(s.out, "%d events removed; the chain goes on from there.\n", removed)
		return nil
	}
	return h.tailAudit(ctx)
}

func (h *house) verifyAudit(ctx context.Context) error {
	s := h.settings
	report, err := h.audit.Verify(ctx)
	if err == nil {
		err = s.showVerified(report)
	}
	switch {
	case err != nil:
		return err
	case len(report.Faults) > 0:
		return fmt.Errorf("the record was changed outside of Latchpost in %d places; keep a copy of the store and look into it", len(report.Faults))
	case report.Unread != nil:
		return fmt.Errorf("the %d events that are there are as they were written, but whether some are missing at the end cannot be told: %w", report.Events, report.Unread)
	}
	if _, err := os.Stat(filepath.Join(s.data, "audit.anchor")); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(s.err, "There is no audit.anchor in %s. If there was one, events may be missing at the end.\n", s.data)
	}
	return nil
}

func (s *settings) showVerified(r store.Report) error {
	v := verifiedOf(r)
	if s.json {
		return json.NewEncoder(s.out).Encode(v)
	}
	for _, f := range r.Faults {
		fmt.Fprintln(s.out, "changed:", f)
	}
	if !v.Whole {
		return nil
	}
	fmt.Fprintf(s.out, "%d events of %d processes: nothing was changed, removed, moved or added.\n", r.Events, r.Writers)
	if r.Trimmed > 0 {
		fmt.Fprintf(s.out, "%d older ones were removed by latchpost audit trim; audit tail and export tell when (audit.trim).\n", r.Trimmed)
	}
	return nil
}

// verified is what audit verify found, with --json.
type verified struct {
	Whole     bool    `json:"whole"`
	Events    int64   `json:"events"`
	Processes int     `json:"processes"`
	Trimmed   int64   `json:"trimmed"` // older ones, which audit trim removed
	Faults    []fault `json:"faults,omitempty"`
	Unread    string  `json:"anchor_unread,omitempty"` // why nobody knows whether the end is missing
}

type fault struct {
	Writer string `json:"writer,omitempty"`
	Seq    int64  `json:"seq"`
	What   string `json:"what"`
}

func verifiedOf(r store.Report) verified {
	v := verified{Whole: len(r.Faults) == 0 && r.Unread == nil, Events: r.Events, Processes: r.Writers, Trimmed: r.Trimmed}
	for _, f := range r.Faults {
		v.Faults = append(v.Faults, fault(f))
	}
	if r.Unread != nil {
		v.Unread = r.Unread.Error()
	}
	return v
}

func (h *house) tailAudit(ctx context.Context) error {
	var events []auth.Event
	for _, o := range []auth.Owner{h.settings.owner(), {}} { // the owner's, and the operator's
		some, err := h.vault.Desk(o).Events(ctx, auth.EventFilter{Limit: 50})
		if err != nil {
			return err
		}
		events = append(events, some...)
	}
	slices.SortStableFunc(events, func(a, b auth.Event) int { return a.At.Compare(b.At) })
	type event struct {
		At       string            `json:"at"`
		Kind     string            `json:"kind"`
		Decision string            `json:"decision"`
		Client   string            `json:"client,omitempty"`
		Provider string            `json:"provider,omitempty"`
		Outcome  string            `json:"outcome,omitempty"` // "unknown" for a call without one
		Detail   map[string]string `json:"detail,omitempty"`
	}
	lines := make([]event, len(events))
	for i, e := range events {
		lines[i] = event{stamp(e.At), e.Kind, e.Decision, e.Client, e.Provider, e.Outcome, e.Detail}
	}
	return show(h.settings, lines, "Nothing is on record yet.", "AT\tKIND\tDECISION\tCLIENT\tPROVIDER\tDETAILS", func(e event) []string {
		return []string{e.At, e.Kind, e.Decision, orDash(e.Client), orDash(e.Provider), details(e.Detail, e.Outcome)}
	})
}

func details(d map[string]string, outcome string) string {
	var text []string
	if outcome != "" {
		text = append(text, "outcome="+outcome)
	}
	for _, name := range []string{"method", "host", "path", "rule", "status", "cause", "account", "at_provider", "events", "until"} {
		if d[name] != "" {
			text = append(text, name+"="+d[name])
		}
	}
	return strings.Join(text, " ")
}
