package browserlogin

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth/authtest"
)

func kill(t testing.TB, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// LV-022: Chromium is killed in mid-login. Within five seconds the person sees it
// and can start again, and the second try works; nothing of the first stays.
func TestBrowserKilled(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	p.focus("[name=user]")
	p.write("half a na")
	first := b.chromiums("")[0].pid
	start := time.Now()
	kill(t, first)
	p.await("crashed")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the person saw it after %v", took)
	}
	p.shot("13-browser-stopped")
	p.must(p.page.Locator("#again").Click())
	p.signIn("alice")
	p.await("connected")
	if r := over(t, done); r.err != nil {
		t.Fatal(r.err)
	}
	eventually(t, "the first browser's processes to be gone", func() bool {
		for _, c := range descendants() {
			if c.pid == first || c.parent == first {
				return false
			}
		}
		return true
	})
	profiles, _ := filepath.Glob(filepath.Join(b.pool.opt.TempDir, "*", "home", "playwright_chromiumdev_profile-*"))
	if len(profiles) > 1 {
		t.Errorf("profiles left behind: %v", profiles)
	}
}

// LV-022: nobody starts again, and the login fails as browser_exited.
func TestBrowserKilledAndLeft(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Restart = 500 * time.Millisecond }, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	start := time.Now()
	kill(t, b.chromiums("")[0].pid)
	if r := over(t, done); Reason(r.err) != "browser_exited" || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", r.err, time.Since(start))
	}
	p.await("failed")
	p.shot("14-failed")
	if left := b.chromiums("renderer"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The driver is killed: like a killed browser, for everybody in it.
func TestDriverKilled(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	for _, c := range below(b.pool.opt.TempDir) {
		if strings.Contains(c.command, "run-driver") {
			kill(t, c.pid)
		}
	}
	p.await("crashed")
	eventually(t, "Chromium to end with its driver", func() bool { return len(b.chromiums("")) == 0 })
	p.must(p.page.Locator("#again").Click())
	p.signIn("alice")
	p.await("connected")
	if r := over(t, done); r.err != nil {
		t.Fatal(r.err)
	}
}

// killNetwork ends the process of each browser that holds its cookies and its connections; the browser starts another one.
func (b *bench) killNetwork() {
	b.t.Helper()
	killed := 0
	for _, p := range below(b.pool.opt.TempDir) {
		if strings.Contains(p.command, "network.mojom.NetworkService") {
			kill(b.t, p.pid)
			killed++
		}
	}
	if killed == 0 {
		b.t.Fatal("there is no network process")
	}
	time.Sleep(500 * time.Millisecond) // for the browser to notice
}

// The browser's network process is killed, and with it goes the way through our proxy: nothing finds another way, and the
// person can start again.
func TestNetworkProcessKilled(t *testing.T) {
	addr, hits := counted(t)
	b := guarded(t, &resolver{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	b.killNetwork()
	if got := s.front.page.Eval(t.Context(), fmt.Sprintf(`fetch("http://%s/", {mode: "no-cors"}).then(() => "done", () => "failed")`, addr)); !slices.Equal(got, []string{"failed"}) || hits.Load() > 0 {
		t.Errorf("a page's request: %v, and this machine was reached %d times", got, hits.Load())
	}
	p.must(p.page.Locator("#reload").Click())
	p.await("crashed")
	p.must(p.page.Locator("#again").Click())
	p.signIn("alice")
	p.await("connected")
	if r := over(t, done); r.err != nil {
		t.Fatal(r.err)
	}
}

// LV-021: one page crashes; the person reloads it and goes on. Nothing piles up.
func TestRendererKilled(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	before := runtime.NumGoroutine()
	for i := range 3 {
		// A page that is still on its way may be about to change its renderer, and the order goes to the old one.
		eventually(t, "the page to stand", func() bool {
			there, err := p.front().Evaluate(`document.readyState === "complete" && location.pathname === "/login"`)
			return err == nil && there == true
		})
		s.mu.Lock()
		cdp := s.front.cdp
		s.mu.Unlock()
		go cdp.Send("Page.crash", nil)
		p.await("page")
		if i == 0 {
			p.shot("15-page-crashed")
		}
		p.must(p.page.Locator("#again").Click())
		p.await("waiting")
	}
	if grown := runtime.NumGoroutine() - before; grown > 20 {
		t.Errorf("%d goroutines more after three crashes", grown)
	}
	p.signIn("alice")
	p.await("connected")
	if r := over(t, done); r.err != nil {
		t.Fatal(r.err)
	}
}

// LV-005 with real browsers: nobody does anything, and browser and profile are gone.
func TestIdleLoginEnds(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Idle, o.Linger = 6*time.Second, time.Millisecond }, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	p := b.open(s)
	p.await("waiting")
	p.must(p.page.Locator("#toast:not([hidden])").WaitFor())
	p.shot("16-idle-warning")
	p.await("expired")
	p.shot("17-expired")
	if r := over(t, done); Reason(r.err) != "timeout" {
		t.Errorf("%v", r.err)
	}
	eventually(t, "the browser to be gone", func() bool { return len(b.chromiums("")) == 0 })
	eventually(t, "its directory to be wiped", func() bool {
		left, _ := filepath.Glob(filepath.Join(b.pool.opt.TempDir, runDirPrefix+"*"))
		return len(left) == 0
	})
}

// Latchpost itself is killed: no process, profile or port stays, and the person reads so.
func TestServerKilled(t *testing.T) {
	dir, temp := needBrowser(t), shortTemp(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerToKill$")
	cmd.Env = append(os.Environ(), "LATCHPOST_TEST_SERVER="+dir, "LATCHPOST_TEST_TEMP="+temp)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	address := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "live "); ok {
			address = rest
			break
		}
	}
	user, err := theUser()
	if err != nil {
		t.Fatal(err)
	}
	page, err := user.NewPage()
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	if _, err := page.Goto(address); err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, page: page}
	p.await("waiting")
	inside := below(temp)
	if len(inside) == 0 {
		t.Fatal("no browser runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	p.await("lost")
	p.shot("18-connection-lost")
	eventually(t, "every process to end with the server", func() bool {
		for _, c := range inside {
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid)); err == nil && !strings.Contains(string(state), ") Z ") {
				return false
			}
		}
		return true
	})
	sweepRunDirs(temp) // as the next server does
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	p.await("gone")
	p.shot("19-gone")
}

// TestServerToKill is the server of TestServerKilled, in a process of its own.
func TestServerToKill(t *testing.T) {
	dir := os.Getenv("LATCHPOST_TEST_SERVER")
	if dir == "" {
		return
	}
	b := newBench(t, func(o *Options) { o.TempDir = os.Getenv("LATCHPOST_TEST_TEMP") }, authtest.SiteOptions{})
	s, done := b.start("alice", nil)
	fmt.Println("live " + b.url(s))
	<-done
}

// Sweeping leaves the directories of living servers alone.
func TestSweep(t *testing.T) {
	temp := shortTemp(t)
	alive, err := newRunDir(temp, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.remove()
	dead, err := newRunDir(temp, -1)
	if err != nil {
		t.Fatal(err)
	}
	dead.lock.Close()
	sweepRunDirs(temp)
	if _, err := os.Stat(alive.home()); err != nil {
		t.Error("the living one's directory was wiped")
	}
	if _, err := os.Stat(dead.path); err == nil {
		t.Error("the dead one's directory is still there")
	}
}

// LV-032: fifty at once: the owner's limit, the server's limit, and no more browsers than that.
func TestTooManyLogins(t *testing.T) {
	b := newBench(t, func(o *Options) { o.PerOwner, o.Max = 2, 3 }, authtest.SiteOptions{})
	started := 0
	for i := range 50 {
		owner := "alice"
		if i > 40 {
			owner = fmt.Sprint("owner", i)
		}
		_, _, err := b.tryStart(owner, nil)
		if err == nil {
			started++
		} else if err != ErrBusy {
			t.Fatal(err)
		}
		if i == 40 && started != 2 {
			t.Errorf("one owner started %d", started)
		}
	}
	if started != 3 {
		t.Errorf("%d were started", started)
	}
}

// LV-029: two owners have two browser processes with two profiles, and no cookie of one is seen by the other.
func TestOwnersAreApart(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	one, _ := b.start("org/alice", nil)
	two, _ := b.start("org/bob", nil)
	b.open(one).await("waiting")
	b.open(two).await("waiting")
	eventually(t, "two browsers", func() bool { return len(b.chromiums("")) == 2 })
	profiles := map[string]bool{}
	for _, c := range b.chromiums("") {
		_, rest, _ := strings.Cut(c.command, "--user-data-dir=")
		profile, _, _ := strings.Cut(rest, " ")
		profiles[profile] = true
	}
	if len(profiles) != 2 {
		t.Errorf("profiles: %v", profiles)
	}
	one.front.page.Eval(t.Context(), `document.cookie = "mine=alice; path=/"; localStorage.setItem("mine", "alice"); ""`)
	if got := two.front.page.Eval(t.Context(), `document.cookie + localStorage.getItem("mine")`); strings.Contains(strings.Join(got, ""), "alice") {
		t.Errorf("the other owner sees %v", got)
	}
}

// LV-004: a second window of the same person has to take over, and the first is
// told. Another person is refused (TestStrangerIsRefused).
func TestSecondViewer(t *testing.T) {
	b := newBench(t, nil, authtest.SiteOptions{})
	s, _ := b.start("alice", nil)
	first := b.open(s)
	first.await("waiting")
	second := b.open(s)
	second.await("busy")
	second.shot("20-open-elsewhere")
	first.await("waiting") // untouched
	second.must(second.page.Locator("#again").Click())
	second.await("waiting")
	first.await("moved")
	first.shot("21-taken-over")
	second.focus("[name=user]")
	second.write("alice")
	eventually(t, "the second window to type", func() bool { return second.value("[name=user]") == "alice" })
	// A reload of the window in charge keeps it in charge.
	if _, err := second.page.Reload(); err != nil {
		t.Fatal(err)
	}
	second.await("waiting")
}

// A page that says why a site does not open leads nowhere: the new tab has the sign-in page.
func TestNewTabAfterAnErrorPage(t *testing.T) {
	home := pages(t, map[string]string{"/": `<p id=here>here`})
	b := newBench(t, nil, authtest.SiteOptions{})
	s, p := b.at(t, home.URL)
	p.await("waiting")
	if _, err := p.front().Goto("https://127.0.0.1:1/"); err == nil {
		t.Fatal("it opens")
	}
	eventually(t, "the error page", func() bool { return strings.HasPrefix(s.front.page.URL(), "chrome-error:") })
	time.Sleep(300 * time.Millisecond)
	if at := s.front.page.URL(); !strings.HasPrefix(at, "chrome-error:") { // it says why, and stays
		t.Errorf("the error page was left for %s", at)
	}
	p.must(p.page.Locator("#fresh").Click())
	p.seen("#here")
}
