package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/mcp"
)

type demoSettings struct{ auto, browser bool }

func demoFlags(fs *flag.FlagSet, s *settings) {
	fs.BoolVar(&s.demo.auto, "auto", false, "click through the sign-in by plain HTTP instead of waiting for your browser")
	fs.BoolVar(&s.demo.browser, "browser", false, "sign in to a site without OAuth, in the live view of a real browser (after latchpost browser install)")
}

// demo is the whole product on one screen: a practice provider and API in this
// process, an agent that is a real MCP client over pipes, and everything between
// them as it is in earnest. Nothing of it outlives the command.
func demo(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 || s.demo.auto && s.demo.browser {
		return usagef("demo takes --auto or --browser, and no arguments")
	}
	dir, err := os.MkdirTemp("", "latchpost-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	provider := authtest.NewServer(authtest.Options{Hints: true})
	defer provider.Close()
	api := authtest.NewAPI(provider)
	defer api.Close()
	site := authtest.NewSite(authtest.SiteOptions{})
	defer site.Close()

	*s = settings{
		in: s.in, out: s.out, err: s.err, logLevel: s.logLevel, demo: s.demo,
		data: dir + "/data", listen: "127.0.0.1:0", unsafeLoopback: true,
		vars:    vars{"practice.port": port(provider.URL), "practice.api_port": port(api.URL), "practice.site_port": port(site.URL)},
		browser: browserSettings{kind: "local", dir: defaultBrowserDir()},
	}
	s.logLevel = "error" // the unsafe flag is the point here, and nobody else can reach it
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	defer h.Close()
	if s.demo.browser {
		if err := h.browsers.Ready(ctx); err != nil {
			return fmt.Errorf("demo --browser needs %w", err)
		}
	}
	if err := h.vault.Desk(auth.Local).SetApp(ctx, "practice", "public", auth.Secret{}, nil); err != nil {
		return err
	}
	return h.whileServing(ctx, func(ctx context.Context, transcript *transcript, agent *mcp.Client) error {
		d := &stage{house: h, out: s.out, agent: agent, provider: provider, transcript: transcript, path: "/me"}
		if s.demo.browser {
			d.method, d.path = auth.MethodBrowser, "/api/session"
		}
		return d.play(ctx)
	})
}

func port(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Port()
}

// whileServing runs fn with an agent connected to our own stdio server.
func (h *house) whileServing(ctx context.Context, fn func(context.Context, *transcript, *mcp.Client) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	pages, err := h.door.Share(ctx, h.pages)
	if err != nil {
		stop()
		return err
	}
	fromAgent, toServer := io.Pipe()
	fromServer, toAgent := io.Pipe()
	seen := &transcript{}
	var serving sync.WaitGroup
	serving.Go(func() { toAgent.CloseWithError(h.mcp().Stdio(ctx, fromAgent, io.MultiWriter(toAgent, seen))) })
	serving.Go(func() { _ = h.vault.Keep(ctx) })
	defer func() {
		_ = toServer.Close()
		stop()
		serving.Wait()
		err = errors.Join(err, pages())
	}()
	agent, err := mcp.Dial(ctx, fromServer, toServer, "demo-agent")
	if err != nil {
		return err
	}
	defer agent.Close()
	return fn(ctx, seen, agent)
}

// transcript is everything that the model gets to see.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// stage is what the scenes of the demo share.
type stage struct {
	*house
	out        io.Writer
	agent      *mcp.Client
	provider   *authtest.Server
	transcript *transcript
	method     string // of signing in; "" is the provider's first
	path       string // that the agent calls
	scene      int
}

func (d *stage) say(format string, args ...any) {
	d.scene++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.scene, fmt.Sprintf(format, args...))
}

func (d *stage) show(format string, args ...any) {
	for l := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintf(d.out, "   %s\n", l)
	}
}

func (d *stage) play(ctx context.Context) error {
	fmt.Fprintln(d.out, "Latchpost demo: an agent uses an account and never sees the credential.")
	answer, err := d.ask(ctx)
	if err != nil {
		return err
	}
	d.show("It gets no answer yet, but a link: type=%v, reason=%v", answer["type"], answer["reason"])
	link, _ := answer["url"].(string)
	id, _ := answer["request_id"].(string)

	if err := d.signIn(ctx, link, answer["match_code"]); err != nil {
		return err
	}
	if err := d.wait(ctx, id); err != nil {
		return err
	}
	d.say("The agent repeats the call. Latchpost adds the token and makes it:")
	answer, err = d.call(ctx, "call_api", map[string]any{"provider": "practice", "method": "GET", "path": d.path})
	if err != nil {
		return err
	}
	d.show("HTTP %v %s", answer["status"], strings.TrimSpace(fmt.Sprint(answer["body"])))

	d.say("The agent asks for the credential itself: get_credential practice")
	answer, err = d.call(ctx, "get_credential", map[string]any{"provider": "practice"})
	if err != nil {
		return err
	}
	d.show("It gets a handle, not the token: %v", answer["handle"])

	d.say("The agent is done: revoke practice")
	if _, err = d.call(ctx, "revoke", map[string]any{"provider": "practice"}); err != nil {
		return err
	}
	d.show("Ended here and at the provider.")
	return d.epilogue(ctx)
}

// ask is the agent's first try, which ends in a link.
func (d *stage) ask(ctx context.Context) (map[string]any, error) {
	if d.method != "" {
		d.say("The agent wants an account of the practice site: request_auth practice, by %s", d.method)
		return d.call(ctx, "request_auth", map[string]any{"provider": "practice", "method": d.method})
	}
	d.say("The agent asks the practice API who it is: call_api practice GET %s", d.path)
	return d.call(ctx, "call_api", map[string]any{"provider": "practice", "method": "GET", "path": d.path})
}

func (d *stage) call(ctx context.Context, tool string, args map[string]any) (map[string]any, error) {
	answer, failed, err := d.agent.Call(ctx, tool, args)
	if err == nil && failed {
		err = fmt.Errorf("%s: %v", tool, answer["message"])
	}
	return answer, err
}

// signIn is the person's part.
func (d *stage) signIn(ctx context.Context, link string, code any) error {
	d.say("You open the link, check the code %v, and sign in as alice with the password wonderland:", code)
	d.show("%s", link)
	if !d.settings.demo.auto {
		if err := openBrowser(link); err == nil {
			d.show("(it opens in your browser)")
		}
		d.show("Waiting for you …")
		return nil
	}
	browser := authtest.Browser{Press: "connect"}
	visit, err := browser.Walk(ctx, link)
	if err != nil {
		return fmt.Errorf("confirming on our page: %w", err)
	}
	on := slices.IndexFunc(visit.Links, func(l string) bool { return strings.HasPrefix(l, d.provider.URL) })
	if on < 0 {
		return fmt.Errorf("confirming on our page: it leads nowhere: %s", visit.Page)
	}
	callback, err := d.provider.Approve(ctx, visit.Links[on], "alice")
	if err != nil {
		return fmt.Errorf("signing in at the practice provider: %w", err)
	}
	if _, err := browser.Walk(ctx, callback); err != nil {
		return fmt.Errorf("coming back: %w", err)
	}
	d.show("(--auto clicked through it)")
	return nil
}

func (d *stage) wait(ctx context.Context, id string) error {
	d.say("The agent waits: wait_for_auth")
	for {
		answer, err := d.call(ctx, "wait_for_auth", map[string]any{"request_id": id, "wait_seconds": 20})
		if err != nil {
			return err
		}
		switch answer["status"] {
		case "pending":
		case "connected":
			d.show("status=connected")
			return nil
		default:
			return fmt.Errorf("the sign-in ended: %v %v; run the demo again", answer["status"], answer["cause"])
		}
	}
}

// epilogue shows the record, and proves what the model was never shown.
func (d *stage) epilogue(ctx context.Context) error {
	d.say("What is on record (latchpost keeps this chain in its store):")
	var events []auth.Event
	for deadline := time.Now().Add(2 * time.Second); ; { // outcomes are queued behind the answers
		var err error
		if events, err = d.vault.Desk(auth.Local).Events(ctx, auth.EventFilter{Limit: 50}); err != nil {
			return err
		}
		if slices.ContainsFunc(events, func(e auth.Event) bool { return e.Kind == "revoke.done" }) || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	slices.Reverse(events)
	for _, e := range events {
		d.show("%s  %-20s %-8s %s", e.At.Format("15:04:05.000"), e.Kind, e.Decision, e.Client)
	}
	seen := d.transcript.String()
	for _, secret := range d.provider.Secrets() {
		if strings.Contains(seen, secret) {
			return errors.New("the agent saw a secret: please report this as a security problem")
		}
	}
	d.say("What the model saw: %d bytes of messages. What it never saw: %d secrets (codes, tokens) that the provider gave out.", len(seen), len(d.provider.Secrets()))
	fmt.Fprintln(d.out, "\nNext: latchpost app set github --client-id ID, then put `latchpost stdio` into your MCP host; see README.md.")
	return nil
}
