package browserlogin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"
)

// viewer is the person's side of a session: one WebSocket. Pictures wait in a
// mailbox of one, everything else in an outbox, where news replaces what is old:
// neither a slow viewer nor a page that makes news without end fills it.
type viewer struct {
	asked   *http.Request // with which it came, to ask again whether it may look
	cookie  string
	conn    *socket
	out     *outbox
	acks    chan struct{}
	frames  *mailbox
	ctx     context.Context
	cancel  context.CancelCauseFunc
	written chan struct{} // closed when the last word has been written
}

// goodbye ends a viewer in order: what is in out is written first.
type goodbye struct {
	code websocket.StatusCode
	text string
}

func (g goodbye) Error() string { return g.text }

const (
	credits      = 2                     // pictures under way to a viewer
	perSecond    = 400                   // messages from a viewer
	breath       = 20 * time.Millisecond // between what the outbox holds and what comes next
	writeTimeout = 10 * time.Second
)

// watch serves one WebSocket until it ends. The handshake and the ticket have been checked.
func (s *session) watch(conn *socket, r *http.Request, cookie string, first *hello) {
	ctx, cancel := context.WithCancelCause(context.Background())
	v := &viewer{asked: r, cookie: cookie, conn: conn, out: newOutbox(), acks: make(chan struct{}, 64), frames: newMailbox(), ctx: ctx, cancel: cancel, written: make(chan struct{})}
	s.mu.Lock()
	if s.over { // it ended while this viewer came in
		state := s.stateMessage()
		s.mu.Unlock()
		say(conn, state)
		conn.Close(websocket.StatusNormalClosure, "over")
		return
	}
	old := s.view
	if old != nil && old.cookie != cookie && !first.Take {
		ticket := s.door.ticket(cookie)
		s.mu.Unlock()
		say(conn, map[string]any{"t": "busy", "ticket": ticket})
		conn.Close(websocket.StatusNormalClosure, "busy")
		return
	}
	strange := s.holder != "" && s.holder != cookie
	if strange {
		s.holder = ""
	}
	s.view = v
	s.width, s.height = first.W, first.H
	s.send(map[string]any{"t": "welcome", "ticket": s.door.ticket(cookie)})
	if s.hosted {
		s.send(map[string]any{"t": "hosted", "on": true})
	}
	s.send(s.stateMessage())
	s.send(s.pageMessage())
	s.send(s.promptMessage())
	for _, t := range s.tabs {
		s.send(dialogMessage(t))
	}
	s.mu.Unlock()
	if old != nil {
		old.leave(map[string]any{"t": "moved"}, goodbye{websocket.StatusNormalClosure, "moved"})
	}
	s.alive()
	s.async(func() {
		if strange {
			s.withdraw()
		}
		s.refresh()
	})
	go v.write()
	err := s.read(v)
	v.cancel(err)
	<-v.written
	s.mu.Lock()
	mine := s.view == v
	if mine {
		s.view = nil
	}
	s.mu.Unlock()
	if mine && s.ctx.Err() == nil {
		s.refresh() // nobody looks: no pictures
	}
}

// read obeys the viewer until it breaks a rule or goes.
func (s *session) read(v *viewer) error {
	limit := rate.NewLimiter(perSecond, perSecond)
	for {
		// Not with v.ctx: its end would cut the connection before the last word is written.
		kind, data, err := v.conn.Read(context.Background())
		if err != nil {
			return err
		}
		if v.ctx.Err() != nil { // it was told to go, and takes its time
			return context.Cause(v.ctx)
		}
		if !limit.Allow() {
			return goodbye{websocket.StatusPolicyViolation, "too many messages"}
		}
		if kind != websocket.MessageText {
			return goodbye{websocket.StatusPolicyViolation, "text only"}
		}
		m, err := decode(data)
		if err != nil {
			return goodbye{websocket.StatusPolicyViolation, "malformed message"}
		}
		if err := s.obey(v, m); err != nil {
			return err
		}
	}
}

// obey does what one message asks. It never blocks on the browser.
func (s *session) obey(v *viewer, m message) error {
	if _, quiet := m.(*ack); !quiet {
		s.alive()
	}
	switch m := m.(type) {
	case *ack:
		select {
		case v.acks <- struct{}{}:
		default:
		}
	case *mouse, *key, *text:
		if !s.input.put(m) {
			return goodbye{websocket.StatusPolicyViolation, "the page does not keep up"}
		}
	case *size:
		s.mu.Lock()
		same := s.width == m.W && s.height == m.H
		s.width, s.height = m.W, m.H
		s.mu.Unlock()
		if !same {
			s.async(s.refresh)
		}
	case *tabOrder:
		if t := s.tabByID(m.ID); t != nil && m.Kind == "show" {
			s.async(func() { s.show(t) })
		} else if t != nil {
			s.async(t.page.Close)
		}
	case *answer:
		s.answered(m)
	case *order:
		s.ordered(m.Kind)
	default: // a second hello
		return goodbye{websocket.StatusPolicyViolation, "out of order"}
	}
	return nil
}

func (s *session) answered(m *answer) {
	switch m.T {
	case "dialog":
		t := s.tabByID(m.ID)
		if t == nil {
			return
		}
		if d := t.takeDialog(); d != nil {
			s.async(func() {
				if m.OK {
					d.Accept(m.S)
				} else {
					d.Dismiss()
				}
			})
		}
	case "menu", "picker":
		s.mu.Lock()
		t := s.front
		s.mu.Unlock()
		if t == nil {
			return
		}
		t.mu.Lock()
		p := t.popup
		t.mu.Unlock()
		switch {
		case p.id != m.ID || !m.OK:
		case m.T == "menu":
			s.async(func() { _, _ = t.agent.call(p.where, "pick", p.held, m.I) })
		default:
			s.async(func() { _, _ = t.agent.call(p.where, "fill", p.held, m.S) })
		}
	case "login":
		s.mu.Lock()
		p := s.prompt
		if p != nil && p.id == m.ID {
			s.prompt = nil
		}
		s.mu.Unlock()
		if p != nil && p.id == m.ID && m.OK {
			s.async(func() { s.logIn(p, m.User, m.S) })
		}
	}
}

func (s *session) ordered(kind string) {
	s.mu.Lock()
	t := s.front
	s.mu.Unlock()
	push := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	switch kind {
	case "done":
		push(s.pressed)
	case "restart":
		push(s.again)
	case "cancel":
		s.cancel(ErrCancelled)
	case "fresh":
		s.async(s.fresh)
	case "link":
		s.mu.Lock()
		s.offered = offered{}
		s.mu.Unlock()
		s.async(s.refresh)
	case "own":
		s.mu.Lock()
		s.showOurs("")
		s.mu.Unlock()
	}
	if t == nil {
		return
	}
	switch kind {
	case "back":
		s.async(t.page.Back)
	case "forward":
		s.async(t.page.Forward)
	case "reload":
		t.mu.Lock()
		crashed := t.crashed
		t.mu.Unlock()
		if crashed { // a crashed page takes no orders
			s.async(s.fresh)
		} else {
			s.async(t.page.Reload)
		}
	case "copy", "cut": // in its turn: the keys before it may still change what is marked
		s.input.put(&order{T: "do", Kind: kind})
	}
}

// send leaves a message for the viewer, if there is one. s.mu is held.
func (s *session) send(m any) {
	about := "popup" // a menu or a picker: the page has one at a time
	if m, ok := m.(map[string]any); ok {
		if m == nil {
			return
		}
		if about, _ = m["t"].(string); about == "dialog" {
			about += fmt.Sprint(m["id"]) // each tab may ask
		}
	}
	if s.view == nil {
		return
	}
	if data, err := json.Marshal(m); err == nil {
		s.view.out.put(about, data)
	}
}

// leave gives a viewer its last message.
func (v *viewer) leave(m map[string]any, why goodbye) {
	data, _ := json.Marshal(m)
	v.out.put("goodbye", data)
	v.cancel(why)
	<-v.written
}

// endView lets the viewer read the end of the story.
func (s *session) endView() {
	s.mu.Lock()
	v := s.view
	s.over = true
	s.mu.Unlock()
	if v != nil {
		v.cancel(goodbye{websocket.StatusNormalClosure, "over"})
		<-v.written
	}
}

// write sends outbox and pictures until the viewer is cancelled, then what is left of the outbox.
func (v *viewer) write() {
	defer close(v.written)
	left, number := credits, uint32(0)
	news := v.out.ready
	var rested <-chan time.Time
	for {
		pictures := v.frames.ready
		if left == 0 {
			pictures = nil
		}
		select {
		case <-news:
			if v.empty() != nil {
				v.conn.CloseNow()
				return
			}
			news, rested = nil, time.After(breath)
		case <-rested:
			news, rested = v.out.ready, nil
		case <-v.acks:
			left = min(left+1, credits)
		case <-pictures:
			if f := v.frames.take(); f != nil { // after the news: a picture that overtakes them is taken for one of before
				number++
				left--
				if v.empty() != nil || v.put(websocket.MessageBinary, f.message(number)) != nil {
					v.conn.CloseNow()
					return
				}
			}
		case <-v.ctx.Done():
			v.last()
			return
		}
	}
}

func (v *viewer) put(kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return v.conn.Write(ctx, kind, data)
}

func (v *viewer) last() {
	var bye goodbye
	if !errors.As(context.Cause(v.ctx), &bye) {
		v.conn.CloseNow()
		return
	}
	_ = v.empty()
	v.conn.Close(bye.code, bye.text)
}

// empty writes what the outbox holds.
func (v *viewer) empty() error {
	for _, data := range v.out.take() {
		if err := v.put(websocket.MessageText, data); err != nil {
			return err
		}
	}
	return nil
}

// outbox holds the newest message about each thing, in the order they came.
type outbox struct {
	mu      sync.Mutex
	letters []letter
	ready   chan struct{}
}

type letter struct {
	about string
	data  []byte
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

func (o *outbox) put(about string, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.letters = append(slices.DeleteFunc(o.letters, func(l letter) bool { return l.about == about }), letter{about, data})
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

func (o *outbox) take() (all [][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.letters {
		all = append(all, l.data)
	}
	o.letters = nil
	return all
}

func say(conn *socket, m map[string]any) {
	data, _ := json.Marshal(m)
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	_ = conn.Write(ctx, websocket.MessageText, data)
}
