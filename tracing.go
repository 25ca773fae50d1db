package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/mcp"
)

// tracedLog adds the trace id of the tool call under which a line is written, so that
// the agent's traces and our log can be laid side by side.
type tracedLog struct{ slog.Handler }

func (l tracedLog) Handle(ctx context.Context, r slog.Record) error {
	if t, ok := mcp.TraceFrom(ctx); ok {
		r.AddAttrs(slog.String("trace_id", t.ID()))
	}
	return l.Handler.Handle(ctx, r)
}

func (l tracedLog) WithAttrs(a []slog.Attr) slog.Handler { return tracedLog{l.Handler.WithAttrs(a)} }
func (l tracedLog) WithGroup(name string) slog.Handler   { return tracedLog{l.Handler.WithGroup(name)} }

// spans tells an OpenTelemetry collector about tool calls and the calls to providers
// within them. It exists in builds with the tag otel only (tracing_otel.go): the SDK
// costs every start of every process more than a millisecond, and brings gRPC along.
type spans interface {
	// watch begins the span of a tool call.
	watch(ctx context.Context, tool string) (context.Context, func(outcome string))
	// call begins the span of a brokered call. Nothing of the trace goes to the provider.
	call(ctx context.Context) func(provider string, resp *auth.Response, err error)
	// close sends what is left.
	close(ctx context.Context) error
}

// otelEndpoint is where spans go; "" is nowhere. The flag comes before the
// environment of OpenTelemetry.
func (s *settings) otelEndpoint() string {
	for _, endpoint := range []string{s.serve.otel, os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")} {
		if endpoint != "" {
			return endpoint
		}
	}
	return ""
}

// checkTracing refuses what cannot be an endpoint, and a flag that this build cannot obey.
func (s *settings) checkTracing() error {
	if s.serve.otel == "" {
		return nil
	}
	if !canTrace {
		return usagef("--otel-endpoint: this build has no OpenTelemetry; build it with: go build -tags otel")
	}
	if u, err := url.Parse(s.serve.otel); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usagef("--otel-endpoint must be an http or https URL without a user in it, such as http://127.0.0.1:4318; what authenticates goes into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return nil
}

// endSpans sends what is left, for a few seconds at most.
func (h *house) endSpans() error {
	if h.spans == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // the command's own is over
	defer cancel()
	return h.spans.close(ctx)
}

// tracedBroker is a vault whose brokered calls are spans.
type tracedBroker struct {
	mcp.Broker
	spans spans
}

func (b tracedBroker) Call(ctx context.Context, c auth.Caller, call auth.Call) (*auth.Response, error) {
	end := b.spans.call(ctx)
	resp, err := b.Broker.Call(ctx, c, call)
	end(call.Provider, resp, err)
	return resp, err
}
