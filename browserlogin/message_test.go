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

// LV-016: no key of ours reaches the browser's clipboard, which all its contexts share.
func TestDecodeRefusesClipboardKeys(t *testing.T) {
	for _, s := range []string{
		`{"t":"key","k":"down","key":"v","code":"KeyV","kc":86,"m":2}`, `{"t":"key","k":"down","key":"c","code":"KeyC","kc":67,"m":2}`,
		`{"t":"key","k":"down","key":"x","code":"KeyX","kc":88,"m":10}`, `{"t":"key","k":"down","key":"Insert","code":"Insert","kc":45,"m":8}`,
		`{"t":"key","k":"down","key":"Insert","code":"Insert","kc":45,"m":2}`, `{"t":"key","k":"down","key":"Delete","code":"Delete","kc":46,"m":8}`,
	} {
		if _, err := decode([]byte(s)); err == nil {
			t.Errorf("%s was accepted", s)
		}
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
