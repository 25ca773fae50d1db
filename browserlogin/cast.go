package browserlogin

import (
	"encoding/base64"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// frame is one picture of a page, and the size of the viewport it shows in CSS pixels.
type frame struct {
	width, height int
	jpeg          []byte
}

// message is the frame as the viewer gets it: number, width, height (big endian
// u32, u16, u16), then the JPEG.
func (f frame) message(n uint32) []byte {
	b := make([]byte, 8, 8+len(f.jpeg))
	binary.BigEndian.PutUint32(b, n)
	binary.BigEndian.PutUint16(b[4:], uint16(f.width))
	binary.BigEndian.PutUint16(b[6:], uint16(f.height))
	return append(b, f.jpeg...)
}

const quality = 60

// cast turns the screencast of one page into frames. Chromium keeps at most two
// pictures in flight, so every one is acknowledged at once and a slow viewer
// loses pictures further on, in its mailbox, instead of seeing old ones.
type cast struct {
	cdp  CDP
	emit func(frame)

	mu      sync.Mutex
	on      bool
	pending chan map[string]any
	kick    chan struct{}
	quit    chan struct{}
	done    sync.WaitGroup
	width   atomic.Int32
	height  atomic.Int32
}

func newCast(cdp CDP, emit func(frame)) *cast {
	c := &cast{cdp: cdp, emit: emit, pending: make(chan map[string]any, 8), kick: make(chan struct{}, 1)}
	cdp.On("Page.screencastFrame", func(p map[string]any) {
		select {
		case c.pending <- p:
		default: // never more than two, unless the browser misbehaves
		}
	})
	return c
}

// start begins to send frames of at most w x h. A running cast starts anew.
func (c *cast) start(w, h int) {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = true
	c.width.Store(int32(w))
	c.height.Store(int32(h))
	c.quit = make(chan struct{})
	c.done.Go(func() { c.pump(c.quit) })
	_, _ = brisk{c.cdp}.Send("Page.startScreencast", map[string]any{
		"format": "jpeg", "quality": quality, "maxWidth": w, "maxHeight": h, "everyNthFrame": 1,
	})
	c.nudge()
}

// stop ends the cast and waits for its goroutine.
func (c *cast) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on {
		return
	}
	c.on = false
	close(c.quit)
	c.done.Wait()
	_, _ = brisk{c.cdp}.Send("Page.stopScreencast", nil)
}

// nudge asks for a picture of a page that may not paint by itself: a blank page,
// an error page, or one that was ready before the cast began.
func (c *cast) nudge() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (c *cast) pump(quit chan struct{}) {
	var late <-chan time.Time
	for {
		select {
		case <-quit:
			return
		case <-c.kick:
			late = time.After(400 * time.Millisecond)
		case <-late:
			late = nil
			go c.still() // a page that does not paint may not answer either: stop does not wait for it
		case p := <-c.pending:
			late = nil
			c.done.Go(func() {
				_, _ = brisk{c.cdp}.Send("Page.screencastFrameAck", map[string]any{"sessionId": p["sessionId"]})
			})
			if f, ok := decodeFrame(p); ok {
				c.emit(f)
			}
		}
	}
}

// still is a single picture, for pages that do not paint.
func (c *cast) still() {
	p, err := c.cdp.Send("Page.captureScreenshot", map[string]any{"format": "jpeg", "quality": quality})
	if err != nil {
		return
	}
	data, _ := p["data"].(string)
	if jpeg, err := base64.StdEncoding.DecodeString(data); err == nil && len(jpeg) > 0 {
		c.emit(frame{int(c.width.Load()), int(c.height.Load()), jpeg})
	}
}

func decodeFrame(p map[string]any) (frame, bool) {
	data, _ := p["data"].(string)
	jpeg, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(jpeg) == 0 {
		return frame{}, false
	}
	meta, _ := p["metadata"].(map[string]any)
	w, _ := meta["deviceWidth"].(float64)
	h, _ := meta["deviceHeight"].(float64)
	return frame{int(w), int(h), jpeg}, true
}

// mailbox holds the newest frame only. However slow the reader is, it takes no
// more memory than one picture.
type mailbox struct {
	mu    sync.Mutex
	last  *frame
	ready chan struct{}
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) put(f frame) {
	m.mu.Lock()
	m.last = &f
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() *frame {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.last
	m.last = nil
	return f
}
