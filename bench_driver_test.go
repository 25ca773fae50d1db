package main

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// wire is one keep-alive connection of the driver. It speaks just enough HTTP to take
// little of the processor, which driver and server share.
type wire struct {
	net.Conn
	buf []byte
}

func dial(b testing.TB, address string) *wire {
	b.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return &wire{conn, make([]byte, 64<<10)}
}

var (
	endOfHeader = []byte("\r\n\r\n")
	lengthField = []byte("\r\nContent-Length: ")
	lastChunk   = []byte("\r\n0\r\n\r\n")
)

// send sends a whole request and gives the whole answer, header and all, until the next send.
func (w *wire) send(request []byte) ([]byte, error) {
	if _, err := w.Write(request); err != nil {
		return nil, err
	}
	for n, want := 0, 0; ; {
		got, err := w.Read(w.buf[n:])
		if err != nil {
			return nil, err
		}
		n += got
		head := bytes.Index(w.buf[:n], endOfHeader)
		if head < 0 {
			continue
		}
		if want == 0 {
			if at := bytes.Index(w.buf[:head], lengthField); at >= 0 {
				digits, _, _ := bytes.Cut(w.buf[at+len(lengthField):head+2], []byte("\r"))
				length, err := strconv.Atoi(string(digits))
				if err != nil {
					return nil, err
				}
				want = head + len(endOfHeader) + length
			}
		}
		if want > 0 && n >= want || want == 0 && bytes.HasSuffix(w.buf[:n], lastChunk) {
			return w.buf[:n], nil
		}
	}
}

// load is what one contender is asked: by each wire, one request after another.
type load struct {
	name    string
	wires   []*wire
	request func(wire, i int) []byte
	expect  string     // must stand in every answer
	servers []*process // whose processor time counts
}

// sample is what one round of one load brought.
type sample struct {
	rate     float64 // answers a second
	cpu      float64 // µs of the servers' processor time an answer
	p50, p99 float64 // ms
}

func (l *load) run(b testing.TB, d time.Duration) sample {
	b.Helper()
	took := make([][]float64, len(l.wires))
	failed := make([]error, len(l.wires))
	before := processorTime(b, l.servers)
	start := time.Now()
	var all sync.WaitGroup
	for n, w := range l.wires {
		all.Go(func() {
			last := start
			for i := 0; i == 0 || last.Sub(start) < d; i++ {
				answer, err := w.send(l.request(n, i))
				if err == nil && (!bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) || !bytes.Contains(answer, []byte(l.expect))) {
					err = fmt.Errorf("%s", answer)
				}
				if err != nil {
					failed[n] = err
					return
				}
				now := time.Now()
				took[n] = append(took[n], now.Sub(last).Seconds()*1e3)
				last = now
			}
		})
	}
	all.Wait()
	elapsed := time.Since(start).Seconds()
	for _, err := range failed {
		if err != nil {
			b.Fatalf("%s: %v", l.name, err)
		}
	}
	times := slices.Sorted(slices.Values(slices.Concat(took...)))
	n := len(times)
	return sample{
		rate: float64(n) / elapsed, cpu: (processorTime(b, l.servers) - before).Seconds() * 1e6 / float64(n),
		p50: times[n/2], p99: times[n*99/100],
	}
}

// race gives each load a short round, in turns, so that what else the machine does
// meets all of them.
func (m *bench) race(loads ...*load) [][]sample {
	m.b.Helper()
	samples := make([][]sample, len(loads))
	for _, l := range loads {
		l.run(m.b, m.round/4) // warm
	}
	for r := range m.rounds {
		for k := range loads {
			i := (r + k) % len(loads)
			samples[i] = append(samples[i], loads[i].run(m.b, m.round))
		}
	}
	return samples
}

// of picks one figure of each round.
func of(samples []sample, pick func(sample) float64) []float64 {
	all := make([]float64, len(samples))
	for i, s := range samples {
		all[i] = pick(s)
	}
	return all
}

// ratios divides round by round.
func ratios(a, b []sample, pick func(sample) float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = pick(a[i]) / pick(b[i])
	}
	return all
}

func rate(s sample) float64 { return s.rate }
func cpu(s sample) float64  { return s.cpu }
func p50(s sample) float64  { return s.p50 }
func p99(s sample) float64  { return s.p99 }
