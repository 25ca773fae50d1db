//go:build otel

package main

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	identified "go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/mcp"
)

const canTrace = true

// otelSpans sends spans by OTLP over HTTP. The variables OTEL_* of the environment count.
type otelSpans struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// newSpans gives nil when no endpoint is set; then nothing runs.
func newSpans(ctx context.Context, s *settings, warn func(string, ...any)) (spans, error) {
	if s.otelEndpoint() == "" {
		return nil, nil
	}
	var to []otlptracehttp.Option
	if s.serve.otel != "" {
		to = append(to, otlptracehttp.WithEndpointURL(s.serve.otel+"/v1/traces"))
	}
	exporter, err := otlptracehttp.New(ctx, to...)
	if err != nil {
		return nil, err
	}
	us, err := identified.New(ctx, identified.WithAttributes(attribute.String("service.name", "latchpost"), attribute.String("service.version", buildVersion())), identified.WithFromEnv())
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { warn("traces are not delivered", "error", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(us))
	return &otelSpans{provider, provider.Tracer("github.com/latchpost/latchpost")}, nil
}

func (o *otelSpans) watch(ctx context.Context, tool string) (context.Context, func(string)) {
	if t, ok := mcp.TraceFrom(ctx); ok {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": t.Parent, "tracestate": t.State})
	}
	ctx, span := o.tracer.Start(ctx, "tools/call "+tool, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("mcp.method.name", "tools/call"), attribute.String("gen_ai.tool.name", tool)))
	return ctx, func(outcome string) {
		span.SetAttributes(attribute.String("latchpost.outcome", outcome))
		switch outcome {
		case "ok", "auth_required", "approval_required", "input_required":
		default:
			span.SetStatus(codes.Error, outcome)
		}
		span.End()
	}
}

func (o *otelSpans) call(ctx context.Context) func(string, *auth.Response, error) {
	_, span := o.tracer.Start(ctx, "brokered call", trace.WithSpanKind(trace.SpanKindClient))
	return func(provider string, resp *auth.Response, err error) {
		if resp != nil { // only then the provider is one, and not whatever the agent wrote
			span.SetAttributes(attribute.String("latchpost.provider", provider), attribute.Int("http.response.status_code", resp.Status))
		}
		if err != nil {
			word := "internal" // the text of an error may hold anything
			if known, ok := errors.AsType[*auth.Error](err); ok {
				word = known.Code
			}
			span.SetStatus(codes.Error, word)
		}
		span.End()
	}
}

func (o *otelSpans) close(ctx context.Context) error { return o.provider.Shutdown(ctx) }
