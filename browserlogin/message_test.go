package browserlogin

import (
	"strings"
	"testing"
)

// LV-025: whatever comes, it is one of our messages with values in range, or nothing.
func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{
		``, `null`, `[]`, `"mouse"`, `{"t":"mouse"}`, `{"t":"cdp","method":"Page.navigate"}`, `{"t":"Input.dispatchKeyEvent"}`,
		`{"t":"mouse","k":"move","x":-1,"y":5}`, `{"t":"mouse","k":"move","x":1e99,"y":5}`, `{"t":"mouse","k":"move","x":1,"y":5,"method":"x"}`,
		`{"t":"mouse","k":"down","x":1,"y":5,"c":99}`, `{"t":"mouse","k":"wheel","x":1,"y":5,"dy":1e9}`, `{"t":"mouse","k":"move","x":1,"y":2}{"t":"do","k":"done"}`,
		`{"t":"key","k":"down","key":"a","code":"KeyA","kc":-1}`, `{"t":"key","k":"down","key":"` + strings.Repeat("a", 40) + `","code":"","kc":0}`,
		`{"t":"size","w":1,"h":1}`, `{"t":"size","w":99999,"h":600}`, `{"t":"text","k":"eval","s":"x"}`, `{"t":"text","k":"paste","s":"` + strings.Repeat("x", maxText+1) + `"}`,
		`{"t":"tab","k":"show","id":-3}`, `{"t":"do","k":"evaluate"}`, `{"t":"menu","id":1,"i":-1,"ok":true}`, `{"t":"hello","ticket":"x","w":0,"h":0}`,
	} {
		if m, err := decode([]byte(s)); err == nil {
			t.Errorf("%.60s became %T", s, m)
		}
	}
}

// LV-016, LV-025: no key of ours reaches the browser's clipboard, which all its contexts share, or one of its own shortcuts. What writes
// and edits does, by the number that the layout gives it.
func TestKeys(t *testing.T) {
	const meta = 4
	for name, k := range map[string]struct {
		key
		number int // 0: does not pass
	}{
		"Ctrl+V": {key{KeyCode: 'V', Mods: ctrl}, 0}, "Ctrl+C": {key{KeyCode: 'C', Mods: ctrl}, 0}, "Ctrl+Shift+X": {key{KeyCode: 'X', Mods: ctrl | shift}, 0},
		"Shift+Insert": {key{KeyCode: 45, Mods: shift}, 0}, "Ctrl+Insert": {key{KeyCode: 45, Mods: ctrl}, 0}, "Shift+Delete": {key{KeyCode: vkDelete, Mods: shift}, 0},
		"Ctrl+N": {key{KeyCode: 'N', Mods: ctrl}, 0}, "Ctrl+T with text": {key{KeyCode: 'T', Mods: ctrl, Text: "t"}, 0}, "Ctrl+J": {key{KeyCode: 'J', Mods: ctrl}, 0},
		"Ctrl+Shift+N": {key{KeyCode: 'N', Mods: ctrl | shift}, 0}, "Ctrl+Shift+I": {key{KeyCode: 'I', Mods: ctrl | shift}, 0}, "Ctrl+Shift+A": {key{KeyCode: 'A', Mods: ctrl | shift}, 0},
		"Alt+Home": {key{KeyCode: vkHome, Mods: alt}, 0}, "Ctrl+Shift+Delete": {key{KeyCode: vkDelete, Mods: ctrl | shift}, 0}, "Ctrl+Tab": {key{KeyCode: vkTab, Mods: ctrl}, 0},
		"Alt+F4": {key{KeyCode: vkF4, Mods: alt}, 0}, "F1": {key{KeyCode: 112}, 0}, "F12": {key{KeyCode: 123}, 0}, "Shift+Escape": {key{KeyCode: vkEscape, Mods: shift}, 0},
		"Meta+L": {key{KeyCode: 'L', Mods: meta}, 0}, "the key of a home page": {key{KeyCode: 172}, 0}, "the menu key": {key{KeyCode: 93}, 0},

		"Ctrl+Z where Y is": {key{Code: "KeyY", KeyCode: 'Z', Mods: ctrl}, 'Z'}, "Ctrl+Y where X is": {key{Code: "KeyX", KeyCode: 'Y', Mods: ctrl}, 'Y'},
		"Ctrl+Left": {key{KeyCode: vkLeft, Mods: ctrl}, vkLeft}, "Alt+Down": {key{KeyCode: vkDown, Mods: alt}, vkDown}, "Shift+Tab": {key{KeyCode: vkTab, Mods: shift}, vkTab},
		"€ by AltGr": {key{Text: "€", KeyCode: 'E'}, 'E'}, "@ by AltGr": {key{Text: "@", KeyCode: 'Q', Mods: shift}, 'Q'}, "é": {key{Text: "é", KeyCode: '2'}, '2'},
	} {
		k.Kind = "down"
		if got, ok := k.key.number(); ok != (k.number != 0) || ok && got != k.number {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	// To Firefox, - is 173, which here mutes the sound.
	if got, ok := (&key{Kind: "down", Text: "-", KeyCode: 173}).number(); got != 0 || !ok {
		t.Errorf("- of Firefox: %d, %v", got, ok)
	}
}

func TestDecode(t *testing.T) {
	m, err := decode([]byte(`{"t":"key","k":"down","key":"é","code":"Digit2","kc":50,"s":"é"}`))
	if k, ok := m.(*key); err != nil || !ok || k.Text != "é" {
		t.Fatalf("%#v, %v", m, err)
	}
}

// LV-025
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"t":"mouse","k":"move","x":1,"y":2}`))
	f.Add([]byte(`{"t":"dialog","id":1,"ok":true,"s":"x"}`))
	f.Add([]byte(`{"t":"key","k":"up","key":"a","code":"KeyA","kc":65}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if (m == nil) == (err == nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if m != nil && !m.valid() {
			t.Fatalf("%#v is not valid", m)
		}
	})
}

func TestInputsKeepOrderAndMergeMoves(t *testing.T) {
	q := newInputs()
	for x := range 1000 {
		q.put(&mouse{Kind: "move", X: float64(x)})
	}
	q.put(&mouse{Kind: "down", X: 5})
	q.put(&mouse{Kind: "wheel", DY: 3})
	q.put(&mouse{Kind: "wheel", DY: 4})
	var got []string
	for range 3 {
		m, _ := q.take(t.Context())
		got = append(got, m.(*mouse).Kind)
		if w := m.(*mouse); w.Kind == "wheel" && w.DY != 7 || w.Kind == "move" && w.X != 999 {
			t.Errorf("%+v", w)
		}
	}
	if strings.Join(got, " ") != "move down wheel" {
		t.Error(got)
	}
}

// LV-025: a queue that nobody empties does not grow for ever.
func TestInputsAreBounded(t *testing.T) {
	q, full := newInputs(), 0
	for range 100_000 {
		if !q.put(&key{Kind: "down", Key: "a"}) {
			full++
		}
	}
	if full != 100_000-maxInputs {
		t.Errorf("%d refused", full)
	}
}

func TestMailboxKeepsTheNewest(t *testing.T) {
	m := newMailbox()
	for i := range 50 {
		m.put(frame{width: i})
	}
	if f := m.take(); f == nil || f.width != 49 {
		t.Errorf("%+v", f)
	}
	if m.take() != nil {
		t.Error("a frame came twice")
	}
}
