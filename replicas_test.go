package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/store"
	"github.com/latchpost/latchpost/store/storetest"
)

// balancer sends each request to the next of its replicas, and knows no sessions.
type balancer struct {
	url      string
	replicas []string
	next     atomic.Int64
	served   []atomic.Int64 // requests of each
}

func newBalancer(t *testing.T, listen string, replicas ...string) *balancer {
	t.Helper()
	b := &balancer{url: "http://" + listen, replicas: replicas, served: make([]atomic.Int64, len(replicas))}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		i := int(b.next.Add(1)) % len(replicas)
		b.served[i].Add(1)
		r.SetURL(&url.URL{Scheme: "http", Host: replicas[i]})
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
	srv := &http.Server{Addr: listen, Handler: proxy}
	ended := make(chan error, 1)
	go func() { ended <- srv.ListenAndServe() }()
	t.Cleanup(func() { _ = srv.Close(); <-ended })
	return b
}

// Two processes on one PostgreSQL behind a load balancer: a sign-in goes on where it did not begin, at every
// step, and each process uses what the other stored.
func TestReplicas(t *testing.T) {
	database, front := storetest.Postgres(t), freePort(t)
	provider := authtest.NewServer(authtest.Options{Clients: []authtest.Client{{ID: "public", Name: "Latchpost", RedirectURIs: []string{"http://" + front + "/callback/practice"}}}})
	t.Cleanup(provider.Close)
	api := authtest.NewAPI(provider)
	t.Cleanup(api.Close)
	dir, ports := t.TempDir(), []string{freePort(t), freePort(t)}
	common := []string{
		"--store", database, "--key", "file:" + filepath.Join(dir, "key", "master.key"), "--base-url", "http://" + front, "--unsafe-loopback", "--log-level", "error",
		"--var", "practice.port=" + port(provider.URL), "--var", "practice.api_port=" + port(api.URL),
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i, listen := range ports {
		args := append([]string{"serve", "--listen", listen, "--data", filepath.Join(dir, fmt.Sprint("data-", i))}, common...)
		all.Go(func() {
			if code := run(ctx, args, &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output()}); code != exitDone {
				t.Errorf("a replica ended with %d", code)
			}
		})
	}
	t.Cleanup(func() { stop(); all.Wait() })
	for _, listen := range ports {
		for deadline := time.Now().Add(30 * time.Second); !alive(listen); {
			if time.Now().After(deadline) {
				t.Fatal("a replica does not serve")
			}
		}
	}
	b := newBalancer(t, front, ports...)

	s := &settings{in: strings.NewReader(""), out: io.Discard, err: t.Output()}
	if _, err := s.parse(newFlags(command{name: "serve", flags: serveFlags}, s), append([]string{"--data", filepath.Join(dir, "admin")}, common...)); err != nil {
		t.Fatal(err)
	}
	h, err := open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	if err := h.vault.Desk(auth.Owner{}).SetApp(t.Context(), "practice", "public", auth.Secret{}, nil); err != nil {
		t.Fatal(err)
	}
	n := &neighbourhood{house: h, t: t, base: b.url, provider: provider, api: api}

	ada := auth.Owner{User: "ada"}
	agent := n.owner(ada.User)
	link, err := h.identity.Link(t.Context(), ada)
	if err != nil {
		t.Fatal(err)
	}
	p := n.visitor()
	p.get(link.Reveal())
	p.post("/login", url.Values{"code": {link.Reveal()[strings.LastIndex(link.Reveal(), "/")+1:]}})

	for _, user := range []string{"alice", "bob"} {
		asked := agent.must("request_auth", `{"provider":"practice","account":"`+user+`"}`)
		id, _ := asked["request_id"].(string)
		page, _ := asked["url"].(string)
		back, err := provider.Approve(t.Context(), p.confirm(page), user)
		if err != nil {
			t.Fatal(err)
		}
		p.get(back)
		if got := agent.must("wait_for_auth", `{"request_id":"`+id+`"}`); got["status"] != "connected" {
			t.Fatalf("the agent is told %v; the page says %s", got, p.body)
		}
		for range 3 {
			if got := agent.must("call_api", `{"provider":"practice","account":"`+user+`","path":"/me"}`); got["status"] != float64(200) {
				t.Errorf("a call is answered by %v", got)
			}
		}
	}
	for i := range b.served {
		if b.served[i].Load() < 5 {
			t.Errorf("replica %d served %d requests", i, b.served[i].Load())
		}
	}
	census, err := h.db.Census(t.Context())
	if err != nil || census.Connections[auth.Active] != 2 || census.Requests[store.Step{Method: auth.MethodOAuthCode, State: auth.Stored}] != 2 {
		t.Errorf("the census says %v %v", census, err)
	}
	report, err := h.audit.Verify(t.Context())
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("the record of both: %v %v", report, err)
	}
}

// visitor is a person's browser as far as forms and cookies go.
type visitor struct {
	t    *testing.T
	base string
	http *http.Client
	head http.Header
	body string
}

func (n *neighbourhood) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return &visitor{t: n.t, base: n.base, http: &http.Client{Jar: jar}}
}

func (v *visitor) get(address string) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	v.do(req)
}

var hidden = regexp.MustCompile(`name="token" value="([^"]*)"`)

func (v *visitor) post(path string, form url.Values) {
	v.t.Helper()
	if m := hidden.FindStringSubmatch(v.body); m != nil {
		form.Set("token", m[1])
	}
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodPost, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", v.base)
	v.do(req)
}

func (v *visitor) do(req *http.Request) {
	v.t.Helper()
	resp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s %s: %s %v %s", req.Method, req.URL.Path, resp.Status, err, body)
	}
	v.head, v.body = resp.Header, string(body)
}

// confirm presses the button on a connect page, and gives the provider's page that it leads to.
func (v *visitor) confirm(page string) string {
	v.t.Helper()
	v.get(page)
	v.post(strings.TrimPrefix(page, v.base), url.Values{"do": {"connect"}, "access": {"write"}})
	_, target, _ := strings.Cut(v.head.Get("Refresh"), "; url=")
	return target
}
