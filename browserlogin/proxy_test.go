package browserlogin

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// closes tells when a connection is closed.
type closes struct {
	*net.TCPConn
	done chan struct{}
}

func (c closes) Close() error {
	close(c.done)
	return c.TCPConn.Close()
}

// DS-008: a tunnel ends with the browser, also when the site neither ends its side of it nor says anything more: it would
// stay for ever, and take two descriptors.
func TestTunnelEndsWithTheBrowser(t *testing.T) {
	site, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	ended := make(chan struct{})
	p, err := startProxy(func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return closes{c.(*net.TCPConn), ended}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	browser, err := net.Dial("tcp", strings.TrimPrefix(p.url(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(browser, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", site.Addr())
	if res, err := http.ReadResponse(bufio.NewReader(browser), nil); err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	far, err := site.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	browser.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the tunnel is still open")
	}
}
