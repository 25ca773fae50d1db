package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// callerConfig is what a child that makes calls has to know.
type callerConfig struct {
	Site site
	Run  string // part of every path it calls
	Disk uint64 // bytes that a file may have; 0 = as many as there are
}

// callerChild makes calls, four at a time, until it is killed or its disk is full.
func callerChild(ctx context.Context, in *json.Decoder) error {
	var config callerConfig
	if err := in.Decode(&config); err != nil {
		return err
	}
	v, _, err := config.Site.open(ctx, nil)
	if err != nil {
		return err
	}
	if config.Disk > 0 {
		if err := limitFiles(config.Disk); err != nil {
			return err
		}
	}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for n := 0; ; n++ {
				_, err := v.Call(ctx, agent, auth.Call{Provider: "practice", Path: fmt.Sprintf("/content/%s-%d-%d", config.Run, g, n)})
				if errors.Is(err, auth.ErrAudit) {
					fmt.Println("full")
					return
				}
				fmt.Println("called")
			}
		})
	}
	all.Wait()
	return nil
}

// AU-012, AU-001, AU-002: the power is cut at any point, and the disk fails at any point, again and again. No request
// reached the API without its record, and no record claims an answer that the API never gave.
func TestPowerCut(t *testing.T) {
	v := ready(t, authtest.Options{})
	for round := range 6 {
		c := start(t, "caller", callerConfig{Site: siteOf(v), Run: fmt.Sprint(round)})
		for range 1 + round*13 {
			if !c.out.Scan() {
				t.Fatal("the child ended early")
			}
		}
		c.kill(t)
	}
	full := start(t, "caller", callerConfig{Site: siteOf(v), Run: "disk", Disk: 4 << 20})
	refused := 0
	for refused < 4 && full.out.Scan() {
		if full.out.Text() == "full" {
			refused++
		}
	}
	if refused < 4 {
		t.Fatal("the child with the small disk ended early")
	}
	compare(t, v)
}

// compare holds what reached the API against what is on record.
func compare(t *testing.T, v *authtest.Vault) {
	t.Helper()
	v.Reopen()
	report, err := v.Audit.Verify(t.Context())
	if err != nil || len(report.Faults) > 0 {
		t.Fatalf("the record: %v, %v", report.Faults, err)
	}
	reached := map[string]bool{}
	for _, r := range v.API.Requests("") {
		reached[r.Path] = true
	}
	recorded, paths := map[string]bool{}, map[string]string{}
	for _, e := range events(t, v, "call") {
		recorded[e.Detail["path"]], paths[e.ID] = true, e.Detail["path"]
	}
	for path := range reached {
		if !recorded[path] {
			t.Errorf("%s was sent and is not on record", path)
		}
	}
	answered := 0
	for _, e := range events(t, v, "call.done") {
		if e.Decision == "ok" && !reached[paths[e.Of]] {
			t.Errorf("%s is on record as answered and never reached the API", paths[e.Of])
		}
		answered++
	}
	if open := len(paths) - answered; len(reached) < 50 || open < 0 || open > 7*4 {
		t.Errorf("%d requests, %d records, %d outcomes", len(reached), len(paths), answered)
	}
	all, err := v.Desk(auth.Local).Events(t.Context(), auth.EventFilter{Kind: "call", Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	unknown := 0
	for _, e := range all {
		if e.Outcome == "unknown" {
			unknown++
		}
	}
	if open := len(paths) - answered; unknown != open {
		t.Errorf("%d calls read as unknown, and %d have no outcome", unknown, open)
	}
	t.Logf("%d requests reached the API, %d are on record, %d of them without an outcome", len(reached), len(paths), len(paths)-answered)
}
