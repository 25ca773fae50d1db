package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// nearest is what the nearest comparable broker reached on such a machine, in calls a
// second at 16 connections and without a durable record, measured on 23 November 2026.
const nearest = 1826

// calls: call_api with its durable record, against the same upstream called directly,
// through a plain reverse proxy, and against the tool that does nothing.
func (m *bench) calls() (lines []figure) {
	s := m.usual
	real, noop := m.serve(s), m.replay(s)
	proxy := start(m.b, nil, m.floor, "proxy", "http://"+m.upstream.address)
	repos := func(c choice) func(agent, i int) string { return c.ask(s, `,"path":"/repos"`) }
	for _, kind := range []struct {
		era string
		choice
	}{{sessions, often}, {stateless, often}, {sessions, seldom}, {stateless, seldom}} {
		t := tool{kind.era, "call_api", repos(kind.choice), s.tokens}
		got := m.race(
			m.ask("call_api", real, t, agents, "hello-world-8"), m.ask("no-op", noop, t, agents, "hello-world-8"),
			m.fetch("direct", m.upstream, agents), m.fetch("proxy", proxy, agents, m.upstream),
		)
		share := ratios(got[0], got[1], rate)
		lines = append(lines, figure{
			Name: "call_api, 16 connections, " + kind.name + ", " + kind.era, Value: median(share), Unit: "of no-op calls/s",
			Note: fmt.Sprintf("%s; %s", spread(share), againstFloors(got)),
		}.atLeast(0.40))
		if kind.era == stateless {
			continue
		}
		rates := of(got[0], rate)
		lines = append(lines, figure{
			Name: "call_api, 16 connections, " + kind.name, Value: median(rates), Unit: "calls/s",
			Note: fmt.Sprintf("%s; the target is 1.5 times the nearest broker; load average %s", spread(rates), loadAverage()),
		}.atLeast(1.5*nearest))
		times := of(got[0], p99)
		lines = append(lines, figure{
			Name: "call_api, 16 connections, " + kind.name + ", slowest hundredth", Value: median(times), Unit: "ms", Note: spread(times) + "; the nearest broker had 24 ms",
		}.atMost(24))
	}
	return append(lines, m.alone(real, proxy, tool{sessions, "call_api", repos(often), s.tokens}))
}

// alone is what a single caller waits longer than without us.
func (m *bench) alone(real, proxy *process, t tool) figure {
	got := m.race(m.ask("call_api", real, t, 1, "hello-world-8"), m.fetch("direct", m.upstream, 1), m.fetch("proxy", proxy, 1, m.upstream))
	ours, direct, proxied := of(got[0], p50), of(got[1], p50), of(got[2], p50)
	added := make([]float64, len(ours))
	for i := range ours {
		added[i] = ours[i] - direct[i]
	}
	return figure{
		Name: "call_api, 1 connection, added time", Value: median(added), Unit: "ms",
		Note: fmt.Sprintf("%s; medians %.3f against %.3f ms direct and %.3f ms by proxy, p99 %.1f against %.1f ms; an fsync takes %.2f ms on this disk; load average %s",
			spread(added), median(ours), median(direct), median(proxied), median(of(got[0], p99)), median(of(got[1], p99)), syncTime(m.b, m.usual.dir), loadAverage()),
	}.atMost(0.7)
}

func againstFloors(got [][]sample) string {
	return fmt.Sprintf("%.0f/s against %.0f/s no-op, %.0f/s direct, %.0f/s by proxy; p99 %.1f, %.1f, %.1f, %.1f ms; CPU %.0f µs a call against %.0f µs no-op",
		median(of(got[0], rate)), median(of(got[1], rate)), median(of(got[2], rate)), median(of(got[3], rate)),
		median(of(got[0], p99)), median(of(got[1], p99)), median(of(got[2], p99)), median(of(got[3], p99)),
		median(of(got[0], cpu)), median(of(got[1], cpu)))
}

// fetch is a load of n wires that get the upstream's answer by plain HTTP.
func (m *bench) fetch(name string, server *process, n int, counted ...*process) *load {
	l := &load{name: name, expect: "hello-world-8", servers: append(counted, server)}
	for range n {
		l.wires = append(l.wires, dial(m.b, server.address))
	}
	request := []byte("GET /api/repos HTTP/1.1\r\nHost: " + server.address + "\r\nAuthorization: Bearer bench\r\nAccept: application/json\r\n\r\n")
	l.request = func(int, int) []byte { return request }
	return l
}

// syncTime is the median of small writes that are synced, in ms.
func syncTime(b testing.TB, dir string) float64 {
	f, err := os.CreateTemp(filepath.Dir(dir), "sync")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	times := make([]float64, 101)
	for i := range times {
		start := time.Now()
		if _, err := f.WriteAt(make([]byte, 4096), int64(i)*4096); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(start).Seconds() * 1e3
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// loadAverage of the last minute tells how much of the machine others had.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	var minute string
	fmt.Sscan(string(text), &minute)
	return minute
}
