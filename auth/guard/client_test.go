package guard

import (
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// Some proxies name the port too (Azure's, and Amazon's on request). Taken for nobody, all who come through them would share the
// bounds of one address. What a client writes itself counts for nothing.
func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for forwarded, want := range map[string]string{
		"192.0.2.3":                              "192.0.2.3",
		"192.0.2.3:52012":                        "192.0.2.3",
		"2001:db8::3":                            "2001:db8::3",
		"[2001:db8::3]:52012":                    "2001:db8::3",
		"[2001:db8::3]":                          "2001:db8::3",
		"::ffff:192.0.2.3":                       "192.0.2.3",
		"6.6.6.6:1, 192.0.2.3:52012, 10.0.0.2:1": "192.0.2.3",
		"192.0.2.3, unknown":                     "10.0.0.1",
		"192.0.2.3, 6.6.6.6:port":                "10.0.0.1",
		"":                                       "10.0.0.1",
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:5", Header: http.Header{"X-Forwarded-For": {forwarded}}}
		if got := ClientAddr(r, trusted); got.String() != want {
			t.Errorf("%q: %s, want %s", forwarded, got, want)
		}
	}
}

// DS-002: a client of a proxy gets no more requests under way than it could have connections without one, and leaves the
// others theirs; one whose body does not come does not keep its place for that.
func TestClientsOfAProxyAreBounded(t *testing.T) {
	hold, inside := make(chan struct{}), make(chan struct{}, 2)
	authority := start(t, Options{MaxConnsPerIP: 2, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			inside <- struct{}{}
			<-hold
		}
	})
	send := func(path, client string) (answer chan string) {
		answer = make(chan string, 1)
		go func() {
			answer <- status(raw(t, authority, "GET "+path+" HTTP/1.1\r\nHost: $HOST\r\nX-Forwarded-For: "+client+"\r\nConnection: close\r\n\r\n"))
		}()
		return answer
	}
	first, second := send("/hold", "192.0.2.1"), send("/hold", "192.0.2.1")
	<-inside
	<-inside
	for client, want := range map[string]string{"192.0.2.1": "429", "6.6.6.6, 192.0.2.1": "429", "192.0.2.2": "200", "": "200"} {
		if got := <-send("/", client); got != want {
			t.Errorf("beside two requests of 192.0.2.1, one of %q: %s, want %s", client, got, want)
		}
	}
	began := time.Now()
	silent := raw(t, authority, "POST / HTTP/1.1\r\nHost: $HOST\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n")
	if took := time.Since(began); status(silent) != "429" || took > 5*time.Second {
		t.Errorf("one without its body: %.200q after %s", silent, took)
	}
	close(hold)
	if a, b, c := <-first, <-second, <-send("/", "192.0.2.1"); a != "200" || b != "200" || c != "200" {
		t.Errorf("the two: %s and %s, and one afterwards: %s", a, b, c)
	}
}
