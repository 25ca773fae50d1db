package auth_test

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

const (
	getters     = 200 // goroutines in each process
	generations = 200
)

// generation is what the processes are told, and tell.
type generation struct {
	Ahead  time.Duration
	Tokens map[string]int // goroutines by the hash of the token they got
	Errors []string
}

// getterChild gets the credential in many goroutines each time it is told that
// the clock went on.
func getterChild(ctx context.Context, in *json.Decoder) error {
	var at site
	if err := in.Decode(&at); err != nil {
		return err
	}
	v, db, err := at.open(ctx, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	out, now := json.NewEncoder(os.Stdout), newClock(0)
	v.Now = now.Now
	for {
		var g generation
		if err := in.Decode(&g); err != nil {
			return err
		}
		now.ahead.Store(int64(g.Ahead))
		g.Tokens, g.Errors = getMany(getters, func() (*auth.Handle, error) { return v.Get(ctx, agent, practiceNeed) })
		if err := out.Encode(g); err != nil {
			return err
		}
	}
}

// RF-002, ST-014, D1: four processes with 200 goroutines each come to an expired token at the
// same time, again and again, at a server that rotates and kills the family on reuse. Each
// generation is made by one request, and everybody gets it.
func TestRefreshOnceOverProcesses(t *testing.T) {
	rounds := generations // LATCHPOST_ROUNDS=10000 is the long run
	if n, err := strconv.Atoi(os.Getenv("LATCHPOST_ROUNDS")); err == nil {
		rounds = n
	}
	if testing.Short() {
		rounds = 20
	}
	v := authtest.NewVault(t, authtest.Options{})
	connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
	processes := make([]*child, 4)
	for i := range processes {
		processes[i] = start(t, "getter", siteOf(v))
	}
	seen := map[string]bool{}
	for n := 1; n <= rounds; n++ {
		for _, p := range processes {
			if err := p.in.Encode(generation{Ahead: time.Duration(n) * 2 * time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		tokens := map[string]int{}
		for _, p := range processes {
			var g generation
			if !p.out.Scan() {
				t.Fatalf("round %d: a process is gone: %v", n, p.out.Err())
			}
			if err := json.Unmarshal(p.out.Bytes(), &g); err != nil || len(g.Errors) > 0 {
				t.Fatalf("round %d: %v, %d errors, such as %q", n, err, len(g.Errors), g.Errors[:min(1, len(g.Errors))])
			}
			for token, count := range g.Tokens {
				tokens[token] += count
			}
		}
		for token, count := range tokens {
			if count != getters*len(processes) || seen[token] {
				t.Fatalf("round %d: tokens %v", n, tokens)
			}
			seen[token] = true
		}
		if stats := v.Server.Stats(); stats.Refreshes != n || stats.InvalidGrant != 0 || stats.MaxPerGeneration != 1 {
			t.Fatalf("round %d: %+v", n, stats)
		}
	}
}
