package guard

import (
	"net/http"
	"net/netip"
	"testing"
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
