package browserlogin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/providers"
)

// A viewer that is told goodbye, and answers with the beginning of a message of which the rest never
// comes, holds neither its login nor the server.
func TestViewerThatStays(t *testing.T) {
	var srv *httptest.Server
	pool, err := New(Options{DriverDir: t.TempDir(), Allowed: func(*http.Request, string) error { return nil }, Origins: func() []string { return []string{srv.URL} }})
	if err != nil {
		t.Fatal(err)
	}
	srv = httptest.NewServer(pool.Handler())
	defer srv.Close()
	s := newSession(pool, newID(), Login{Site: &providers.Browser{}})
	pool.logins[s.id] = s
	cookie, ticket, _ := s.door.admit("")

	host := strings.TrimPrefix(srv.URL, "http://")
	c, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /live/%s/ws HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nCookie: %s=%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		s.id, host, srv.URL, s.viewCookie(false), cookie)
	in := bufio.NewReader(c)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	// Masked with zeros, text, one frame each.
	say := func(text string) {
		c.Write(append([]byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}, text...))
	}
	say(fmt.Sprintf(`{"t":"hello","ticket":%q,"w":800,"h":600,"take":false}`, ticket))
	say(`{{`)
	c.Write([]byte{0x81, 0x80 | 127, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) // 2⁵⁶ bytes are to come

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
		s.endView()
	}()
	select {
	case <-ended:
	case <-time.After(3 * writeTimeout):
		t.Error("the viewer is still there")
	}
}
