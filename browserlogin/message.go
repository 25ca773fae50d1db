package browserlogin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
)

// What a viewer may send. Every message is one of these types, with no field
// more and every value in range; there is no way through to the browser's own
// protocol. The page's script is the other half of this file.
type (
	hello struct {
		T      string `json:"t"`
		Ticket string `json:"ticket"`
		W      int    `json:"w"`
		H      int    `json:"h"`
		Take   bool   `json:"take"` // end the other viewer's view
	}
	ack struct {
		T string `json:"t"`
		N uint32 `json:"n"`
	}
	mouse struct {
		T       string  `json:"t"`
		Kind    string  `json:"k"`
		X       float64 `json:"x"`
		Y       float64 `json:"y"`
		Button  string  `json:"b,omitempty"`
		Buttons int     `json:"bs,omitempty"`
		Clicks  int     `json:"c,omitempty"`
		Mods    int     `json:"m,omitempty"`
		DX      float64 `json:"dx,omitempty"`
		DY      float64 `json:"dy,omitempty"`
	}
	key struct {
		T        string `json:"t"`
		Kind     string `json:"k"`
		Key      string `json:"key"`
		Code     string `json:"code"`
		KeyCode  int    `json:"kc"`
		Text     string `json:"s,omitempty"`
		Mods     int    `json:"m,omitempty"`
		Location int    `json:"l,omitempty"`
		Repeat   bool   `json:"r,omitempty"`
	}
	text struct {
		T    string `json:"t"`
		Kind string `json:"k"`
		S    string `json:"s"`
	}
	size struct {
		T string `json:"t"`
		W int    `json:"w"`
		H int    `json:"h"`
	}
	tabOrder struct {
		T    string `json:"t"`
		Kind string `json:"k"`
		ID   int    `json:"id"`
	}
	answer struct { // to a dialog, a menu, a picker or a basic prompt
		T    string `json:"t"`
		ID   int    `json:"id"`
		OK   bool   `json:"ok"`
		I    int    `json:"i,omitempty"`
		S    string `json:"s,omitempty"`
		User string `json:"user,omitempty"`
	}
	order struct { // one of the buttons
		T    string `json:"t"`
		Kind string `json:"k"`
	}
)

const (
	maxMessage = 16 << 10 // bytes of one message
	maxText    = 8 << 10  // bytes of one paste
	maxSide    = 4096     // CSS pixels
)

var errMessage = errors.New("not a message of the live view")

type message interface{ valid() bool }

// decode reads one message.
func decode(data []byte) (message, error) {
	var head struct {
		T string `json:"t"`
	}
	if json.Unmarshal(data, &head) != nil {
		return nil, errMessage
	}
	var m message
	switch head.T {
	case "hello":
		m = &hello{}
	case "ack":
		m = &ack{}
	case "mouse":
		m = &mouse{}
	case "key":
		m = &key{}
	case "text":
		m = &text{}
	case "size":
		m = &size{}
	case "tab":
		m = &tabOrder{}
	case "dialog", "menu", "picker", "login":
		m = &answer{}
	case "do":
		m = &order{}
	default:
		return nil, errMessage
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if d.Decode(m) != nil || !m.valid() {
		return nil, errMessage
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errMessage
	}
	return m, nil
}

func (m *hello) valid() bool { return len(m.Ticket) <= 64 && side(m.W) && side(m.H) }
func (m *ack) valid() bool   { return true }
func (m *size) valid() bool  { return side(m.W) && side(m.H) }
func (m *text) valid() bool {
	return slices.Contains([]string{"insert", "compose", "paste"}, m.Kind) && len(m.S) <= maxText
}

func (m *mouse) valid() bool {
	return slices.Contains([]string{"move", "down", "up", "wheel"}, m.Kind) &&
		slices.Contains([]string{"", "none", "left", "right"}, m.Button) && // the middle one pastes what is marked anywhere
		within(m.X, 0, maxSide) && within(m.Y, 0, maxSide) && within(m.DX, -2000, 2000) && within(m.DY, -2000, 2000) &&
		m.Buttons >= 0 && m.Buttons < 32 && m.Clicks >= 0 && m.Clicks <= 3 && mods(m.Mods)
}

func (m *key) valid() bool {
	return (m.Kind == "down" || m.Kind == "up") && len(m.Key) <= 32 && len(m.Code) <= 32 && len(m.Text) <= 16 &&
		m.KeyCode >= 0 && m.KeyCode < 256 && m.Location >= 0 && m.Location <= 3 && mods(m.Mods)
}

func (m *tabOrder) valid() bool { return (m.Kind == "show" || m.Kind == "close") && m.ID > 0 }
func (m *answer) valid() bool {
	return m.ID > 0 && m.I >= 0 && m.I < 1_000_000 && len(m.S) <= maxText && len(m.User) <= 1024
}
func (m *order) valid() bool {
	return slices.Contains([]string{"back", "forward", "reload", "fresh", "copy", "cut", "done", "cancel", "restart", "stay", "link", "own"}, m.Kind)
}

func side(n int) bool                  { return n >= 200 && n <= maxSide }
func mods(n int) bool                  { return n >= 0 && n < 16 }
func within(v, low, high float64) bool { return !math.IsNaN(v) && v >= low && v <= high }
