package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/mcp"
)

// neighbourhood is a running command with the practice provider around it, and a second
// handle on its store, as another process would have.
type neighbourhood struct {
	*house
	t        *testing.T
	base     string // where people reach the command
	provider *authtest.Server
	api      *authtest.API
	site     *authtest.Site
	said     *written // by the command, on standard error
}

// written is what a command has written so far.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// reads waits for a line of the command's, and gives what the pattern has in brackets.
func (n *neighbourhood) reads(line string) string {
	n.t.Helper()
	pattern := regexp.MustCompile(line)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		n.said.mu.Lock()
		found := pattern.FindSubmatch(n.said.text.Bytes())
		n.said.mu.Unlock()
		if found != nil {
			return string(found[1])
		}
	}
	n.t.Fatalf("the command did not say %q", line)
	return ""
}

// settle runs a command (verb) on a free port until the test ends. In and out are those of settings.
func settle(t *testing.T, options authtest.Options, in io.Reader, out io.Writer, verb string, flags ...string) *neighbourhood {
	t.Helper()
	listen := freePort(t)
	return settleAt(t, options, listen, "http://"+listen, in, out, verb, flags...)
}

func settleAt(t *testing.T, options authtest.Options, listen, base string, in io.Reader, out io.Writer, verb string, flags ...string) *neighbourhood {
	t.Helper()
	n := &neighbourhood{t: t, base: base, said: new(written)}
	if options.Clients == nil {
		options.Clients = []authtest.Client{{ID: "public", Name: "Latchpost", RedirectURIs: []string{n.base + "/callback/practice"}}}
	}
	n.provider, n.site = authtest.NewServer(options), authtest.NewSite(authtest.SiteOptions{})
	n.api = authtest.NewAPI(n.provider)
	t.Cleanup(func() { n.api.Close(); n.site.Close(); n.provider.Close() })
	args := append([]string{
		verb, "--data", filepath.Join(t.TempDir(), "data"), "--listen", listen, "--unsafe-loopback", "--log-level", "error",
		"--var", "practice.port=" + port(n.provider.URL), "--var", "practice.api_port=" + port(n.api.URL), "--var", "practice.site_port=" + port(n.site.URL),
	}, flags...)
	if os.Geteuid() == 0 {
		args = append(args, "--unsafe-no-sandbox")
	}

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, &settings{in: in, out: out, err: io.MultiWriter(t.Output(), n.said)}) }()
	t.Cleanup(func() {
		stop()
		if code := <-ended; code != exitDone {
			t.Errorf("latchpost %s ended with %d", verb, code)
		}
	})
	n.awaitDoor(ended)

	s := &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output()}
	c := commands()[slices.IndexFunc(commands(), func(c command) bool { return c.name == verb })]
	if _, err := s.parse(newFlags(c, s), args[1:]); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.house, err = open(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.house.Close() })
	for _, everybody := range []auth.Owner{{}, auth.Local} { // the operator's app, and the one person's
		if err := n.vault.Desk(everybody).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// insecure is a client that takes the certificate of a test for good.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}

// awaitDoor waits until the pages are there.
func (n *neighbourhood) awaitDoor(ended chan int) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if resp, err := insecure.Get(n.base + "/healthz"); err == nil {
			_ = resp.Body.Close()
			return
		}
		select {
		case code := <-ended:
			ended <- code
			n.t.Fatalf("the command ended with %d", code)
		default:
		}
	}
	n.t.Fatal("nobody serves at", n.base)
}

// happened waits for a record of that kind about what an owner's agents asked for; what is
// refused is written behind the answer.
func (n *neighbourhood) happened(o auth.Owner, kind string) auth.Event {
	n.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		events, err := n.audit.Events(n.t.Context(), o, auth.EventFilter{Kind: kind})
		if err != nil {
			n.t.Fatal(err)
		}
		if len(events) > 0 {
			return events[0]
		}
	}
	n.t.Fatalf("there is no %s on record", kind)
	return auth.Event{}
}

// agent is a program that uses the tools, over whatever transport.
type agent struct {
	t    *testing.T
	call func(ctx context.Context, tool string, args map[string]any) (answer map[string]any, failed bool, err error)
}

func (a *agent) does(tool string, args map[string]any) map[string]any {
	a.t.Helper()
	answer, failed, err := a.call(a.t.Context(), tool, args)
	if err != nil || failed {
		a.t.Fatalf("%s: %v %v", tool, answer, err)
	}
	return answer
}

// asked is what an agent shows its person.
type asked struct{ id, link, code string }

// asks for the practice provider; args may name more.
func (a *agent) asks(args map[string]any) asked {
	a.t.Helper()
	all := map[string]any{"provider": "practice"}
	for name, value := range args {
		all[name] = value
	}
	answer := a.does("request_auth", all)
	if answer["type"] != "auth_required" {
		a.t.Fatalf("request_auth: %v", answer)
	}
	return asked{fmt.Sprint(answer["request_id"]), fmt.Sprint(answer["url"]), fmt.Sprint(answer["match_code"])}
}

// hears waits for the end of a request.
func (a *agent) hears(q asked, status string) map[string]any {
	a.t.Helper()
	seconds := 10
	if status == "pending" {
		seconds = 0
	}
	answer := a.does("wait_for_auth", map[string]any{"request_id": q.id, "wait_seconds": seconds})
	if answer["status"] != status {
		a.t.Fatalf("wait_for_auth says %v, not %s", answer, status)
	}
	return answer
}

// getsThrough makes a call through the connection and tells as whom.
func (a *agent) getsThrough() string {
	a.t.Helper()
	answer := a.does("call_api", map[string]any{"provider": "practice", "method": "GET", "path": "/me"})
	if fmt.Sprint(answer["status"]) != "200" {
		a.t.Fatalf("call_api: %v", answer)
	}
	for _, u := range authtest.DefaultUsers() {
		if strings.Contains(fmt.Sprint(answer["body"]), `"login":"`+u.Name+`"`) || strings.Contains(fmt.Sprint(answer["body"]), "login:"+u.Name) {
			return u.Name
		}
	}
	a.t.Fatalf("call_api: %v", answer)
	return ""
}

// stdioHouse is `latchpost stdio` with an agent that calls itself name.
func stdioHouse(t *testing.T, options authtest.Options, name string) (*neighbourhood, *agent) {
	t.Helper()
	fromAgent, toServer := io.Pipe()
	fromServer, toAgent := io.Pipe()
	n := settle(t, options, fromAgent, toAgent, "stdio")
	client, err := mcp.Dial(t.Context(), fromServer, toServer, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = toServer.Close(); _ = client.Close() })
	return n, &agent{t, client.Call}
}
