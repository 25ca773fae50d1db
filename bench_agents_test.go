package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/auth/authtest"
)

// The two generations of the protocol that are in use: with sessions, and without.
const (
	sessions  = "2025-11-25"
	stateless = "2026-07-28"
)

// bench is what the measurements share.
type bench struct {
	extent
	b                testing.TB
	latchpost, floor string // programs
	upstream         *process
	issuer           *authtest.Server
	few, usual, many *seeded
}

func newBench(b testing.TB, e extent) *bench {
	b.Helper()
	for _, tool := range []string{"go", "latchpost-replay"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	m := &bench{
		extent: e, b: b, issuer: authtest.NewServer(authtest.Options{}),
		latchpost: "latchpost", floor: build(b, filepath.Join(dir, "floor"), "./testdata/floor"),
	}
	b.Cleanup(m.issuer.Close)
	if e.released {
		m.latchpost = build(b, filepath.Join(dir, "latchpost"), ".")
	}
	m.upstream = start(b, nil, m.floor, "upstream")
	m.few = newSeeded(b, m.issuer, m.upstream, e.rows[0])
	m.usual = newSeeded(b, m.issuer, m.upstream, e.rows[1])
	m.many = newSeeded(b, m.issuer, m.upstream, e.rows[2])
	return m
}

// tool is a tool call of the agents' choice.
type tool struct {
	era, name string
	arguments func(agent, i int) string
	bearer    []string // of each wire
}

// ask is a load of n wires that call a tool of an MCP server.
func (m *bench) ask(name string, server *process, t tool, n int, expect string, counted ...*process) *load {
	m.b.Helper()
	l := &load{name: name, expect: expect, servers: append(counted, server)}
	heads := make([]string, n)
	for i := range n {
		w := dial(m.b, server.address)
		l.wires = append(l.wires, w)
		heads[i] = t.head(m.b, server.address, w, t.bearer[i%len(t.bearer)])
	}
	l.request = func(wire, i int) []byte {
		body := t.body(t.arguments(wire, i))
		return fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", heads[wire], len(body), body)
	}
	return l
}

// head is the header of every request of a wire; in the older generation it has a session.
func (t tool) head(b testing.TB, address string, w *wire, bearer string) string {
	b.Helper()
	head := "POST /mcp HTTP/1.1\r\nHost: " + address + "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"Authorization: Bearer " + bearer + "\r\nMCP-Protocol-Version: " + t.era
	if t.era == stateless {
		return head + "\r\nMcp-Method: tools/call\r\nMcp-Name: " + t.name
	}
	hello := `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"` + sessions + `","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`
	answer, err := w.send(fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", head, len(hello), hello))
	_, rest, found := strings.Cut(string(answer), "\r\nMcp-Session-Id: ")
	if err != nil || !found {
		b.Fatalf("initialize: %s %v", answer, err)
	}
	id, _, _ := strings.Cut(rest, "\r")
	return head + "\r\nMcp-Session-Id: " + id
}

func (t tool) body(arguments string) []byte {
	meta := ""
	if t.era == stateless {
		meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + stateless + `","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	}
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":%s%s}}`, t.name, arguments, meta)
}

// choice is which connections the agents ask for, one of them at a time.
type choice struct {
	name string
	of   func(s *seeded) int // so many of each owner, at random
}

// often is what agents really do: the server remembers what they ask for. seldom asks hardly twice in a
// round for the same, so that it is read from the store.
var (
	often   = choice{"of 25 an owner", func(s *seeded) int { return min(25, s.used) }}
	seldom  = choice{"any", func(s *seeded) int { return s.used }}
	choices = []choice{often, seldom}
)

// ask gives the arguments of a tool; more is what follows the account.
func (c choice) ask(s *seeded, more string) func(agent, i int) string {
	return func(agent, _ int) string {
		return `{"provider":"practice","account":"` + s.account(agent, rand.IntN(c.of(s))) + `"` + more + `}`
	}
}

// serve starts the real program, replay the one that only repeats itself.
func (m *bench) serve(s *seeded, more ...string) *process {
	return start(m.b, nil, m.latchpost, append(append([]string{"serve"}, s.flags...), more...)...)
}

func (m *bench) replay(s *seeded, more ...string) *process {
	return start(m.b, nil, "latchpost-replay", append(append([]string{}, s.flags...), more...)...)
}

// credentials: get_credential at the usual number of connections, each with its durable
// record, against the tool that does nothing and answers as many bytes.
func (m *bench) credentials() (lines []figure) {
	s := m.usual
	for _, kind := range []struct{ name, flag, expect string }{
		{"handle", "--release=none", "stays with Latchpost"},
		{"credential", "--release=practice", "This answer holds the credential itself"},
	} {
		real, noop := m.serve(s, kind.flag), m.replay(s, kind.flag)
		for _, era := range []string{sessions, stateless} {
			for _, c := range choices {
				t := tool{era, "get_credential", c.ask(s, ""), s.tokens}
				got := m.race(m.ask("get", real, t, agents, kind.expect), m.ask("no-op", noop, t, agents, kind.expect))
				share := ratios(got[0], got[1], rate)
				lines = append(lines, figure{
					Name: "get_credential gives a " + kind.name + ", " + c.name + ", " + era, Value: median(share), Unit: "of no-op calls/s",
					Note: fmt.Sprintf("%s; %d connections, %d callers, %.0f/s against %.0f/s, p99 %.1f against %.1f ms, CPU %.0f against %.0f µs a call",
						spread(share), m.rows[1], agents, median(of(got[0], rate)), median(of(got[1], rate)),
						median(of(got[0], p99)), median(of(got[1], p99)), median(of(got[0], cpu)), median(of(got[1], cpu))),
				}.atLeast(0.60))
			}
		}
	}
	return lines
}

// growth: what a call costs when there are a thousand times as many connections.
func (m *bench) growth() []figure {
	var loads []*load
	for _, s := range []*seeded{m.few, m.many} {
		t := tool{sessions, "get_credential", seldom.ask(s, ""), s.tokens}
		loads = append(loads, m.ask("get", m.serve(s, "--release=practice"), t, agents, "credential"))
	}
	got := m.race(loads...)
	grown := ratios(got[1], got[0], cpu)
	return []figure{figure{
		Name: "get_credential grows with connections", Value: median(grown), Unit: "of the CPU a call",
		Note: fmt.Sprintf("%s; %d connections %.0f µs, %d connections %.0f µs", spread(grown), m.rows[0], median(of(got[0], cpu)), m.rows[2], median(of(got[1], cpu))),
	}.atMost(1.5)}
}

// lists: list_connections through the guard and the bearer's look-up, against a
// server of mcp-go with one tool, which asks nobody anything.
func (m *bench) lists() (lines []figure) {
	server := m.serve(m.usual)
	bearer := m.usual.tokens[agents:]
	empty := func(int, int) string { return "{}" }
	for _, era := range []string{sessions, stateless} {
		t := tool{era, "list_connections", empty, bearer}
		ours := m.ask("list", server, t, agents, "3 connected")
		answer, err := ours.wires[0].send(ours.request(0, 0))
		if err != nil {
			m.b.Fatal(err)
		}
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			m.b.Fatal(err)
		}
		var message struct {
			Result json.RawMessage `json:"result"`
		}
		if err := json.NewDecoder(response.Body).Decode(&message); err != nil {
			m.b.Fatal(err)
		}
		floor := m.ask("bare", start(m.b, bytes.NewReader(message.Result), m.floor, "mcp"), t, agents, "3 connected")
		got := m.race(ours, floor)
		share := ratios(got[0], got[1], rate)
		lines = append(lines, figure{
			Name: "list_connections behind all layers, " + era, Value: median(share), Unit: "of bare mcp-go calls/s",
			Note: fmt.Sprintf("%s; %d callers, %.0f/s against %.0f/s, p99 %.1f against %.1f ms, CPU %.0f against %.0f µs a call",
				spread(share), agents, median(of(got[0], rate)), median(of(got[1], rate)), median(of(got[0], p99)), median(of(got[1], p99)),
				median(of(got[0], cpu)), median(of(got[1], cpu))),
		}.atLeast(0.85))
	}
	return lines
}
