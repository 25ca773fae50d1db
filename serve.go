package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/latchpost/latchpost/auth/guard"
	"github.com/latchpost/latchpost/auth/web"
	"github.com/latchpost/latchpost/mcp"
)

type serveSettings struct{}

func serveFlags(fs *flag.FlagSet, s *settings) { listenFlags(fs, s) }

func (h *house) mcp() *mcp.Server {
	return mcp.New(h.vault, mcp.Options{Version: buildVersion(), Log: h.log})
}

// stdio serves one MCP host. Standard output belongs to the protocol alone: the
// real one is taken before anything else can print on it.
func stdio(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("stdio takes no arguments")
	}
	out := s.out
	if f, ok := out.(*os.File); ok && f == os.Stdout {
		os.Stdout = os.Stderr
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	return h.run(ctx, func(ctx context.Context) error { return h.mcp().Stdio(ctx, s.in, out) })
}

// run serves the pages and does the background work while main runs.
func (h *house) run(ctx context.Context, main func(context.Context) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	pages, err := h.door.Share(ctx, h.pages)
	if err != nil {
		stop()
		return errors.Join(err, h.Close())
	}
	var keeping sync.WaitGroup
	keeping.Go(func() { _ = h.vault.Keep(ctx) })
	err = main(ctx)
	stop()
	keeping.Wait()
	return errors.Join(err, pages(), h.Close())
}

// serve is for remote agents.
func serve(ctx context.Context, s *settings, args []string) error {
	if len(args) > 0 {
		return usagef("serve takes no arguments")
	}
	h, err := open(ctx, s)
	if err != nil {
		return err
	}
	return h.run(ctx, func(ctx context.Context) error {
		fmt.Fprintf(s.err, "Latchpost serves on %s\n", h.door.URL())
		<-ctx.Done()
		return nil
	})
}

// pages is everything that people see, behind the layers that every request passes.
func (h *house) pages(authority string) *http.Server {
	site := web.New(h.vault, web.Options{Local: true, Unsafe: h.settings.unsafe(), Log: h.log, Version: buildVersion()})
	mux := http.NewServeMux()
	mux.Handle("/", site.Handler())
	mux.HandleFunc("GET /healthz", h.door.Health)
	mux.HandleFunc("GET /readyz", h.ready)
	return guard.Server(mux, guard.Options{Hosts: hosts(authority, h.door.URL()), Origins: []string{h.door.URL()}, Logger: h.log})
}

// hosts are the authorities under which we are reached: what we listen on, its
// spelling as localhost (some providers take no other redirect URI), and the base URL.
func hosts(authority, base string) []string {
	list := []string{authority}
	if host, port, err := net.SplitHostPort(authority); err == nil && host == "127.0.0.1" {
		list = append(list, "localhost:"+port)
	}
	if u, err := url.Parse(base); err == nil {
		list = append(list, strings.ToLower(u.Host))
	}
	return list
}

// ready says whether requests can be served: the store answers.
func (h *house) ready(w http.ResponseWriter, r *http.Request) {
	if err := h.db.Check(r.Context()); err != nil {
		h.log.Error("not ready", "error", err)
		http.Error(w, "the store does not answer; see the log", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}
