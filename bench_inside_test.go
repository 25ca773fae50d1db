package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/store"
)

// redaction: 1 MiB that comes back from an API, searched for three secrets.
func redaction() []figure {
	secrets := [][]byte{[]byte("gho_" + rand.Text() + rand.Text()), []byte(rand.Text() + "/" + rand.Text()), []byte(rand.Text())}
	redactor := egress.NewRedactor(secrets...)
	fill := func(unit string) []byte { return bytes.Repeat([]byte(unit), 1<<20/len(unit)) }
	usual := map[string][]byte{
		"plain JSON":         fill(`{"id":1296269,"name":"Hello-World","full_name":"octocat/Hello-World","private":false},`),
		"JSON with escapes":  fill(`{"body":"first line\nsecond \"line\"","url":"https:\/\/api.test\/x?a=1&b=2&c=%20"},`),
		"the secret, always": fill(string(secrets[0]) + " "),
	}
	hostile := map[string][]byte{
		"percent": fill(`%41`), "entities": fill(`&#65;`), "backslashes": fill(`\`), "slashes": fill(`\/`),
		"layers": fill(`\\\\\\\/x`), "nested": fill(`%5cu0025255c`),
	}
	return []figure{redact(redactor, "typical", usual).atMost(5), redact(redactor, "hostile", hostile).noTarget()}
}

// redact gives the slowest of the bodies.
func redact(redactor *egress.Redactor, what string, bodies map[string][]byte) figure {
	slowest := figure{Name: "redaction of 1 MiB, " + what, Unit: "ms"}
	var each string
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		times := make([]float64, 15)
		for i := range times {
			begin := time.Now()
			redactor.Redact(bodies[name])
			times[i] = time.Since(begin).Seconds() * 1e3
		}
		slowest.Value = max(slowest.Value, median(times))
		each += fmt.Sprintf("; %s %.2f ms (%.2f to %.2f)", name, median(times), slices.Min(times), slices.Max(times))
	}
	slowest.Note = "the slowest of" + each[1:]
	return slowest
}

// groupCommit: sixteen goroutines that need their record on disk, together and one by one.
func (m *bench) groupCommit() []figure {
	v := authtest.NewVault(m.b, authtest.Options{})
	var alone sync.Mutex
	var gain []float64
	var together, each float64
	for range m.rounds {
		a := m.append(v.Audit, func(fn func()) { fn() })
		b := m.append(v.Audit, func(fn func()) { alone.Lock(); defer alone.Unlock(); fn() })
		gain, together, each = append(gain, a/b), max(together, a), max(each, b)
	}
	return []figure{figure{
		Name: "audit records in group commits, 16 goroutines", Value: median(gain), Unit: "of a commit each",
		Note: fmt.Sprintf("%s; best rounds %.0f/s against %.0f/s, synchronous FULL, an fsync takes %.2f ms", spread(gain), together, each, syncTime(m.b, filepath.Join(v.Dir, "x"))),
	}.atLeast(2)}
}

// append gives records a second.
func (m *bench) append(log *store.Log, how func(func())) float64 {
	m.b.Helper()
	begin := time.Now()
	counts := make([]int, agents)
	var all sync.WaitGroup
	for n := range counts {
		all.Go(func() {
			for counts[n] == 0 || time.Since(begin) < m.round {
				var err error
				how(func() {
					err = log.Append(m.b.Context(), auth.Event{ID: rand.Text(), At: time.Now(), Owner: auth.Local, Client: client, Kind: "bench", Decision: "allow"})
				})
				if err != nil {
					m.b.Error(err)
					return
				}
				counts[n]++
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(begin).Seconds()
}

// singleFlight: 200 goroutines at an expired token wait no longer than one alone, and
// the provider hears of it once.
func (m *bench) singleFlight() []figure {
	now := time.Now()
	clock := func() time.Time { return now }
	v := authtest.NewVault(m.b, authtest.Options{Now: clock})
	v.Now = clock
	v.Release = map[string]bool{"practice": true}
	m.signIn(v)
	var times, one []float64
	before := v.Server.Stats().Refreshes
	const crowd = 200
	for range m.rounds {
		now = now.Add(2 * time.Hour)
		one = append(one, m.getAll(v, 1))
		now = now.Add(2 * time.Hour)
		times = append(times, m.getAll(v, crowd))
	}
	refreshes := float64(v.Server.Stats().Refreshes-before) / float64(2*m.rounds)
	return []figure{
		figure{
			Name: "refreshes at the provider for an expired token", Value: refreshes, Unit: "calls",
			Note: fmt.Sprintf("%d times 1 caller, %d times %d callers at once, %d refused", m.rounds, m.rounds, crowd, v.Server.Stats().InvalidGrant),
		}.atMost(1),
		figure{
			Name: fmt.Sprintf("refresh with %d callers, until the last has the token", crowd), Value: median(times), Unit: "ms",
			Note: fmt.Sprintf("%s; one caller alone %.2f ms (%s); each of them with its durable record", spread(times), median(one), spread(one)),
		}.noTarget(),
	}
}

func (m *bench) signIn(v *authtest.Vault) {
	m.b.Helper()
	link, err := requested(v.Request(m.b.Context(), auth.Caller{Owner: auth.Local, Client: client}, auth.Wish{Provider: "practice"}))
	if err != nil {
		m.b.Fatal(err)
	}
	browser := sha256.Sum256([]byte("browser"))
	if err := finish(m.b.Context(), v.Vault, v.Server, link, browser[:]); err != nil {
		m.b.Fatal(err)
	}
}

// getAll gives the ms until n goroutines have the raw token.
func (m *bench) getAll(v *authtest.Vault, n int) float64 {
	m.b.Helper()
	ready := make(chan struct{})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			<-ready
			h, err := v.Get(m.b.Context(), auth.Caller{Owner: auth.Local, Client: client}, auth.Need{Provider: "practice"})
			if err != nil || h.Released == nil {
				m.b.Errorf("%+v %v", h, err)
			}
		})
	}
	begin := time.Now()
	close(ready)
	all.Wait()
	return time.Since(begin).Seconds() * 1e3
}
