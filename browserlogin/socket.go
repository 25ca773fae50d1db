package browserlogin

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket that ends even when its peer holds on to it.
type socket struct {
	*websocket.Conn
	under net.Conn
}

func openSocket(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*socket, error) {
	over := &takeover{ResponseWriter: w}
	conn, err := websocket.Accept(over, r, o)
	return &socket{conn, over.conn}, err
}

// takeover notes the connection that becomes a WebSocket.
type takeover struct {
	http.ResponseWriter
	conn net.Conn
}

func (t *takeover) Hijack() (_ net.Conn, rw *bufio.ReadWriter, err error) {
	t.conn, rw, err = http.NewResponseController(t.ResponseWriter).Hijack()
	return t.conn, rw, err
}

// Close waits for the peer's word. The library's own limit does not hold while it passes over a message
// that the peer has begun, and CloseNow does nothing then.
func (s *socket) Close(code websocket.StatusCode, text string) error {
	_ = s.under.SetDeadline(time.Now().Add(writeTimeout))
	return s.Conn.Close(code, text)
}

// serveSocket checks, in this order: Origin and Host exactly, the visitor, the
// cookie of this view, and the ticket in the first message.
func (p *Pool) serveSocket(w http.ResponseWriter, r *http.Request) {
	s := p.login(r.PathValue("id"))
	origin := r.Header.Get("Origin")
	if !slices.Contains(p.opt.Origins(), origin) || !sameHost(origin, r.Host) {
		http.Error(w, "This page may not open a live view.", http.StatusForbidden)
		return
	}
	if s == nil {
		p.notFound(w, r)
		return
	}
	if p.visitor(r, s) != nil {
		p.notFound(w, r)
		return
	}
	cookie, err := r.Cookie(s.viewCookie(r.TLS != nil || p.secure()))
	if err != nil || !s.door.knows(cookie.Value) {
		p.notFound(w, r)
		return
	}
	conn, err := openSocket(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled}) // Origin was compared above, exactly
	if err != nil {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	_, data, err := conn.Read(ctx)
	if err != nil {
		return
	}
	m, err := decode(data)
	first, ok := m.(*hello)
	if err != nil || !ok || !s.door.redeem(first.Ticket, cookie.Value) {
		conn.Close(websocket.StatusPolicyViolation, "reload the page")
		return
	}
	s.watch(conn, r, cookie.Value, first)
}
