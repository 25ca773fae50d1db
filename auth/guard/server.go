package guard

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"time"
)

// Server returns a server with h behind the layers and with bounds on headers, answers, idleness and streams. It sets
// no addresses: serve it on what Listen returns.
func Server(h http.Handler, opt Options) *http.Server {
	g := newGuard(opt)
	return &http.Server{
		Handler:                      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, h) }),
		ConnContext:                  countResets,
		ReadHeaderTimeout:            10 * time.Second,
		WriteTimeout:                 g.opt.AnswerTimeout, // whoever streams lifts it
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               28 << 10, // net/http adds 4 KiB of its own
		DisableGeneralOptionsHandler: true,     // "OPTIONS *" passes the layers like everything else
		TLSConfig:                    &tls.Config{MinVersion: tls.VersionTLS12},
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 100, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:                     slog.NewLogLogger(g.opt.Logger.Handler(), slog.LevelDebug),
	}
}
