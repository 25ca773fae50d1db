package main

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/latchpost/latchpost/auth"
	"github.com/latchpost/latchpost/store"
)

// metrics is what Prometheus can ask of serve. Labels are words of closed sets, never
// a user, account, token, path or host. Each is counted at a seam that is there
// anyway: the audit log, the refusals of the guard, the tool calls of mcp.
type metrics struct {
	registry *prometheus.Registry
	calls    *prometheus.CounterVec
	took     *prometheus.HistogramVec
	events   *prometheus.CounterVec
	append   prometheus.Histogram
	refusals *prometheus.CounterVec
}

func newMetrics(db *store.DB, version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		calls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "latchpost_tool_calls_total", Help: "Tool calls of agents that ended."}, []string{"tool", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "latchpost_tool_call_duration_seconds", Help: "How long tool calls took, the provider's time included.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"tool"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "latchpost_events_total", Help: "Audit events, such as refresh, call or connection.store."}, []string{"kind", "decision"}),
		append: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "latchpost_audit_append_duration_seconds", Help: "How long it took until an audit record was on disk.", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12),
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "latchpost_http_refusals_total", Help: "HTTP requests that a layer in front of the handlers refused."}, []string{"layer"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "latchpost_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(m.calls, m.took, m.events, m.append, m.refusals, build, newCensus(db), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe turns on what --metrics-listen and --otel-endpoint ask for.
func (h *house) observe(ctx context.Context) (err error) {
	if h.settings.serve.metrics != "" {
		h.metrics = newMetrics(h.db, buildVersion())
		if cert := h.door.cert; cert != nil {
			h.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "latchpost_tls_not_after_seconds", Help: "When the certificate of --tls-cert ends, in seconds since 1970.",
			}, cert.notAfter))
		}
		counted := countedLog{h.audit, h.metrics}
		h.vault.Audit, h.identity.Audit, h.identity.Tokens.Audit = counted, counted, counted
	}
	h.spans, err = newSpans(ctx, h.settings, h.log.Warn)
	return err
}

// watch is what mcp tells about tool calls; nil when nobody wants to know. The span is
// the outer one.
func (h *house) watch() func(context.Context, string) (context.Context, func(string)) {
	switch {
	case h.spans == nil && h.metrics == nil:
		return nil
	case h.spans == nil:
		return h.metrics.watch
	case h.metrics == nil:
		return h.spans.watch
	}
	return func(ctx context.Context, tool string) (context.Context, func(string)) {
		ctx, end := h.spans.watch(ctx, tool)
		ctx, count := h.metrics.watch(ctx, tool)
		return ctx, func(outcome string) { count(outcome); end(outcome) }
	}
}

// watch counts a tool call.
func (m *metrics) watch(ctx context.Context, tool string) (context.Context, func(outcome string)) {
	began := time.Now()
	return ctx, func(outcome string) {
		m.calls.WithLabelValues(tool, outcome).Inc()
		m.took.WithLabelValues(tool).Observe(time.Since(began).Seconds())
	}
}

func (m *metrics) refused(layer string) { m.refusals.WithLabelValues(layer).Inc() }

// identify counts those who come without a token that is good.
func (m *metrics) identify(next func(*http.Request) (auth.Caller, error)) func(*http.Request) (auth.Caller, error) {
	return func(r *http.Request) (auth.Caller, error) {
		c, err := next(r)
		if err != nil {
			m.refused("authentication")
		}
		return c, err
	}
}

// countedLog counts events on their way into the log.
type countedLog struct {
	auth.AuditLog
	m *metrics
}

func (l countedLog) Append(ctx context.Context, events ...auth.Event) error {
	began := time.Now()
	err := l.AuditLog.Append(ctx, events...)
	l.m.append.Observe(time.Since(began).Seconds())
	if err != nil {
		l.m.events.WithLabelValues("audit", "failed").Inc()
		return err
	}
	l.count(events)
	return nil
}

func (l countedLog) Later(events ...auth.Event) {
	l.AuditLog.Later(events...)
	l.count(events)
}

func (l countedLog) count(events []auth.Event) {
	for _, e := range events {
		l.m.events.WithLabelValues(e.Kind, e.Decision).Inc()
	}
}

// census counts what is in the store when somebody scrapes, but not more often than
// each censusAge: it reads every row.
type census struct {
	db                    *store.DB
	connections, requests *prometheus.Desc
	mu                    sync.Mutex
	taken                 time.Time
	last                  *store.Census
}

const censusAge = time.Minute

func newCensus(db *store.DB) *census {
	return &census{
		db:          db,
		connections: prometheus.NewDesc("latchpost_connections", "Connections of all owners, counted at most once a minute.", []string{"state"}, nil),
		requests:    prometheus.NewDesc("latchpost_requests", "Sign-ins of the last week by method and how far they came; browser logins have method browser.", []string{"method", "state"}, nil),
	}
}

func (c *census) Describe(all chan<- *prometheus.Desc) {
	all <- c.connections
	all <- c.requests
}

func (c *census) Collect(all chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.last == nil || now.Sub(c.taken) > censusAge {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // a scrape brings none
		defer cancel()
		last, err := c.db.Census(ctx)
		if err != nil {
			all <- prometheus.NewInvalidMetric(c.connections, err)
			return
		}
		c.last, c.taken = last, now
	}
	for state, n := range c.last.Connections {
		all <- prometheus.MustNewConstMetric(c.connections, prometheus.GaugeValue, float64(n), string(state))
	}
	for step, n := range c.last.Requests {
		all <- prometheus.MustNewConstMetric(c.requests, prometheus.GaugeValue, float64(n), step.Method, string(step.State))
	}
}

// handler answers a scrape with all that can be told: what fails is left out and logged.
func (m *metrics) handler(log promhttp.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: log, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}
