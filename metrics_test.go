package main

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
)

// get asks with a Host and a bearer token, over a unix socket where one is named.
func get(t *testing.T, address, host, token string) (status int, body string) {
	t.Helper()
	dial := &http.Transport{DisableKeepAlives: true}
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		address = "localhost"
		dial.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if req.Host = host; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := dial.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// SH-015: after a whole story the metrics have counted it, and hold nothing of who,
// where and with what: the names of labels are a closed set, and no value is from outside.
func TestMetricsTellNoSecrets(t *testing.T) {
	n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--metrics-listen", "127.0.0.1:0", "--requests-per-second", "4", "--unsafe-metrics")
	listen := n.reads(`serves metrics on (127\.0\.0\.1:[1-9]\d*)\n`)
	owner := auth.Owner{Org: "canary-org", User: "canary-ada@example.com"}
	token, _, err := n.identity.Tokens.Create(t.Context(), owner, "canary-client", nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	a := n.caller(token.Reveal())
	secrets := []string{"canary", token.Reveal(), "practice", "alice", "127.0.0.1", `="/`, "/c/", n.base}
	asked := a.must("request_auth", `{"provider":"practice"}`)
	id, _ := asked["request_id"].(string)
	secrets = append(secrets, id)
	if err := finish(t.Context(), n.vault, n.provider, id, browserHash); err != nil {
		t.Fatal(err)
	}
	a.must("call_api", `{"provider":"practice","path":"/me?canary=query"}`)
	a.call("call_api", `{"provider":"canary-provider","path":"/canary-path"}`)
	for range 9 {
		a.call("canary_tool", `{}`)
	}
	n.caller("canary-token").call("list_connections", `{}`)
	if status, _ := get(t, strings.TrimPrefix(n.base, "http://"), "canary.example", ""); status != http.StatusMisdirectedRequest {
		t.Errorf("a foreign Host: %d", status)
	}

	status, text := get(t, listen, "", "")
	if status != http.StatusOK {
		t.Fatalf("the scrape: %d %s", status, text)
	}
	for _, sample := range []string{
		`latchpost_tool_calls_total{outcome="auth_required",tool="request_auth"} 1`,
		`latchpost_tool_calls_total{outcome="ok",tool="call_api"} 1`,
		`latchpost_tool_calls_total{outcome="` + auth.ErrInvalid.Code + `",tool="call_api"} 1`,
		`latchpost_tool_call_duration_seconds_count{tool="call_api"} 2`,
		`latchpost_events_total{decision="allow",kind="call"} 1`,
		`latchpost_events_total{decision="allow",kind="request.create"} 1`,
		`latchpost_http_refusals_total{layer="authentication"} 1`,
		`latchpost_http_refusals_total{layer="wrong_host"} 1`,
		`latchpost_connections{state="active"} 1`,
		`latchpost_requests{method="oauth_code",state="stored"} 1`,
		`latchpost_audit_append_duration_seconds_count `,
		`latchpost_build_info{`, `go_goroutines `, `process_open_fds `,
	} {
		if !strings.Contains(text, "\n"+sample) {
			t.Errorf("the metrics lack %s", sample)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics hold %q", secret)
		}
	}
	known := []string{"decision", "go", "kind", "layer", "le", "method", "outcome", "quantile", "state", "tool", "version"}
	labels := map[string]bool{}
	for _, m := range regexp.MustCompile(`([a-zA-Z_]+)="`).FindAllStringSubmatch(text, -1) {
		labels[m[1]] = true
	}
	for label := range maps.Keys(labels) {
		if !slices.Contains(known, label) {
			t.Errorf("there is a label %s: give it values of a closed set, and enter it here", label)
		}
	}
	if t.Failed() {
		t.Log(text[strings.Index(text, "# HELP latchpost"):])
	}
	// HL-031: nothing of it is on the listener for agents and people.
	if status, _ := get(t, strings.TrimPrefix(n.base, "http://"), "", ""); status != http.StatusNotFound {
		t.Errorf("/metrics on the public listener: %d", status)
	}
	// A page that rebinds its name to us is refused here too.
	if status, text := get(t, listen, "evil.example", ""); status != http.StatusMisdirectedRequest {
		t.Errorf("a foreign Host on the metrics: %d %s", status, text)
	}
}

// HL-031: metrics on a unix socket are for its user alone, and with a token file for those who have it.
func TestMetricsOnASocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "lp") // short: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket, file := filepath.Join(dir, "metrics"), filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as a killed process leaves it
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", "--metrics-listen", "unix:"+socket, "--metrics-token-file", file)
	deadline := time.Now().Add(20 * time.Second)
	for info, err := os.Stat(socket); ; info, err = os.Stat(socket) {
		if err == nil && info.Mode().Perm() == 0o600 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the socket is not there for its user alone:", info, err)
		}
	}
	for token, want := range map[string]int{"": 401, "0123456789abcdeg": 401, "0123456789abcdef": 200} {
		if got, _ := get(t, "unix:"+socket, "localhost", token); got != want {
			t.Errorf("with token %q: %d", token, got)
		}
	}
}

// A path that is mistyped costs nobody a file.
func TestMetricsReplaceSocketsOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := listenMetrics(t.Context(), "unix:"+file); err == nil {
		_ = l.Close()
		t.Error("a file was replaced by a socket")
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "mine" {
		t.Errorf("the file holds %q, %v", kept, err)
	}
}

// HL-031: no address from which strangers could read, unless somebody insists.
func TestMetricsStayHere(t *testing.T) {
	for _, bad := range []string{"0.0.0.0:9090", "192.0.2.1:9090", ":9090", "localhost:9090", "[::]:9090", "127.0.0.1:9090", "[::1]:9090"} {
		s := &settings{listen: defaultListen}
		if s.serve.metrics = bad; s.checkServe() == nil {
			t.Errorf("--metrics-listen %s is taken", bad)
		}
		if s.serve.metricsToken = "token"; (s.checkServe() == nil) != isLoopback(bad) {
			t.Errorf("--metrics-listen %s with a token: %v", bad, s.checkServe())
		}
		s.serve.metricsToken = ""
		if s.serve.unsafeMetrics = true; s.checkServe() != nil || len(s.unsafe()) != 1 {
			t.Errorf("--unsafe-metrics %s: %v, reported as %q", bad, s.checkServe(), s.unsafe())
		}
	}
}
