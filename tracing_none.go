//go:build !otel

package main

import "context"

const canTrace = false

// newSpans gives none: this build has no OpenTelemetry. Where an endpoint is set for every
// program of a machine, that is said once and no more.
func newSpans(_ context.Context, s *settings, warn func(string, ...any)) (spans, error) {
	if s.otelEndpoint() != "" {
		warn("an OpenTelemetry endpoint is set, and this build has no OpenTelemetry; build it with: go build -tags otel")
	}
	return nil, nil
}
