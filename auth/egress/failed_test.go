package egress

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The operator is told why a server cannot be reached, and by which address; what the caller reads has neither. What is the
// caller's own doing is not told.
func TestFailedIsTold(t *testing.T) {
	var told []string
	opt := Options{HeaderTimeout: 50 * time.Millisecond, Failed: func(host string, err *Error) { told = append(told, host+": "+err.Detail()) }}
	c, url := newTLS(t, opt, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/large":
			_, _ = w.Write(make([]byte, 2000))
		default:
			http.NotFound(w, r)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name, url string
		change    func(o *Options)
		ctx       context.Context
		want      string // "" = nothing is told
	}{
		{"nobody listens", "http://" + closed + "/", nil, nil, "127.0.0.1: cannot connect: dial tcp " + closed + ": connect: connection refused"},
		{"an address inside", "https://inside.example.com/", func(o *Options) { o.Resolver = resolvesTo("10.1.2.3") }, nil, "inside.example.com: address not allowed: 10.1.2.3 is private"},
		{"another certificate", strings.Replace(url, "example.com", "other.com", 1) + "/", nil, nil, "other.com: no trusted TLS connection: tls: failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not other.com"},
		{"silent", url + "/silent", nil, nil, "example.com: no answer in time"},
		{"not found", url + "/", nil, nil, ""},
		{"too large", url + "/large", nil, nil, ""},
		{"the caller has left", url + "/", nil, ended, ""},
	} {
		told = nil
		c := c
		if test.change != nil {
			other := opt
			test.change(&other)
			c = New(other)
		}
		target, err := Parse(test.url, ParseOptions{Loopback: true})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		if test.ctx != nil {
			ctx = test.ctx
		}
		_, err = c.Do(ctx, Request{Method: "GET", Target: target, MaxBody: 1000})
		if got := strings.Join(told, "; "); got != test.want {
			t.Errorf("%s: told %q, not %q", test.name, got, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "10.1.2.3") || strings.Contains(err.Error(), closed)) {
			t.Errorf("%s: the caller reads %q", test.name, err)
		}
	}
}
