package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// elsewhere is a browser at another address of this machine.
func (n *neighbourhood) elsewhere(address string) *http.Client {
	n.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	transport := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// tries a code on /login and gives the status: 303 is in, 410 is a wrong code.
func (n *neighbourhood) tries(c *http.Client, code string, header ...string) int {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.base+"/login", strings.NewReader(url.Values{"code": {code}}.Encode()))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		n.t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// code is what `latchpost open` has a person type.
func (n *neighbourhood) code(user string) string {
	n.t.Helper()
	link, err := n.identity.Link(n.t.Context(), auth.Owner{User: user})
	if err != nil {
		n.t.Fatal(err)
	}
	return filepath.Base(link.Reveal())
}

// DS-005: there is no password here, and nothing that is dear to check: codes and tokens are random and looked up by one
// hash, a JWT costs one signature. Wrong ones by the thousand, from many addresses at once, cost little memory and
// leave nothing behind, and whoever has the right one comes in meanwhile.
func TestLoadWrongSignIns(t *testing.T) {
	issuer := authtest.NewServer(authtest.Options{JWT: true})
	t.Cleanup(issuer.Close)
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--oidc-issuer", issuer.URL, "--resource", resource, "--requests-per-second", "0")
	good := issuer.Sign("at+jwt", map[string]any{
		"iss": issuer.URL, "sub": "honest", "aud": resource, "client_id": "agent", "scope": "latchpost:connect latchpost:use",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "jti": rand.Text(),
	})
	honest := n.caller(good)
	honest.must("list_connections", `{}`)
	forged := good[:strings.LastIndex(good, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 256))
	wrong := []*caller{n.caller(forged), n.caller("lp_" + strings.Repeat("A", 43)), n.caller("garbage")}
	strangers := make([]*http.Client, 64)
	for i := range strangers {
		strangers[i] = n.elsewhere(fmt.Sprintf("127.0.1.%d", i+1))
	}
	goroutines, files := settled(t, 0, 0)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var in, slowest, highest atomic.Int64
	total := much(4000, 800)
	crowd(32, total, func(i int) {
		switch {
		case i%2 == 0:
			if n.tries(strangers[i%len(strangers)], rand.Text()) == http.StatusSeeOther {
				in.Add(1)
			}
		default:
			if resp, _ := wrong[i%len(wrong)].call("list_connections", `{}`); resp.StatusCode != http.StatusUnauthorized {
				in.Add(1)
			}
		}
		if i%(total/20) == 0 {
			began := time.Now()
			honest.must("list_connections", `{}`)
			slowest.Store(max(slowest.Load(), int64(time.Since(began))))
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			highest.Store(max(highest.Load(), int64(now.HeapAlloc)))
		}
	})
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / uint64(total)
	t.Logf("%d KiB for each, both sides together; %d MiB at most; the honest caller waited %s", each>>10, highest.Load()>>20, time.Duration(slowest.Load()))
	if in.Load() > 0 {
		t.Errorf("%d wrong ones came in", in.Load())
	}
	if each > 256<<10 || highest.Load() > 512<<20 || time.Duration(slowest.Load()) > time.Second {
		t.Errorf("%d bytes for each, %d at most, the honest caller waited %s", each, highest.Load(), time.Duration(slowest.Load()))
	}
	if at := n.elsewhere("127.0.2.1"); n.tries(at, n.code("honest")) != http.StatusSeeOther {
		t.Error("the right code was refused")
	}
	for _, c := range append([]*caller{honest}, wrong...) {
		c.http.CloseIdleConnections()
	}
	for _, c := range strangers {
		c.CloseIdleConnections()
	}
	settled(t, goroutines+16, files+16)
}

// DS-006: tries are counted by address, whatever is tried: no spelling of a code, and no header, is a fresh start. Nobody
// is locked out by the tries of others: the owner comes in from another address, and a code that was tried in a wrong
// spelling is not spent.
func TestWrongCodesLockNobodyOut(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve")
	code := n.code("ann")
	wide := strings.Map(func(r rune) rune { return r + 0xFEE0 }, code) // fullwidth forms, which NFKC makes the same
	attacker := n.elsewhere("127.0.3.1")
	spellings := []string{
		wide, strings.ToLower(wide), code[:25], code + code, code[:13] + " " + code[13:], code[:13] + "\u200b" + code[13:], code + "\u0301", "ſ" + code[1:],
		rand.Text(), strings.ToLower(rand.Text()), " " + rand.Text() + " ", "ann", "Ann", "ANN ", "ａｎｎ", "a\u0301nn",
	}
	statuses := map[int]int{}
	for i := range 120 {
		statuses[n.tries(attacker, spellings[i%len(spellings)], "X-Forwarded-For", fmt.Sprintf("198.51.100.%d", i), "Forwarded", fmt.Sprintf("for=198.51.100.%d", i), "X-Real-IP", fmt.Sprintf("198.51.100.%d", i))]++
	}
	if statuses[http.StatusGone] > 60 || statuses[http.StatusTooManyRequests] < 60 || len(statuses) != 2 {
		t.Errorf("120 tries: %v", statuses)
	}
	if got := n.tries(attacker, code); got != http.StatusTooManyRequests {
		t.Errorf("the attacker's address gets %d at once", got)
	}
	owner := n.elsewhere("127.0.3.2")
	if got := n.tries(owner, "  "+strings.ToLower(code)+"\t"); got != http.StatusSeeOther {
		t.Fatalf("the owner gets %d", got)
	}
	resp, err := owner.Get(n.base + "/connections")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the owner's page: %s", resp.Status)
	}
}
