package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/auth/authtest"
	"github.com/latchpost/latchpost/mcp"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// A line that is written under a tool call names the trace of its client.
func TestLogNamesTheTrace(t *testing.T) {
	var log bytes.Buffer
	s := &settings{err: &log, logLevel: "warn"}
	logger, err := s.logger()
	if err != nil {
		t.Fatal(err)
	}
	server := mcp.New(nil, mcp.Options{Log: logger.With("part", "tools")}) // without a broker every call panics
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- server.Stdio(t.Context(), in, out) }()
	go func() {
		_, _ = io.WriteString(toServer, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n"+
			`{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"+
			`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_connections","arguments":{},"_meta":{"traceparent":"`+traceparent+`"}}}`+"\n")
		_ = toServer.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, fromServer) }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := log.String(); !strings.Contains(got, "tool panicked") || !strings.Contains(got, "part=tools") || !strings.Contains(got, " trace_id="+traceID) {
		t.Errorf("the log says %s", got)
	}
	if slog.New(tracedLog{slog.DiscardHandler}).Enabled(t.Context(), slog.LevelError) {
		t.Error("a discarded level is enabled")
	}
}

// collector takes what a program sends to an OpenTelemetry collector.
type collector struct {
	*httptest.Server
	mu  sync.Mutex
	got bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, _ = c.got.WriteString(r.URL.Path + "\n")
		_, _ = c.got.ReadFrom(r.Body)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got.String()
}

// Spans go to the collector in builds that have OpenTelemetry; others refuse the flag.
// Nothing of the trace reaches the provider in either.
func TestSpans(t *testing.T) {
	c := newCollector(t)
	if s := (&settings{listen: defaultListen}); !canTrace {
		if s.serve.otel = c.URL; s.checkServe() == nil || !strings.Contains(s.checkServe().Error(), "-tags otel") {
			t.Errorf("--otel-endpoint is answered by %v", s.checkServe())
		}
	}
	var flags []string
	if canTrace {
		flags = []string{"--otel-endpoint", c.URL}
	}
	var provider *authtest.API
	t.Run("serve", func(t *testing.T) {
		n := settle(t, authtest.Options{}, strings.NewReader(""), io.Discard, "serve", flags...)
		provider = n.api
		token, _, err := n.identity.Tokens.Create(t.Context(), auth.Owner{User: "canary-ada"}, "agent", nil, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		a := n.caller(token.Reveal())
		a.meta = `"traceparent":"` + traceparent + `",`
		id, _ := a.must("request_auth", `{"provider":"practice"}`)["request_id"].(string)
		if err := finish(t.Context(), n.vault, n.provider, id, browserHash); err != nil {
			t.Fatal(err)
		}
		a.must("call_api", `{"provider":"practice","path":"/me"}`)
	})
	for _, r := range provider.Requests("") {
		for name := range r.Header {
			if strings.HasPrefix(strings.ToLower(name), "trace") || strings.EqualFold(name, "baggage") {
				t.Errorf("the provider was sent %s", name)
			}
		}
	}
	if !canTrace {
		return
	}
	got := c.text()
	for _, want := range []string{"/v1/traces", "tools/call call_api", "brokered call", "latchpost.provider", "auth_required"} {
		if !strings.Contains(got, want) {
			t.Errorf("the collector did not get %q", want)
		}
	}
	for _, secret := range []string{"canary", "/me", "127.0.0.1"} {
		if strings.Contains(got, secret) {
			t.Errorf("the collector got %q", secret)
		}
	}
}
