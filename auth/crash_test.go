package auth_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/auth/egress"
	"github.com/latchpost/latchpost/auth/seal"
	"github.com/latchpost/latchpost/providers"
	"github.com/latchpost/latchpost/store"
)

// childRole is set in the processes that a test starts from its own binary. What
// they need to know comes on standard input.
const childRole = "LATCHPOST_TEST_CHILD"

func TestMain(m *testing.M) {
	role := map[string]func(context.Context, *json.Decoder) error{
		"":         nil,
		"getter":   getterChild,
		"refresh":  refreshChild,
		"callback": callbackChild,
		"poll":     pollChild,
		"caller":   callerChild,
		"panic":    panicChild,
	}[os.Getenv(childRole)]
	if role == nil {
		os.Exit(m.Run())
	}
	if err := role(context.Background(), json.NewDecoder(os.Stdin)); err != nil && err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// site is where a vault's store and its provider are: all that another process needs.
type site struct {
	Dir       string // data directory; the key lies in Dir-key
	Port      string // of the authorization server
	APIPort   string
	Providers string // directory of definitions; "" = none
	ReadOnly  bool
}

func siteOf(v *authtest.Vault) site {
	return site{Dir: v.Dir, Port: portOf(v.Server.URL), APIPort: portOf(v.API.URL)}
}

func portOf(address string) string {
	_, port, _ := strings.Cut(strings.TrimPrefix(address, "http://"), ":")
	return port
}

// open opens the store as another process would, with a clock of its own.
func (s site) open(ctx context.Context, now func() time.Time) (*auth.Vault, *store.DB, error) {
	defaults := map[string]map[string]string{"practice": {"port": s.Port, "api_port": s.APIPort}}
	catalog, err := providers.Load(s.Providers, providers.Options{Loopback: true, Defaults: defaults})
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(s.Dir, "latchpost.db"), Dir: s.Dir, ReadOnly: s.ReadOnly, Ballast: -1, Now: now})
	if err != nil {
		return nil, nil, err
	}
	kek, err := seal.OpenKEK(ctx, "file:"+filepath.Join(s.Dir+"-key", "master.key"))
	if err != nil {
		return nil, nil, err
	}
	box, err := seal.NewBox(ctx, kek, db)
	if err != nil {
		return nil, nil, err
	}
	out := egress.New(egress.Options{Loopback: true})
	oauth := &auth.OAuth{Out: out, Loopback: true}
	return &auth.Vault{
		Catalog: catalog, Box: box, Out: out, Loopback: true, Now: now, Release: map[string]bool{"*": true},
		Connectors: []auth.Connector{
			&auth.OAuthCode{OAuth: oauth}, &auth.DeviceCode{OAuth: oauth}, &auth.ClientCredentials{OAuth: oauth},
			&auth.APIKey{Out: out, Loopback: true},
		},
		Connections: db, Refreshes: db, Requests: db, Pending: db, Apps: db,
		Grants: db, Approvals: db, Revocations: db, Audit: db.AuditLog(box.MAC("audit")),
		BaseURL: func() string { return "http://127.0.0.1:7823" },
	}, db, nil
}

// clock is the real one, put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) Now() time.Time           { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration)  { c.ahead.Add(int64(d)) }
func newClock(ahead time.Duration) *clock { c := new(clock); c.forward(ahead); return c }

// newClockedVault is a vault whose provider, store and self go by one clock that
// the test moves. Every client with a grant may have its credentials raw.
func newClockedVault(t *testing.T, options authtest.Options) (*authtest.Vault, *clock) {
	t.Helper()
	c := newClock(0)
	options.Now = c.Now
	v := authtest.NewVault(t, options)
	reopen(t, v, siteOf(v), c.Now)
	return v, c
}

// reopen puts a vault of another process, so to speak, into v.
func reopen(t *testing.T, v *authtest.Vault, s site, now func() time.Time) {
	t.Helper()
	inner, db, err := s.open(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	v.Vault, v.DB = inner, db
}

// child is a process that runs this test binary in a role.
type child struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *bufio.Scanner
}

// start runs a role and gives it what it needs, on standard input: argv has no secret.
func start(t *testing.T, role string, config any) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, in: json.NewEncoder(stdin), out: bufio.NewScanner(stdout)}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if err := c.in.Encode(config); err != nil {
		t.Fatal(err)
	}
	return c
}

// kill is kill -9.
func (c *child) kill(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.died(t)
}

// died waits for a child that is killed or kills itself.
func (c *child) died(t *testing.T) {
	t.Helper()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v, not by SIGKILL", err)
	}
}

func killSelf() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		_ = self.Kill()
	}
	select {} // the signal is on its way
}

// fragile is a RefreshStore whose process dies at a step.
type fragile struct {
	auth.RefreshStore
	step string
}

func (f fragile) at(step string) {
	if f.step == step {
		killSelf()
	}
}

func (f fragile) AcquireRefresh(ctx context.Context, o auth.Owner, id string, version int64, ttl time.Duration) (*auth.Connection, bool, error) {
	c, taken, err := f.RefreshStore.AcquireRefresh(ctx, o, id, version, ttl)
	if taken {
		f.at("after acquire")
	}
	return c, taken, err
}

func (f fragile) KeepAnswer(ctx context.Context, o auth.Owner, id string, version int64, answer []byte) error {
	f.at("before keep")
	if f.step == "hang before keep" {
		select {} // until the parent kills this process
	}
	err := f.RefreshStore.KeepAnswer(ctx, o, id, version, answer)
	f.at("after keep")
	return err
}

func (f fragile) CommitRefresh(ctx context.Context, c *auth.Connection) error {
	f.at("before commit")
	err := f.RefreshStore.CommitRefresh(ctx, c)
	f.at("after commit")
	return err
}

// refreshConfig is what a child that renews one credential has to know.
type refreshConfig struct {
	Site  site
	Ahead time.Duration // of its clock
	Step  string        // where it dies
}

func refreshChild(ctx context.Context, in *json.Decoder) error {
	var config refreshConfig
	if err := in.Decode(&config); err != nil {
		return err
	}
	v, _, err := config.Site.open(ctx, newClock(config.Ahead).Now)
	if err != nil {
		return err
	}
	v.Refreshes = fragile{v.Refreshes, config.Step}
	_, err = v.Get(ctx, agent, auth.Need{Provider: "practice"})
	return err
}

// RF-003, D2, D9, D10: kill -9 at every step of a refresh loses nothing, but in the one
// window between the provider's commit and ours; there it is told, at the next attempt.
func TestKillWithinRefresh(t *testing.T) {
	at := func(p authtest.Point) *authtest.Point { return &p }
	for _, test := range []struct {
		name  string
		point *authtest.Point // where the provider stops and the child is killed
		step  string          // where the child kills itself
		lost  bool            // the provider has rotated, and nobody has the answer
		asked int             // token requests of the whole story
	}{
		{name: "lease taken", step: "after acquire", asked: 1},
		{name: "request received", point: at(authtest.Received), asked: 2},
		{name: "provider committed", point: at(authtest.Committed), lost: true, asked: 2},
		{name: "headers received", point: at(authtest.Headers), lost: true, asked: 2},
		{name: "body received", point: at(authtest.Body), step: "hang before keep", lost: true, asked: 2},
		{name: "before the answer is kept", step: "before keep", lost: true, asked: 2},
		{name: "after the answer is kept", step: "after keep", asked: 1},
		{name: "before commit", step: "before commit", asked: 1},
		{name: "after commit", step: "after commit", asked: 1},
	} {
		for _, grace := range []time.Duration{0, time.Minute} {
			if grace > 0 && !test.lost {
				continue
			}
			t.Run(fmt.Sprintf("%s/grace %v", test.name, grace), func(t *testing.T) {
				t.Parallel()
				v := authtest.NewVault(t, authtest.Options{Grace: grace})
				connect(t, v, agent, auth.Wish{Provider: "practice"}, "alice", auth.Choice{})
				v.Server.Forget()
				config := refreshConfig{Site: siteOf(v), Ahead: 2 * time.Hour, Step: test.step}
				if test.point != nil {
					fault, pause := authtest.PauseAt(*test.point)
					v.Server.Fault("/token", fault)
					c := start(t, "refresh", config)
					<-pause.Reached
					c.kill(t)
				} else {
					start(t, "refresh", config).died(t)
				}

				reopen(t, v, siteOf(v), newClock(2*time.Hour).Now)
				h, err := v.Get(t.Context(), agent, auth.Need{Provider: "practice"})
				var link *auth.AuthRequired
				switch infos, _ := v.List(t.Context(), agent, ""); {
				case test.lost && grace == 0:
					if !errors.As(err, &link) || link.Reason != auth.ReasonReauth {
						t.Errorf("Get: %v, want the link to sign in again", err)
					}
					if infos[0].State != auth.NeedsReauth || infos[0].Cause != "interrupted_rotation" {
						t.Errorf("the connection reads %s, %s", infos[0].State, infos[0].Cause)
					}
					_, _ = v.Get(t.Context(), agent, auth.Need{Provider: "practice"}) // asks nobody again
				case err != nil:
					t.Errorf("Get: %v", err)
				case !live(v.Server, h.Released.Value):
					t.Error("the token that came is not the living one")
				case infos[0].State != auth.Active:
					t.Errorf("the connection reads %s, %s", infos[0].State, infos[0].Cause)
				}
				if n := len(v.Server.Requests("/token")); n != test.asked {
					t.Errorf("%d token requests, want %d", n, test.asked)
				}
			})
		}
	}
}

// live asks the provider about a token, as an API of it would.
func live(s *authtest.Server, token auth.Secret) bool {
	form := url.Values{"client_id": {"public"}, "token": {token.Reveal()}}
	var answer struct{ Active bool }
	return postForm(s.URL+"/introspect", form, &answer) == nil && answer.Active
}

// callbackConfig is what a child that finishes a sign-in has to know.
type callbackConfig struct {
	Site    site
	Browser []byte
	Query   url.Values
	Step    string
}

// dying dies where a sign-in is about to be stored.
type dying struct{ auth.RequestStore }

func (dying) CompleteRequest(context.Context, *auth.Request, *auth.Connection, []auth.Grant) error {
	killSelf()
	return nil
}

func callbackChild(ctx context.Context, in *json.Decoder) error {
	var config callbackConfig
	if err := in.Decode(&config); err != nil {
		return err
	}
	v, _, err := config.Site.open(ctx, nil)
	if err != nil {
		return err
	}
	if config.Step == "before commit" {
		v.Requests = dying{v.Requests}
	}
	_, err = v.Visit(auth.Visitor{Browser: config.Browser}).Callback(ctx, "practice", config.Query)
	return err
}

// CB-017: kill -9 between the token answer and the commit of a sign-in ends the request
// with its own cause. Nothing half is there, the code is never sent again, and tokens that came are revoked.
func TestKillWithinCallback(t *testing.T) {
	for _, step := range []string{"provider committed", "before commit"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			v := authtest.NewVault(t, authtest.Options{})
			link := ask(t, v, agent, auth.Wish{Provider: "practice"})
			config := callbackConfig{Site: siteOf(v), Browser: browserKey("alice's browser"), Step: step}
			config.Query = signIn(t, v, link.RequestID, auth.Visitor{Browser: config.Browser}, "alice", auth.Choice{})
			if step == "before commit" {
				start(t, "callback", config).died(t)
			} else {
				fault, pause := authtest.PauseAt(authtest.Committed)
				v.Server.Fault("/token", fault)
				c := start(t, "callback", config)
				<-pause.Reached
				c.kill(t)
			}
			again := func() {
				t.Helper()
				if _, err := v.Visit(auth.Visitor{Browser: config.Browser}).Callback(t.Context(), "practice", config.Query); !errors.Is(err, auth.ErrInvalid) {
					t.Errorf("the same callback again: %v", err)
				}
			}
			again()
			reopen(t, v, config.Site, newClock(3*time.Minute).Now)
			if err := v.KeepOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := v.Wait(t.Context(), agent, link.RequestID, 0, nil)
			if err != nil || s.Status != auth.StatusFailed || s.Cause != "unknown_outcome" {
				t.Errorf("Wait: %+v, %v", s, err)
			}
			again()
			if n := len(v.Server.Requests("/token")); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			if infos, err := v.List(t.Context(), agent, ""); err != nil || len(infos) != 0 {
				t.Errorf("List: %+v, %v", infos, err)
			}
			if n := len(revokedTokens(v)); step == "before commit" && n != 2 {
				t.Errorf("%d of the two tokens that came were revoked", n)
			}
			if r, err := v.Requests.Request(t.Context(), link.RequestID); err != nil || r.Private != nil {
				t.Errorf("left in the request: %d bytes, %v", len(r.Private), err)
			}
		})
	}
}
