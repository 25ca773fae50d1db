package main

import (
	"bufio"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/egress"
)

// BF-024, BF-027: an API sends more than an answer has, such as a body where there is none, and the credential in it.
// net/http has a word to say about that; what the API sent is not in it.
func TestSurplusOfAnAnswerIsNotLogged(t *testing.T) {
	const canary = "c4n4ry-s3cr3t"
	var out transcript
	log.SetOutput(discreet{&out})
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = l.Close() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				r, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, you sent "+r.Header.Get("Authorization"))
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	c := egress.New(egress.Options{Loopback: true})
	t.Cleanup(c.CloseIdle)
	target, err := egress.Parse("http://"+l.Addr().String()+"/", egress.ParseOptions{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD"} { // each on a connection of its own: the surplus of one would be the answer to the other
		if _, err := c.Do(t.Context(), egress.Request{Method: method, Party: method, Target: target, Header: http.Header{"Authorization": {"Bearer " + canary}}}); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); strings.Count(out.String(), "Unsolicited response") < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("net/http says %q: this test tries nothing", out.String())
		}
	}
	if strings.Contains(out.String(), canary) || strings.Contains(out.String(), "you sent") {
		t.Errorf("logged: %s", out.String())
	}
}
