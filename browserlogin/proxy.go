package browserlogin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"sync/atomic"
	"time"
)

// proxy is the browser's only way out. The browser resolves no name itself: it
// hands host and port to us, and dial resolves once, checks what came, and
// connects to exactly that. A page can therefore reach nothing on this machine
// or its network, however it spells the address and however the name changes.
//
// It has no password: Chromium takes none on its command line and asks its debugger, and Playwright's answer pauses every
// request, and is given to each site that asks for a password itself.
type proxy struct {
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	ln      net.Listener
	srv     *http.Server
	forward *httputil.ReverseProxy
	refused atomic.Int64
}

func startProxy(dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{dial: dial, ln: ln}
	p.forward = &httputil.ReverseProxy{
		// The request keeps the address that the browser wrote; hop-by-hop headers go.
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.Header["X-Forwarded-For"] = nil },
		Transport: &http.Transport{
			DialContext: dial, DisableCompression: true, MaxIdleConns: 32, IdleConnTimeout: 30 * time.Second,
			ResponseHeaderTimeout: time.Minute,
		},
		FlushInterval: -1,
		ErrorLog:      discardLog,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { p.refuse(w) },
	}
	p.srv = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, ErrorLog: discardLog}
	go p.srv.Serve(ln)
	return p, nil
}

func (p *proxy) url() string { return "http://" + p.ln.Addr().String() }

func (p *proxy) close() {
	p.srv.Close()
	p.forward.Transport.(*http.Transport).CloseIdleConnections()
}

func (p *proxy) refuse(w http.ResponseWriter) {
	p.refused.Add(1)
	http.Error(w, "Latchpost's browser may not open this address.", http.StatusForbidden)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.tunnel(w, r)
	case r.URL.Scheme == "http" && r.URL.Host != "":
		p.forward.ServeHTTP(w, r)
	default: // somebody took the proxy for a web server
		p.refuse(w)
	}
}

// parting is what a site has left for its last word when the browser has closed a tunnel.
const parting = time.Second

func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	out, err := p.dial(r.Context(), "tcp", r.Host)
	if err != nil {
		p.refuse(w)
		return
	}
	defer out.Close()
	in, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, buffered)
		closeWrite(out)
		_ = out.SetReadDeadline(time.Now().Add(parting)) // browsers do not close one half alone, and a site may never close its own
	}()
	_, _ = io.Copy(in, out)
	closeWrite(in)
	<-done
}

func closeWrite(c net.Conn) {
	if t, ok := c.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
		return
	}
	_ = c.Close()
}
