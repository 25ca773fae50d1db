package browserlogin

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// nameServer is set in the process that has a network of its own, where nothing is but this machine and a name server that notes
// who asks.
const nameServer = "LATCHPOST_TEST_NAME_SERVER"

// LV-012, with a name server that would notice: whatever a page does to have a name looked up, the browser asks nobody.
func TestBrowserLooksUpNoName(t *testing.T) {
	needBrowser(t)
	if os.Getenv(nameServer) == "" {
		cannot := t.Skipf
		if os.Getenv("CI") != "" {
			cannot = t.Fatalf
		}
		if os.Geteuid() != 0 {
			cannot("a network of its own takes root")
		}
		conf := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "sh", "-c",
			`mount --bind "$0" /etc/resolv.conf && exec "$@"`, conf, os.Args[0], "-test.run=^TestBrowserLooksUpNoName$", "-test.v")
		cmd.Env = append(os.Environ(), nameServer+"=127.0.0.1")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "unshare failed") || strings.Contains(string(out), "mount:") {
			cannot("no network of its own can be made here: %s", out)
		}
		if err != nil || !strings.Contains(string(out), "--- PASS: TestBrowserLooksUpNoName") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	loopbackUp(t)
	asked := listenForNames(t)
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "control.example."); err == nil {
		t.Error("a name was found")
	}
	if got := asked(); len(got) == 0 || got[0] != "control.example." {
		t.Fatalf("the name server hears %v, and not who asks", got)
	}
	b := guarded(t, &resolver{})
	s, _ := b.start("alice", nil) // nobody looks at it: the person's browser has no proxy, and looks up what it likes
	eventually(t, "the login page", func() bool {
		s.mu.Lock()
		front := s.front
		s.mu.Unlock()
		if front == nil {
			return false
		}
		n, err := front.page.Count(t.Context(), "form")
		return err == nil && n > 0
	})
	page := s.front.page
	if err := page.Goto(b.site.URL + "/attack/title"); err != nil {
		t.Fatal(err)
	}
	refused := b.pool.proxy.refused.Load()
	page.Eval(t.Context(), `(async () => {
		for (const rel of ["dns-prefetch", "preconnect", "prefetch", "stylesheet", "icon"]) {
			const l = document.createElement("link"); l.rel = rel; l.href = "https://" + rel + ".example/"; document.head.append(l);
		}
		const peer = new RTCPeerConnection({ iceServers: [{ urls: "stun:stun.example" }, { urls: "turn:turn.example?transport=tcp", username: "a", credential: "b" }] });
		peer.createDataChannel("x");
		await peer.setLocalDescription();
		try { new WebTransport("https://transport.example/").ready.catch(() => {}) } catch {}
		try { new WebSocket("wss://socket.example/") } catch {}
		new Image().src = "http://image.example/";
		document.body.append(Object.assign(document.createElement("iframe"), { src: "https://frame.example/" }));
		navigator.sendBeacon("https://beacon.example/");
		for (const url of ["http://fetch.example/", "https://fetch.example/", "http://localhost.example/"]) await fetch(url).catch(() => {});
		return "";
	})()`)
	eventually(t, "all that was tried to come to the proxy", func() bool { return b.pool.proxy.refused.Load()-refused >= 8 })
	_ = page.Goto("http://navigation.example/")
	<-time.After(3 * time.Second) // what goes another way comes when it likes
	if got := asked(); len(got) > 0 {
		t.Errorf("asked for %v", got)
	}
}

// loopbackUp makes this machine reach itself in a network that is new.
func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

// listenForNames is a name server that knows none. asked gives the names that came since it was called last.
func listenForNames(t *testing.T) (asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var names []string
	c, err := net.ListenPacket("udp", os.Getenv(nameServer)+":53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) == 0 {
				m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName(fmt.Sprintf("%d-bytes.", n))}}
			}
			mu.Lock()
			names = append(names, m.Questions[0].Name.String())
			mu.Unlock()
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeNameError, nil
			if answer, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	return func() (since []string) {
		mu.Lock()
		defer mu.Unlock()
		since, names = names, nil
		return since
	}
}
