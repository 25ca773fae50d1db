package guard

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// HL-018, DS-002: connections that send nearly all of a body and then nothing have a bounded part of memory, without having
// signed in. When they have gone it is there for others.
func TestServerBoundsBodiesTogether(t *testing.T) {
	const most = 64 << 20 // a quarter of it for one address
	var refused atomic.Int64
	authority := start(t, Options{
		MaxBodies: most, Class: func(string) Class { return Class{MaxBody: 4 << 20} }, Refused: func(string) { refused.Add(1) },
	}, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	part := bytes.Repeat([]byte{' '}, 4<<20-1)
	var open []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", authority)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", authority, 4<<20)
		c.Write(part) // to its end, or until it is refused
		open = append(open, c)
	}
	if !soon(func() bool { return refused.Load() >= 16 }) {
		t.Errorf("%d of 20 were refused", refused.Load())
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > most {
		t.Errorf("%d MiB are held", held>>20)
	}
	for _, c := range open {
		c.Close()
	}
	whole := "POST / HTTP/1.1\r\nHost: $HOST\r\nContent-Type: application/json\r\nContent-Length: 4194304\r\nConnection: close\r\n\r\n " + string(part)
	if !soon(func() bool { return status(raw(t, authority, whole)) == "200" }) {
		t.Error("what was sent is counted for ever")
	}
}

// DS-002: the bound of all is there for everybody, and nothing stays counted, however a request ends.
func TestBodiesOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(Options{Hosts: []string{"ours.test:1"}, MaxBodies: 40, Logger: slog.New(slog.DiscardHandler)})
		hold, inside := make(chan struct{}), make(chan struct{}, 4)
		send := func(from, path, body string) chan int {
			r, status := httptest.NewRequest("POST", "http://ours.test:1"+path, strings.NewReader(body)), make(chan int, 1)
			r.RemoteAddr = from + ":1000"
			r.Header.Set("Content-Type", "application/json")
			go func() {
				defer func() { _ = recover() }() // of ErrAbortHandler
				defer close(status)
				w := httptest.NewRecorder()
				g.serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					switch r.Body = http.NoBody; r.URL.Path { // whatever a handler does with it
					case "/hold":
						inside <- struct{}{}
						<-hold
					case "/panic":
						panic("no")
					case "/abort":
						panic(http.ErrAbortHandler)
					}
				}))
				status <- w.Code
			}()
			return status
		}
		var held []chan int
		for i := range 4 {
			held = append(held, send(fmt.Sprintf("192.0.2.%d", i), "/hold", "1234567890"))
		}
		for range 4 {
			<-inside
		}
		if got := <-send("192.0.2.9", "/", "1"); got != http.StatusServiceUnavailable {
			t.Errorf("beyond the bound of all: %d", got)
		}
		if got := <-send("192.0.2.1", "/", "1"); got != http.StatusTooManyRequests {
			t.Errorf("beyond the bound of an address: %d", got)
		}
		close(hold)
		for _, h := range held {
			if got := <-h; got != http.StatusOK {
				t.Errorf("within the bounds: %d", got)
			}
		}
		for _, path := range []string{"/", "/panic", "/abort"} {
			<-send("192.0.2.1", path, "1234567890")
		}
		synctest.Wait()
		if len(g.bodies.of.of) != 0 {
			t.Errorf("still counted: %v", g.bodies.of.of)
		}
	})
}

// soon reports whether something comes true within ten seconds.
func soon(is func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
