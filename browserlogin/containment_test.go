package browserlogin

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

// process is one of ours or of our children.
type process struct {
	pid, parent int
	command     string
}

// descendants of this process, by /proc.
func descendants() []process {
	all := map[int]process{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		rest := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(rest) < 2 || rest[0] == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(rest[1])
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all[pid] = process{pid, parent, strings.ReplaceAll(string(command), "\x00", " ")}
	}
	var out []process
	for _, p := range all {
		for up := p; ; up = all[up.parent] {
			if up.pid == os.Getpid() && p.pid != up.pid {
				out = append(out, p)
			}
			if up.pid <= 1 {
				break
			}
		}
	}
	return out
}

// below are the driver that was started from a directory in dir, and all its children.
func below(dir string) []process {
	all := descendants()
	inside := map[int]bool{}
	for _, p := range all {
		inside[p.pid] = strings.Contains(p.command, dir+"/"+runDirPrefix) && strings.Contains(p.command, "run-driver")
	}
	for range 10 { // deep enough for Chromium's tree
		for _, p := range all {
			inside[p.pid] = inside[p.pid] || inside[p.parent]
		}
	}
	return slices.DeleteFunc(all, func(p process) bool { return !inside[p.pid] })
}

// chromiums of the pool: the main process and its children by type.
func (b *bench) chromiums(kind string) []process {
	dir := b.pool.opt.TempDir
	return slices.DeleteFunc(below(dir), func(p process) bool {
		isMain := strings.Contains(p.command, "--remote-debugging-pipe") && !strings.Contains(p.command, "--type=")
		if kind == "" {
			return !isMain
		}
		return !strings.Contains(p.command, "--type="+kind)
	})
}

// LV-013, LV-014, SH-007, MC-010: the sandbox is on (also under root), the browser is
// another user's, it has none of our environment, and nothing listens for a debugger.
func TestBrowserIsContained(t *testing.T) {
	t.Setenv("LATCHPOST_KEY_CANARY", "canary-in-the-environment")
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	b.open(s).await("waiting")
	eventually(t, "one browser", func() bool { return len(b.chromiums("")) == 1 })
	renderers := b.chromiums("renderer")
	if len(renderers) == 0 {
		t.Fatal("no renderers")
	}
	for _, p := range renderers {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("a renderer has no %q", want)
			}
		}
	}
	for _, p := range below(b.pool.opt.TempDir) {
		if strings.Contains(p.command, "--no-sandbox") || strings.Contains(p.command, "--remote-debugging-port") {
			t.Errorf("command line: %s", p.command)
		}
		if env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid)); bytes.Contains(env, []byte("canary-in-the-environment")) {
			t.Errorf("process %d has our environment", p.pid)
		}
		if info, err := os.Stat(fmt.Sprintf("/proc/%d", p.pid)); err == nil && os.Geteuid() == 0 && ownedByUs(info) {
			t.Errorf("process %d runs as root: %.80s", p.pid, p.command)
		}
		if limit, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.pid)); len(limit) > 0 && !strings.Contains(strings.Join(strings.Fields(string(limit)), " "), "Max core file size 0 0") {
			t.Errorf("process %d may dump its core", p.pid)
		}
		for _, port := range listening(p.pid) {
			t.Errorf("process %d listens on %s", p.pid, port)
		}
	}
	if info, err := os.Stat(b.pool.driver.dir.home()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the browser's home: %v, %v", info.Mode(), err)
	}
}

// listening gives the TCP sockets in LISTEN that a process holds.
func listening(pid int) (out []string) {
	sockets := map[string]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			sockets[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && sockets[f[9]] {
				out = append(out, f[1])
			}
		}
	}
	return out
}

// LV-014: where Chromium cannot use its sandbox the feature refuses, in words.
func TestNoSandboxNoBrowser(t *testing.T) {
	dir := needBrowser(t)
	fake := filepath.Join(shortTemp(t), "chromium")
	if err := os.WriteFile(fake, []byte("#!/bin/sh\necho 'FATAL:zygote_host_impl_linux.cc No usable sandbox!' >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(fake)
	err := Check(t.Context(), Options{DriverDir: dir, Chromium: fake, TempDir: shortTemp(t)}, nil)
	if err == nil || !strings.Contains(err.Error(), "--unsafe-no-sandbox") {
		t.Errorf("%v", err)
	}
}

// counted is a listener on this machine that a page should never reach.
func counted(t *testing.T) (addr string, hits *atomic.Int64) {
	hits = &atomic.Int64{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			hits.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), hits
}

// resolver answers with what stands in it; a name with several lists gives the next at every look.
type resolver struct {
	looks atomic.Int64
	names map[string][]string
}

func (r *resolver) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	answers := r.names[host]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	n := int(r.looks.Add(1)) - 1
	return []netip.Addr{netip.MustParseAddr(answers[min(n, len(answers)-1)])}, nil
}

// guarded is a pool under the real rules, but for the practice site itself.
func guarded(t *testing.T, names *resolver) *bench {
	var b *bench
	rules := egress.New(egress.Options{Resolver: names})
	b = newBench(t, func(o *Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if "http://"+addr == b.site.URL {
				return new(net.Dialer).DialContext(ctx, network, addr)
			}
			return rules.DialContext(ctx, network, addr)
		}
	}, authtest.SiteOptions{})
	return b
}

// LV-008, LV-009: this machine, its network and its cloud are out of reach, in every
// spelling and by fetch, image, frame, WebSocket, navigation and redirect.
func TestPageReachesNothingInside(t *testing.T) {
	addr, hits := counted(t)
	_, port, _ := net.SplitHostPort(addr)
	names := &resolver{names: map[string][]string{
		"inside.example": {"127.0.0.1"}, "metadata.google.internal": {"169.254.169.254"}, "lan.example": {"10.0.0.7"}, "mapped.example": {"::ffff:127.0.0.1"},
	}}
	b := guarded(t, names)
	s, _ := b.start("alice", nil)
	b.open(s).await("waiting")
	targets := []string{}
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "127.1", "2130706433", "0x7f000001", "127.0.0.1.", "[::ffff:127.0.0.1]", "inside.example", "mapped.example", "lan.example",
	} {
		targets = append(targets, "http://"+host+":"+port+"/")
	}
	for _, host := range []string{
		"169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "[::ffff:a9fe:a9fe]", "100.100.100.200", "168.63.129.16", "10.0.0.1", "192.168.0.1", "172.16.0.1", "[fe80::1]", "[64:ff9b::7f00:1]",
	} {
		targets = append(targets, "http://"+host+"/")
	}
	page := s.front.page
	query := url.Values{"target": targets, "now": {""}}
	if err := page.Goto(b.site.URL + "/attack/fetch?" + query.Encode()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every attempt to end", func() bool { n, _ := page.Count(t.Context(), "#result[data-done]"); return n > 0 })
	// An image, a WebSocket or a fetch that worked says so. A frame loads an error page, and a fetch of plain http
	// without CORS also gets the proxy's own refusal: the listener's count decides there.
	for line := range strings.Lines(page.Text(t.Context(), "#result")) {
		if strings.HasPrefix(line, "socket") && strings.Contains(line, ": open") || strings.HasPrefix(line, "image") && strings.Contains(line, ": loaded") {
			t.Error(strings.TrimSpace(line))
		}
	}
	for _, target := range targets[:6] {
		_ = page.Goto(target)
		_ = page.Goto(b.site.URL + "/attack/leave?" + url.Values{"target": {target}, "now": {""}}.Encode())
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("the listener on this machine was reached %d times", n)
	}
	if b.pool.proxy.refused.Load() < int64(len(targets)) {
		t.Errorf("the proxy refused only %d times", b.pool.proxy.refused.Load())
	}
	beyond := []string{"file:///etc/passwd", "view-source:file:///etc/passwd", "chrome://version"}
	for _, forbidden := range beyond { // a page has no way there at all: it stays where it was
		leave := b.site.URL + "/attack/leave?" + url.Values{"target": {forbidden}, "now": {""}}.Encode()
		eventually(t, "the page that wants to "+forbidden, func() bool { return page.Goto(leave) == nil })
		eventually(t, "its attempt", func() bool { n, _ := page.Count(t.Context(), "#result[data-done]"); return n > 0 })
		<-time.After(300 * time.Millisecond)
		if page.URL() != leave {
			t.Errorf("a page that wanted to %s led to %s", forbidden, page.URL())
		}
	}
	for _, forbidden := range beyond { // and is brought back if it comes there all the same
		// What the page before was still about would end the navigation under test, or follow it.
		eventually(t, "a page at rest", func() bool { return page.Goto(b.site.URL+"/attack/title") == nil })
		_ = page.Goto(forbidden)
		eventually(t, "the way back from "+forbidden, func() bool { return allowedScheme(page.URL()) })
	}
}

// SH-014: the browser, which others made, asks nobody for updates, lists or the time. Its only way out is our proxy, and all
// that goes there in a whole sign-in, and a while after it, is the site's.
func TestBrowserCallsNobodyElse(t *testing.T) {
	var mu sync.Mutex
	called := map[string]int{}
	b := newBench(t, func(o *Options) {
		reach := o.Dial
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			called[addr]++
			mu.Unlock()
			return reach(ctx, network, addr)
		}
	}, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	b.open(s).signIn("alice")
	if r := <-done; r.err != nil {
		t.Fatal(r.err)
	}
	s, _ = b.start("alice", nil)
	b.open(s).await("waiting")
	<-time.After(20 * time.Second)
	mu.Lock()
	defer mu.Unlock()
	t.Logf("called: %v", called)
	for addr := range called {
		if "http://"+addr != b.site.URL && "http://"+addr != b.site.Elsewhere.URL { // the tracker of its login page
			t.Errorf("%s was called", addr)
		}
	}
}

// LV-010: a name that changes between two looks. Each connection is made to the
// address that was checked for it, and the second one is refused.
func TestRebinding(t *testing.T) {
	addr, hits := counted(t)
	_, port, _ := net.SplitHostPort(addr)
	names := &resolver{names: map[string][]string{"rebind.example": {"192.0.2.1", "127.0.0.1", "10.0.0.1", "169.254.169.254"}}}
	dialled := make(chan string, 10)
	rules := egress.New(egress.Options{Resolver: names, DialTimeout: 300 * time.Millisecond})
	p, err := startProxy(func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := rules.DialContext(ctx, network, addr)
		dialled <- fmt.Sprint(err)
		return c, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	through, _ := url.Parse(p.url())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through), DisableKeepAlives: true}}
	for range 4 {
		resp, err := client.Get("http://rebind.example:" + port + "/")
		if err != nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v, %v", resp, err)
		}
		<-dialled
	}
	if hits.Load() != 0 {
		t.Error("the listener was reached")
	}
	if looks := names.looks.Load(); looks != 4 {
		t.Errorf("%d lookups for 4 connections: the name is resolved more than once", looks)
	}
}

// LV-012: WebRTC, WebTransport and DNS prefetch have no way round the proxy: the
// browser's processes hold no UDP socket to the outside, and candidates name no address of ours.
func TestNothingGoesAroundTheProxy(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	got := make(chan int, 100)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			got <- n
		}
	}()
	tcp, hits := counted(t)
	b := guarded(t, &resolver{})
	s, _ := b.start("alice", nil)
	b.open(s).await("waiting")
	page := s.front.page
	if err := page.Goto(b.site.URL + "/attack/title"); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf(`(async () => {
		const peer = new RTCPeerConnection({ iceServers: [{ urls: "stun:%[1]s" }, { urls: "turn:%[2]s?transport=tcp", username: "a", credential: "b" }, { urls: "turn:%[1]s", username: "a", credential: "b" }] });
		peer.createDataChannel("x");
		const out = [];
		peer.onicecandidate = (e) => e.candidate && out.push(e.candidate.candidate);
		await peer.setLocalDescription();
		try { new WebTransport("https://%[1]s/").ready.catch(() => {}) } catch {}
		for (const rel of ["dns-prefetch", "preconnect"]) { const l = document.createElement("link"); l.rel = rel; l.href = "https://leak.example/"; document.head.append(l) }
		navigator.sendBeacon("http://%[2]s/");
		await new Promise((r) => setTimeout(r, 2500));
		return JSON.stringify(out);
	})()`, udp.LocalAddr(), tcp)
	for _, candidates := range page.Eval(t.Context(), script) {
		if strings.Contains(candidates, "127.0.0.1") || strings.Contains(candidates, "typ srflx") || strings.Contains(candidates, "typ relay") {
			t.Errorf("candidates: %s", candidates)
		}
	}
	select {
	case n := <-got:
		t.Errorf("a UDP packet of %d bytes went around the proxy", n)
	default:
	}
	if hits.Load() != 0 {
		t.Error("TCP went around the proxy, or through it to this machine")
	}
	for _, p := range below(b.pool.opt.TempDir) {
		for _, peer := range udpPeers(p.pid) {
			t.Errorf("process %d talks UDP to %s", p.pid, peer)
		}
	}
}

// udpPeers are the far ends of a process's connected UDP sockets.
func udpPeers(pid int) (out []string) {
	sockets := map[string]bool{}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			sockets[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, table := range []string{"udp", "udp6"} {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) > 9 && sockets[f[9]] && !strings.HasPrefix(f[2], "0000") {
				out = append(out, f[2])
			}
		}
	}
	return out
}

// LV-015, LV-016, LV-018: what a login page has no business with does nothing, leaves nothing on disk, and does not freeze the view.
func TestPageAttacks(t *testing.T) {
	b := guarded(t, &resolver{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	attack := func(name string) {
		t.Helper()
		if err := s.front.page.Goto(b.site.URL + "/attack/" + name); err != nil {
			t.Fatal(err)
		}
		p.seen("#go")
		if _, err := p.front().Evaluate(`new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))`); err != nil { // a page hears no click before it is drawn
			t.Fatal(err)
		}
		p.click("#go")
	}
	said := func(what, words string) {
		t.Helper()
		eventually(t, what, func() bool { text, _ := p.page.Locator("#toast").InnerText(); return strings.Contains(text, words) })
	}
	attack("download")
	said("the note about the download", "takes none")
	_ = filepath.Walk(b.pool.opt.TempDir, func(path string, info os.FileInfo, err error) error {
		if err == nil && (strings.Contains(path, "invoice") || info.Size() > 64<<20) {
			t.Errorf("on disk: %s, %d bytes", path, info.Size())
		}
		return nil
	})
	attack("picker")
	said("the note about the file", "has none to give")
	if n, _ := p.front().Evaluate(`document.getElementById("file").files.length`); num(n) != 0 {
		t.Error("a file was given")
	}
	for _, name := range []string{"clipboard", "fullscreen"} {
		attack(name)
		p.seen("#result[data-done]")
		result := s.front.page.Text(t.Context(), "#result")
		if !strings.Contains(result, "NotAllowed") {
			t.Errorf("%s: %s", name, result)
		}
		if host, _ := p.page.Locator("#host").InnerText(); "http://"+host != b.site.URL {
			t.Errorf("after %s the address line says %q", name, host)
		}
	}
	// Passkeys need a name, not an address: the other host has one. The site hears no at once and can offer a password.
	if err := s.front.page.Goto(b.site.Elsewhere.URL + "/sso"); err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"get({publicKey: {challenge: new Uint8Array(32), timeout: 60000}})",
		`create({publicKey: {challenge: new Uint8Array(32), rp: {name: "x"}, user: {id: new Uint8Array(8), name: "x", displayName: "x"}, pubKeyCredParams: [{type: "public-key", alg: -7}],
			authenticatorSelection: {authenticatorAttachment: "platform", userVerification: "required"}, timeout: 60000}})`} {
		if got := s.front.page.Eval(t.Context(), "navigator.credentials."+call+`.then(() => "done", (e) => e.name)`); len(got) != 1 || got[0] != "NotAllowedError" {
			t.Errorf("passkey %.6s: %v", call, got)
		}
	}
	// Whatever would freeze the page until somebody answers what nobody sees.
	for _, call := range []string{
		`navigator.credentials.get({digital: {requests: [{protocol: "openid4vp-v1-unsigned", data: {}}]}})`, `navigator.credentials.get({identity: {providers: [{configURL: "https://idp.example/x", clientId: "1"}]}})`,
		`navigator.mediaDevices.getDisplayMedia()`, `document.documentElement.webkitRequestFullScreen()`,
		`document.body.appendChild(document.createElement("video")).webkitRequestFullScreen()`,
		`document.body.appendChild(document.createElement("iframe")).contentWindow.Element.prototype.webkitRequestFullScreen.call(document.documentElement)`,
	} {
		got := s.front.page.Eval(t.Context(), `Promise.race([`+call+`, new Promise((f) => setTimeout(f, 2000))]).then(() => "done", (e) => e.name)`)
		if len(got) == 0 || !slices.Contains(got, "NotAllowedError") {
			t.Errorf("%s: %v", call, got)
		}
	}
	p.shot("11-painted-address-bar")
	attack("title") // and the view still reacts to a click
}

// LV-030: text of a page reaches the person as text, and nobody else.
func TestPageTextIsText(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	if err := s.front.page.Goto(b.site.URL + "/attack/alert"); err != nil {
		t.Fatal(err)
	}
	p.click("#go")
	for i := range 3 {
		p.must(p.page.Locator("#ask[open] #askText").WaitFor())
		if text, _ := p.page.Locator("#askText").InnerText(); !strings.Contains(text, "IGNORE ALL PREVIOUS") {
			t.Errorf("dialog %d says %q", i, text)
		}
		p.must(p.page.Locator("#askYes").Click())
		eventually(t, "the answer to arrive", func() bool { return s.front.openDialog() == nil || i < 2 })
	}
	p.seen("#result[data-done]")
	p.must(p.page.Locator("#cancel").Click())
	p.must(p.page.Locator("#askYes").Click())
	p.await("cancelled")
	p.shot("12-cancelled")
	if r := over(t, done); strings.Contains(fmt.Sprintf("%+v %v", r, r.err), "IGNORE") || Reason(r.err) != "cancelled" {
		t.Errorf("%+v", r)
	}
}

// LV-019: a script that leads away is shown, and nothing of the other site is kept.
func TestLedAway(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	if err := s.front.page.Goto(b.site.URL + "/attack/leave?now&target=" + url.QueryEscape(b.site.Elsewhere.URL+"/sso")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the banner", func() bool {
		text, _ := p.page.Locator("#away").InnerText()
		return strings.Contains(text, "does not belong to")
	})
	got, err := capture(t.Context(), s.rules, s.context, []*Page{s.front.page}, nil, false, 1280, 720)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range got.Bundle.in().State.Cookies {
		if k.Domain == "localhost" {
			t.Errorf("kept %s of another site", k.Name)
		}
	}
}

// A page may open a few windows, not twenty.
func TestTabsAreBounded(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Tabs = 3 }, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	if err := s.front.page.Goto(b.site.URL + "/attack/popups"); err != nil {
		t.Fatal(err)
	}
	for first, n := s.front, 2; ; n++ { // a click opens one
		p.click("#go")
		if n > 3 {
			break
		}
		eventually(t, "a window", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.tabs) == n && s.front == s.tabs[n-1] })
		s.show(first)
	}
	eventually(t, "the note about the windows", func() bool {
		text, _ := p.page.Locator("#toast").InnerText()
		return strings.Contains(text, "more than Latchpost allows")
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tabs) > 3 {
		t.Errorf("%d tabs", len(s.tabs))
	}
}

// A window that opens takes the keyboard. Whoever types a password into the site goes on typing there: no frame opens one without a click.
func TestFrameOpensNoWindow(t *testing.T) {
	tried := make(chan string, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tried" {
			tried <- r.URL.RawQuery
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<script>setTimeout(() => fetch("/tried?" + (open("about:blank") ? "open" : "blocked")), 1500)</script>`)
	}))
	defer site.Close()
	stranger := strings.Replace(site.URL, "127.0.0.1", "localhost", 1)
	home := pages(t, map[string]string{"/": `<input id=pw type=password><iframe src="` + stranger + `"></iframe>`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, home.URL)
	p.await("waiting")
	p.focus("#pw")
	typed, got := "", "" // nothing is evaluated meanwhile: to the browser that is as good as a click
	for end := time.Now().Add(15 * time.Second); got == "" && time.Now().Before(end); {
		p.write("x")
		typed += "x"
		select {
		case got = <-tried:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if got != "blocked" {
		t.Errorf("the frame's window: %q", got)
	}
	eventually(t, "all that was typed", func() bool { return p.value("#pw") == typed })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tabs) != 1 {
		t.Errorf("%d windows", len(s.tabs))
	}
}

// LV-018, LV-019: a page without an address of its own is anybody's, and the person is told; one that a script made shows whose script.
func TestPageWithoutAnAddress(t *testing.T) {
	evil := pages(t, map[string]string{
		"/blob": `<script>location = URL.createObjectURL(new Blob(["<h1>Practice</h1><input type=password>"], {type: "text/html"}))</script>`,
		"/":     `<button id=go onclick="w = window.open(''); w.document.write('<h1>Practice</h1><input type=password>'); w.document.close()">Go</button>`,
	})
	at := strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)
	home := pages(t, map[string]string{"/": `<p>home`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", func(d *providers.Browser) {
		d.LoginURL, d.Domains = home.URL, []string{strings.TrimPrefix(home.URL, "http://")}
	})
	p := b.open(s)
	p.await("waiting")
	told := func(host, says string) {
		t.Helper()
		eventually(t, "the word about "+host, func() bool {
			shown, _ := p.page.Locator("#host").InnerText()
			text, _ := p.page.Locator("#away").InnerText()
			return shown == host && strings.Contains(text, says)
		})
	}
	_, err := p.page.Evaluate(`window.warned = 0; new MutationObserver(() => { if (!away.hidden) warned++ }).observe(away, {attributes: true})`)
	p.must(err)
	old := s.front
	s.fresh() // by way of an empty page, which is ours
	eventually(t, "the new tab", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.front != nil && s.front != old && s.front.page.URL() == home.URL+"/"
	})
	if warned, _ := p.page.Evaluate("warned"); num(warned) != 0 {
		t.Error("the person is warned of our own empty page")
	}
	_, _ = p.front().Goto(at + "/blob") // which goes on at once
	told(strings.TrimPrefix(at, "http://"), "does not belong to")
	eventually(t, "the way on", func() bool { _, err := p.front().Goto(at); return err == nil })
	p.click("#go")
	told("about: page", "no address of its own")
	p.shot("25-no-address")
}
