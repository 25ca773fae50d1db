package main

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/latchpost/latchpost/auth/guard"
)

// checkMetrics refuses an address from which strangers could read.
func (s *settings) checkMetrics() error {
	r := s.serve
	_, unix := strings.CutPrefix(r.metrics, "unix:")
	switch {
	case r.metrics == "" && r.metricsToken != "":
		return usagef("--metrics-token-file needs --metrics-listen")
	case r.metrics != "" && !unix && !isAddress(r.metrics):
		return usagef("--metrics-listen must be an address and a port, such as 127.0.0.1:9464, or unix:PATH, not %q", r.metrics)
	case r.metrics != "" && !unix && !isLoopback(r.metrics) && !r.unsafeMetrics:
		return usagef("--metrics-listen %s can be reached from other machines, in the clear: listen on 127.0.0.1 or unix:PATH and let the scraper come there, or give --unsafe-metrics", r.metrics)
	case r.metrics != "" && !unix && r.metricsToken == "" && !r.unsafeMetrics:
		return usagef("--metrics-listen %s can be read by every user of this machine: listen on unix:PATH, name a token with --metrics-token-file, or give --unsafe-metrics", r.metrics)
	}
	return nil
}

// scraped serves metrics while main runs, on an address of their own.
func (h *house) scraped(ctx context.Context, main func(context.Context) error) error {
	if h.metrics == nil {
		return main(ctx)
	}
	l, err := listenMetrics(ctx, h.settings.serve.metrics)
	if err != nil {
		return fmt.Errorf("--metrics-listen %s: %w; choose another address", h.settings.serve.metrics, err)
	}
	srv, err := h.metricsServer(l)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	at := h.settings.serve.metrics
	if l.Addr().Network() != "unix" { // as asked for, but for port 0
		at = l.Addr().String()
	}
	fmt.Fprintf(h.settings.err, "Latchpost serves metrics on %s\n", at)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	err = main(ctx)
	if served := errors.Join(srv.Close(), <-ended); !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// listenMetrics takes host:port or unix:PATH. A socket is for its user alone; one
// that a dead process left is replaced.
func listenMetrics(ctx context.Context, address string) (net.Listener, error) {
	path, unix := strings.CutPrefix(address, "unix:")
	if !unix {
		return guard.Listen(ctx, address, guard.Options{MaxConns: 64})
	}
	listen := func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "unix", path) }
	l, err := listen()
	if errors.Is(err, syscall.EADDRINUSE) {
		_, dead := net.DialTimeout("unix", path, time.Second)
		// A file that is no socket refuses in the same way, and is somebody's.
		if info, statErr := os.Lstat(path); statErr == nil && info.Mode().Type() == fs.ModeSocket && errors.Is(dead, syscall.ECONNREFUSED) && os.Remove(path) == nil {
			l, err = listen()
		}
	}
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// metricsServer has the layers of every server of ours: a page in some browser on this
// machine must not read it either. On an address for all, every Host is right.
func (h *house) metricsServer(l net.Listener) (*http.Server, error) {
	logged := slog.NewLogLogger(h.log.Handler(), slog.LevelError)
	scrape := h.metrics.handler(logged)
	if file := h.settings.serve.metricsToken; file != "" {
		token, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--metrics-token-file: %w", err)
		}
		if token = bytes.TrimSpace(token); len(token) < 16 {
			return nil, fmt.Errorf("--metrics-token-file %s: a token of at least 16 characters is needed; make one with: openssl rand -hex 16", file)
		}
		scrape = withToken(token, scrape)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrape)
	authority := l.Addr().String()
	if l.Addr().Network() == "unix" {
		authority = "localhost"
	}
	srv := guard.Server(mux, guard.Options{Hosts: hosts(authority, ""), Logger: h.log})
	if s := h.settings.serve; s.unsafeMetrics && !isLoopback(s.metrics) { // by whatever name it is reached
		srv.Handler = mux
	}
	return srv, nil
}

func withToken(token []byte, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(given), token) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "metrics need the token of --metrics-token-file", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
