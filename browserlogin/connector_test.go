package browserlogin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/providers"
)

var claude = auth.Caller{Owner: auth.Local, Client: "Claude"}

// whole is a bench whose logins come from a real vault on a real store.
type whole struct {
	*bench
	vault     *authtest.Vault
	connector *Connector
	log       *safeBuffer
}

func newWhole(t *testing.T, site authtest.SiteOptions, change func(*Options)) *whole {
	w := &whole{log: &safeBuffer{}}
	w.bench = newBench(t, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if change != nil {
			change(o)
		}
	}, site)
	w.vault = authtest.NewVault(t, authtest.Options{})
	w.vault.Vault.Log = w.pool.opt.Log
	w.vault.Vault.Release = map[string]bool{"practice": true}
	w.connector = &Connector{Pool: w.pool, Out: egress.New(egress.Options{Loopback: true}), Vault: w.vault.Vault, Loopback: true}
	w.vault.Vault.Connectors = append(w.vault.Vault.Connectors, w.connector)
	return w
}

// ask is the agent's request, confirmed by the person; it gives the request's id and the live login.
func (w *whole) ask() (id string, s *session) {
	w.t.Helper()
	_, err := w.vault.Request(context.Background(), claude, auth.Wish{Provider: "practice", Method: auth.MethodBrowser})
	var required *auth.AuthRequired
	if !errors.As(err, &required) {
		w.t.Fatalf("%v", err)
	}
	return required.RequestID, w.confirm(required.RequestID, w.site.URL[strings.LastIndexByte(w.site.URL, ':')+1:])
}

// confirm is the person's: the site is at that port.
func (w *whole) confirm(id, port string) *session {
	w.t.Helper()
	flow := sha256.Sum256([]byte("the person's flow cookie"))
	step, err := w.vault.Visit(auth.Visitor{Browser: flow[:]}).Confirm(context.Background(), id,
		auth.Choice{Access: auth.Write, Method: auth.MethodBrowser, Vars: map[string]string{"site_port": port, "port": "1", "api_port": "1"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.pool.login(strings.TrimPrefix(step.Page, "/live/"))
}

func (w *whole) status(id string) *auth.Status {
	w.t.Helper()
	st, err := w.vault.Wait(context.Background(), claude, id, 0, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func (w *whole) call(path string) (*auth.Response, error) {
	return w.vault.Call(context.Background(), claude, auth.Call{Provider: "practice", Method: "GET", URL: w.site.URL + path})
}

// The agent asks, the person signs in, the agent calls: through the vault, with
// the cookies that Latchpost kept. LV-027: meanwhile the agent hears one word.
func TestConnector(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{Users: users}, nil)
	id, s := w.ask()
	p := w.open(s)
	p.await("waiting")
	heard, _ := json.Marshal(w.status(id))
	for _, inside := range []string{s.id, "/live/", "/login", "Sign in", passwordOf("alice")} {
		if strings.Contains(string(heard), inside) {
			t.Errorf("during the login the agent hears %s", heard)
		}
	}
	p.signIn("carol")
	p.await("connected")
	if st := w.status(id); st.Status != auth.StatusConnected {
		t.Fatalf("%+v", st)
	}
	resp, err := w.call("/api/session")
	if err != nil || resp.Status != 200 || !strings.Contains(string(resp.Body), "carol") {
		t.Fatalf("%+v, %v", resp, err)
	}
	for form, want := range map[string]string{"": `"cookies":[{`, "storage_state": `"localStorage"`, "cookies_txt": "#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t", "cookie_header": "session="} {
		h, err := w.vault.Get(context.Background(), claude, auth.Need{Provider: "practice", Form: form, URL: w.site.URL + "/account"})
		if err != nil || h.Released == nil || !strings.Contains(h.Released.Value.Reveal(), want) {
			t.Errorf("form %q: %v", form, err)
			continue
		}
		if printed := fmt.Sprintf("%+v %#v", h, h.Released); strings.Contains(printed, "session=") || strings.Contains(printed, `"cookies"`) {
			t.Errorf("form %q prints itself", form)
		}
	}
	if _, err := w.vault.Get(context.Background(), claude, auth.Need{Provider: "practice", Form: "cookie_header", URL: "https://evil.example/"}); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("a Cookie header for another host: %v", err)
	}
	w.canary(p)
}

// canary looks for what the person typed and what the site gave, in every form and place. LV-026, SH-001, SH-008.
func (w *whole) canary(p *person) {
	w.t.Helper()
	page, _ := p.page.Content()
	places := map[string][]byte{"log": w.log.Bytes(), "the person's page": []byte(page)}
	for _, dir := range []string{w.vault.Dir, w.pool.opt.TempDir} {
		_ = filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() && !strings.Contains(path, "/package/") {
				places[path], _ = os.ReadFile(path)
			}
			return nil
		})
	}
	for _, file := range []string{"cmdline", "environ"} { // of this process, its children and all others
		paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
		for _, path := range paths {
			places[path], _ = os.ReadFile(path)
		}
	}
	if len(descendants()) == 0 {
		w.t.Error("no browser runs whose command line and environment could be looked at")
	}
	if len(places) < 5 {
		w.t.Errorf("only %d places were looked at", len(places))
	}
	for _, secret := range w.site.Secrets() {
		if len(secret) < 6 || secret == passwordOf("alice") || secret == passwordOf("bob") {
			continue // words that stand elsewhere, too
		}
		forms := []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), secret[:min(len(secret), 16)]}
		for pad := range 3 {
			encoded := base64.StdEncoding.EncodeToString(append(make([]byte, pad), secret...))
			forms = append(forms, strings.Trim(encoded[4:len(encoded)-4], "="))
		}
		for place, data := range places {
			for _, form := range forms {
				if form == authtest.SecondFactor || strings.HasSuffix(form, "_") || len(form) < 7 {
					continue // too short to mean anything in a binary
				}
				if bytes.Contains(data, []byte(form)) {
					w.t.Errorf("%s holds %q", place, form)
				}
			}
		}
	}
}

// The person presses cancel, and the request is declined. Nothing happens for two minutes, and it fails as timeout (LV-005).
func TestConnectorTellsTheEnd(t *testing.T) {
	for name, end := range map[string]func(*session, *person){
		"declined": func(_ *session, p *person) {
			p.must(p.page.Locator("#cancel").Click())
			p.must(p.page.Locator("#askYes").Click())
			p.await("cancelled")
		},
		"failed timeout":        func(s *session, p *person) { s.cancel(ErrTimeout); p.await("expired") },
		"failed browser_exited": func(s *session, p *person) { s.cancel(ErrBrowserExited); p.await("failed") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWhole(t, authtest.SiteOptions{}, nil)
			id, s := w.ask()
			p := w.open(s)
			p.await("waiting")
			end(s, p)
			st := w.status(id)
			if got := strings.TrimSpace(string(st.Status) + " " + st.Cause); got != name {
				t.Errorf("the agent hears %q", got)
			}
		})
	}
}

// The agent or the owner cancels the request, its time is over, or it is finished by other means: nobody goes on typing into its browser.
func TestRequestEnds(t *testing.T) {
	var later atomic.Int64 // nanoseconds
	for phase, end := range map[string]func(*whole, string) error{
		"cancelled": func(w *whole, id string) error {
			_, err := w.vault.Revoke(t.Context(), claude, auth.Unwanted{RequestID: id})
			return err
		},
		"expired": func(*whole, string) error {
			later.Store(int64(time.Hour))
			return nil
		},
	} {
		t.Run(phase, func(t *testing.T) {
			later.Store(0)
			w := newWhole(t, authtest.SiteOptions{}, nil)
			w.vault.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			id, s := w.ask()
			p := w.open(s)
			p.await("waiting")
			time.Sleep(2 * mindful) // it is asked whether somebody waits, and somebody does
			p.must(end(w, id))
			p.await(phase)
			if st := w.status(id); st.Status != map[string]string{"cancelled": auth.StatusDeclined, "expired": auth.StatusExpired}[phase] {
				t.Errorf("the agent hears %q", st.Status)
			}
		})
	}
}

// The person goes back and corrects an answer: the browser goes to the site that it names, and what was begun
// at the other one ends and is not stored. The same answers once more lead to the browser that is open.
func TestConfirmedAgain(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{Users: users}, func(o *Options) { o.PerOwner = 1 })
	id, s := w.ask()
	p := w.open(s)
	p.await("waiting")
	port := w.site.URL[strings.LastIndexByte(w.site.URL, ':')+1:]
	if w.confirm(id, port) != s {
		t.Error("the same answers began another sign-in")
	}
	other := w.confirm(id, "2222")
	if other == s || !strings.Contains(other.login.Site.LoginURL, ":2222/") {
		t.Errorf("after another answer the browser goes to %s", other.login.Site.LoginURL)
	}
	p.await("failed")
	if text, _ := p.page.Locator("#text").InnerText(); !strings.Contains(text, "another window") {
		t.Errorf("the window of before says %q", text)
	}
	if st := w.status(id); st.Status != auth.StatusPending {
		t.Errorf("the agent hears %q", st.Status)
	}
	// What is being stored is not put in another's place.
	other.pool.hands(other)
	if _, err := w.pool.Start(Login{Request: id, Owner: other.login.Owner, Site: s.login.Site}); err == nil {
		t.Error("a sign-in that is being stored was replaced")
	}
}

// RF-016: a site that gives a new cookie with every answer, and takes only the
// newest. Calls one after the other and many at once all pass, and the stored session stays the newest.
func TestRollingCookies(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{Rolling: true}, nil)
	_, s := w.ask()
	p := w.open(s)
	p.signIn("alice")
	p.await("connected")
	ok := func() {
		t.Helper()
		if resp, err := w.call("/api/session"); err != nil || resp.Status != 200 {
			t.Errorf("%+v, %v", resp, err)
		}
	}
	ok()
	ok()
	var all sync.WaitGroup
	for range 8 {
		all.Go(ok)
	}
	all.Wait()
	w.connector.jars.all = nil // as after a restart: only what is stored counts
	ok()
}

// RF-016: asking whether a session lives is a use of it like any other, after which such a site takes only the cookie
// that came with that answer.
func TestRollingCookiesWhenProbed(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{Rolling: true}, nil)
	_, s := w.ask()
	p := w.open(s)
	p.signIn("alice")
	p.await("connected")
	for n := range 2 {
		w.vault.Now = func() time.Time { return time.Now().Add(time.Duration(n+1) * 7 * time.Hour) }
		if err := w.vault.KeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.connector.jars.all = nil // as after a restart: only what is stored counts
		if resp, err := w.call("/api/session"); err != nil || resp.Status != 200 {
			t.Errorf("%+v, %v", resp, err)
		}
	}
}

// RF-016: a call that fails after the site has rolled, or of which it is not known, gives the new cookie back beside its
// error: the site takes no other.
func TestRolledByAFailure(t *testing.T) {
	sid := func(n int) string { return fmt.Sprintf("session-number-%d", n) }
	for name, test := range map[string]struct {
		path    string
		checked time.Duration // before the call
		status  int           // 0: an error
		n       int           // where the site is afterwards
	}{
		"the probe before a good call":             {"/api", time.Hour, 200, 2},
		"the probe before a call that then fails":  {"/foreign", time.Hour, 0, 2},
		"an answer that cannot be read":            {"/foreign?roll", 0, 0, 2},
		"an answer that stops half-way":            {"/half?roll", 0, 0, 2},
		"the probe after a redirect to the login":  {"/sudo", 0, 302, 2},
		"a roll, and a probe that finds it unwell": {"/sudo?roll&unwell", 0, 302, 2},
	} {
		t.Run(name, func(t *testing.T) {
			n, unwell := 1, false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if k, err := r.Cookie("sid"); err != nil || k.Value != sid(n) {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				unwell = unwell || r.URL.Query().Has("unwell")
				if r.URL.Path == "/probe" && unwell {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if r.URL.Path == "/probe" || r.URL.Query().Has("roll") {
					n++
					http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid(n), Path: "/"})
				}
				switch r.URL.Path {
				case "/foreign":
					w.Header().Set("Content-Encoding", "br")
					fmt.Fprint(w, "x")
				case "/half":
					fmt.Fprint(w, "x")
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				case "/sudo":
					http.Redirect(w, r, "/login", http.StatusFound)
				}
			}))
			defer srv.Close()
			f := &auth.Flow{Provider: &providers.Provider{Name: "P", Browser: &providers.Browser{
				LoginURL: srv.URL + "/login", Domains: []string{strings.TrimPrefix(srv.URL, "http://")}, Usage: "token", Probe: &providers.Probe{URL: srv.URL + "/probe"},
			}}}
			b := hide(&contents{Version: 1, ID: "x", Checked: time.Now().Add(-test.checked), Domains: []string{"127.0.0.1"}, State: storageState{
				Cookies: []Cookie{{Name: "sid", Value: sid(1), Domain: "127.0.0.1", Path: "/", Expires: -1}},
			}})
			cred := &auth.Credential{Session: b.Seal()}
			carry := func(path string) (status int, err error) {
				target, err := egress.Parse(srv.URL+path, egress.ParseOptions{Loopback: true})
				if err != nil {
					t.Fatal(err)
				}
				// One that remembers nothing, as after a restart: only what is stored counts.
				c := &Connector{Out: egress.New(egress.Options{Loopback: true, IdleTimeout: 80 * time.Millisecond}), Loopback: true}
				resp, rolled, err := c.Carry(t.Context(), f, cred, egress.Request{Method: "GET", Target: target, Truncate: true})
				if rolled != nil {
					cred = rolled
				}
				if resp == nil {
					return 0, err
				}
				return resp.Status, err
			}
			if status, err := carry(test.path); status != test.status || (err == nil) != (status != 0) || n != test.n {
				t.Errorf("%d, %v; the site is at %d", status, err, n)
			}
			if status, err := carry("/api"); status != 200 {
				t.Errorf("the session is lost: %d, %v", status, err)
			}
		})
	}
}

// BF-033: where calls go one after the other, one that was cancelled does not wait for those before it to end.
func TestCallGivesUpItsTurn(t *testing.T) {
	arrived, answer := make(chan struct{}, 1), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-answer
	}))
	defer srv.Close()
	release := sync.OnceFunc(func() { close(answer) })
	defer release()
	target, err := egress.Parse(srv.URL+"/", egress.ParseOptions{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &Connector{Out: egress.New(egress.Options{Loopback: true}), Loopback: true}
	b := hide(&contents{Version: 1, ID: "x", Checked: time.Now(), Rolls: true})
	site := &providers.Browser{LoginURL: srv.URL + "/login", Usage: "token"}
	carry := func(ctx context.Context, site *providers.Browser) error {
		f := &auth.Flow{Provider: &providers.Provider{Name: "P", Browser: site}}
		_, _, err := c.Carry(ctx, f, &auth.Credential{Session: b.Seal()}, egress.Request{Method: "GET", Target: target})
		return err
	}
	first := make(chan error, 1)
	go func() { first <- carry(t.Context(), site) }()
	<-arrived
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, site := range []*providers.Browser{site, {LoginURL: site.LoginURL, Usage: "session"}} {
		ended := make(chan error, 1)
		go func() { ended <- carry(cancelled, site) }()
		select {
		case err := <-ended:
			if !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("usage %s: %v", site.Usage, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("usage %s: it waits on", site.Usage)
		}
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := carry(t.Context(), site); err != nil {
		t.Errorf("the turn was not given back: %v", err)
	}
}

// A session that the site ended is not called alive: the agent is told to ask the user.
func TestDeadSession(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{}, nil)
	_, s := w.ask()
	p := w.open(s)
	p.signIn("alice")
	p.await("connected")
	w.site.SignOut("alice")
	_, err := w.call("/account") // the site leads to its login page
	var required *auth.AuthRequired
	if !errors.As(err, &required) || required.Reason != auth.ReasonReauth {
		t.Errorf("%v", err)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) Bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.b.Bytes())
}

// Usage "session": the calls leave from the browser itself, which keeps its own
// cookies; when it is gone it comes back from what is stored.
func TestSessionStaysInTheBrowser(t *testing.T) {
	w := newWhole(t, authtest.SiteOptions{Rolling: true}, nil)
	s, done := w.start("alice", func(d *providers.Browser) { d.Usage = "session" })
	p := w.open(s)
	p.signIn("alice")
	p.await("connected")
	r := over(t, done)
	if r.err != nil {
		t.Fatal(r.err)
	}
	site := w.definition()
	site.Usage = "session"
	flow := &auth.Flow{Provider: &providers.Provider{Name: "Practice", Browser: site}}
	cred := &auth.Credential{Session: r.got.Bundle.Seal()}
	target, err := egress.Parse(w.site.URL+"/api/session", egress.ParseOptions{Loopback: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		resp, rolled, err := w.connector.Carry(t.Context(), flow, cred, egress.Request{Method: "GET", Target: target})
		if err != nil || resp.Status != 200 || !strings.Contains(string(resp.Body), "alice") {
			t.Fatalf("call %d: %+v, %v", i, resp, err)
		}
		if rolled == nil {
			t.Fatalf("call %d: the renewed cookie was not given back", i)
		}
		cred = rolled
		if i == 1 { // the browser goes, and what is stored has to do
			w.pool.hangUp(r.got.Bundle.in().ID)
			w.connector.jars.all = nil
		}
		if i == 2 { // its cookies go, with the process that has them
			w.killNetwork()
		}
	}
	// Another process has used the session, from a browser of its own, and the site takes its cookie only.
	o := w.pool.opt
	o.TempDir = shortTemp(t)
	pool, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for i, c := range []*Connector{{Pool: pool, Out: w.connector.Out, Loopback: true}, w.connector} {
		resp, rolled, err := c.Carry(t.Context(), flow, cred, egress.Request{Method: "GET", Target: target})
		if err != nil || resp.Status != 200 || rolled == nil {
			t.Fatalf("process %d: %+v, %v", i, resp, err)
		}
		cred = rolled
	}
	// The site rolls, and then its answer stops half-way.
	stops := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "given", Value: "before-the-end", Path: "/"})
		fmt.Fprint(rw, "x")
		rw.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer stops.Close()
	half, _ := egress.Parse(stops.URL, egress.ParseOptions{Loopback: true})
	resp, rolled, err := w.connector.Carry(t.Context(), flow, cred, egress.Request{Method: "GET", Target: half, Timeout: 2 * time.Second})
	if err == nil || rolled == nil || !strings.Contains(rolled.Session.Reveal(), "before-the-end") {
		t.Errorf("%+v, %v, and what the site gave is lost", resp, err)
	}
	_, _, err = w.connector.Carry(t.Context(), flow, cred, egress.Request{Method: "GET", Target: target, Header: http.Header{"Guid": {"page@1"}}})
	if known, is := errors.AsType[*auth.Error](err); !is || known.Code != auth.ErrInvalid.Code {
		t.Errorf("a header that the driver would stumble over: %v", err)
	}
	before := w.pool.proxy.refused.Load()
	inside, _ := egress.Parse("http://127.0.0.1:9/", egress.ParseOptions{Loopback: true})
	if _, _, err := w.connector.Carry(t.Context(), flow, cred, egress.Request{Method: "GET", Target: inside}); err == nil && w.pool.proxy.refused.Load() == before {
		t.Error("a request of a session went around the proxy")
	}
}
