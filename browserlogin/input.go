package browserlogin

import (
	"context"
	"sync"
)

// inputs is the queue between a viewer and the page: one goroutine sends, in
// order. A pointer move that waits is replaced by the next, so that a click is
// never late behind old moves. A page that shows a dialog takes nothing.
type inputs struct {
	mu    sync.Mutex
	queue []message
	ready chan struct{}
}

const maxInputs = 512

func newInputs() *inputs { return &inputs{ready: make(chan struct{}, 1)} }

// put reports false when the queue is full.
func (q *inputs) put(m message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.queue); n > 0 && merges(q.queue[n-1], m) {
		q.queue[n-1] = m
		return true
	}
	if len(q.queue) >= maxInputs {
		return false
	}
	q.queue = append(q.queue, m)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return true
}

func merges(old, new message) bool {
	a, ok := old.(*mouse)
	b, also := new.(*mouse)
	if !ok || !also || a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case "move":
		return true
	case "wheel":
		b.DX, b.DY = b.DX+a.DX, b.DY+a.DY
		return true
	}
	return false
}

func (q *inputs) take(ctx context.Context) (message, bool) {
	for {
		q.mu.Lock()
		if len(q.queue) > 0 {
			m := q.queue[0]
			q.queue = q.queue[1:]
			q.mu.Unlock()
			return m, true
		}
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, false
		case <-q.ready:
		}
	}
}

func (q *inputs) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.queue)
	q.queue = q.queue[:0]
}

// apply sends one input to the page.
func (t *tab) apply(m message) {
	switch m := m.(type) {
	case *mouse:
		t.mouse(m)
	case *key:
		t.key(m)
	case *text:
		switch m.Kind {
		case "insert":
			_, _ = brisk{t.cdp}.Send("Input.insertText", map[string]any{"text": m.S})
		case "compose":
			n := len([]rune(m.S))
			_, _ = brisk{t.cdp}.Send("Input.imeSetComposition", map[string]any{"text": m.S, "selectionStart": n, "selectionEnd": n})
		case "paste":
			if said := t.agent.everywhere("paste", "elsewhere", m.S); said != "taken" && said != "" {
				_, _ = brisk{t.cdp}.Send("Input.insertText", map[string]any{"text": m.S})
			}
		}
	}
}

func (t *tab) mouse(m *mouse) {
	p := map[string]any{
		"type": map[string]string{"move": "mouseMoved", "down": "mousePressed", "up": "mouseReleased", "wheel": "mouseWheel"}[m.Kind],
		"x":    m.X, "y": m.Y, "modifiers": m.Mods, "buttons": m.Buttons, "button": or(m.Button, "none"), "clickCount": m.Clicks, "pointerType": "mouse",
	}
	if m.Kind == "wheel" {
		p["deltaX"], p["deltaY"] = m.DX, m.DY
	}
	_, _ = brisk{t.cdp}.Send("Input.dispatchMouseEvent", p)
}

func (t *tab) key(m *key) {
	vk, ok := m.number()
	if !ok {
		return
	}
	p := map[string]any{
		"type": "keyUp", "key": m.Key, "code": m.Code, "windowsVirtualKeyCode": vk, "nativeVirtualKeyCode": vk,
		"modifiers": m.Mods, "location": m.Location, "isKeypad": m.Location == 3, "autoRepeat": m.Repeat,
	}
	if m.Kind == "down" {
		p["type"] = "rawKeyDown"
		if m.Text != "" {
			p["type"], p["text"], p["unmodifiedText"] = "keyDown", m.Text, m.Text
		}
		if command := editing[vk]; m.Mods == ctrl && command != "" {
			p["commands"] = []string{command}
		} else if m.Mods == ctrl|shift && vk == 'Z' {
			p["commands"] = []string{"redo"}
		}
	}
	_, _ = brisk{t.cdp}.Send("Input.dispatchKeyEvent", p)
}
