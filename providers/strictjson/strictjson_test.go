package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/latchpost/latchpost/providers/strictjson"
)

type inner struct {
	URL string `json:"url"`
}

type promoted struct {
	Path string `json:"path"`
}

type target struct {
	promoted
	ID     string           `json:"id"`
	Token  *inner           `json:"token"`
	List   []inner          `json:"list"`
	ByName map[string]inner `json:"by_name"`
	Hidden string           `json:"-"`
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown", `{"token":{"urll":"x"}}`, "token.urll: unknown field"},
		{"unknown in a list", `{"list":[{},{"x":1}]}`, "list[1].x: unknown field"},
		{"unknown in a map", `{"by_name":{"a":{"x":1}}}`, "by_name.a.x: unknown field"},
		{"hidden", `{"Hidden":"x"}`, "Hidden: unknown field"},
		{"case", `{"Token":{}}`, "Token: must be written token"},
		{"Kelvin sign", `{"to` + "\u212a" + `en":{}}`, "must be written token"},
		{"twice", `{"id":"a","id":"b"}`, "id: given twice"},
		{"twice by escape", `{"id":"a","\u0069d":"b"}`, "id: given twice"},
		{"twice by case", `{"by_name":{"a":{},"A":{}}}`, "by_name.A: given twice"},
		{"type", `{"token":{"url":1}}`, "token.url: must be a string, is number"},
		{"object for list", `{"list":{}}`, "list: must be a list, is object"},
		{"trailing", `{} {}`, "something follows"},
		{"trailing bracket", `{}]`, "something follows"},
		{"empty", ``, "ends too early"},
		{"cut", `{"id":`, "ends too early"},
		{"no comma", `{"list":[{} {}]}`, "invalid character"},
		{"latin1", "{\"id\":\"\xe9\"}", "UTF-8"},
		{"byte order mark", "\ufeff{}", "invalid character"},
		{"deep", strings.Repeat(`[`, 100000), "nested deeper"},
		{"large", `"` + strings.Repeat("a", 300<<10) + `"`, "larger than"},
		{"comment", `{/**/}`, "invalid character"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v target
			err := strictjson.Decode([]byte(c.text), &v, strictjson.Limits{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDecodeTakes(t *testing.T) {
	var v target
	text := `{"path":"/","id":"a","token":{"url":"u"},"list":[{"url":"v"}],"by_name":{"x":{"url":"w"}}}`
	if err := strictjson.Decode([]byte(text), &v, strictjson.Limits{}); err != nil {
		t.Fatal(err)
	}
	if v.Path != "/" || v.Token.URL != "u" || v.List[0].URL != "v" || v.ByName["x"].URL != "w" {
		t.Fatalf("decoded %+v", v)
	}
	text = `{"more":[1],"id":"a"}`
	if err := strictjson.Decode([]byte(text), &v, strictjson.Limits{Unknown: true}); err != nil {
		t.Fatal(err)
	}
	if err := strictjson.Decode([]byte(`{"Id":"a"}`), &v, strictjson.Limits{Unknown: true}); err == nil {
		t.Fatal("a key in the wrong case passed as unknown")
	}
}

// The bounds are those that were asked for, to the byte and the level; the quick scan gives up where its own end.
func TestLimits(t *testing.T) {
	nested := func(depth int) string { return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth) }
	listed := func(depth int) string { return strings.Repeat("[", depth) + "1" + strings.Repeat("]", depth) }
	for _, c := range []struct {
		name, text string
		lim        strictjson.Limits
		good       bool
	}{
		{"as long as allowed", `"` + strings.Repeat("x", 98) + `"`, strictjson.Limits{Bytes: 100}, true},
		{"a byte longer", `"` + strings.Repeat("x", 99) + `"`, strictjson.Limits{Bytes: 100}, false},
		{"long", `"` + strings.Repeat("x", 1<<20) + `"`, strictjson.Limits{Bytes: 2 << 20}, true},
		{"too long for anybody", `"` + strings.Repeat("x", 1<<20) + `"`, strictjson.Limits{}, false},
		{"as deep as anybody may", nested(32), strictjson.Limits{}, true},
		{"too deep for anybody", nested(33), strictjson.Limits{}, false},
		{"shallow", nested(4), strictjson.Limits{Depth: 4}, true},
		{"deeper", nested(5), strictjson.Limits{Depth: 4}, false},
		{"deep", nested(90), strictjson.Limits{Depth: 90}, true},
		{"deep lists", listed(90), strictjson.Limits{Depth: 90}, true},
		{"lists too deep", listed(91), strictjson.Limits{Depth: 90}, false},
	} {
		if err := strictjson.Check([]byte(c.text), c.lim); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// FuzzCheck holds Check to encoding/json: what passes is valid, and nothing panics.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,{"b":null}]}`, `{"a":1,"A":2}`, `[[[`, `"\ud800"`, `1 2`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data, strictjson.Limits{}) == nil && !json.Valid(data) {
			t.Fatalf("%q passed and is not JSON", data)
		}
	})
}

func ExampleDecode() {
	var v struct {
		Name string `json:"name"`
	}
	err := strictjson.Decode([]byte(`{"name":"a","Name":"b"}`), &v, strictjson.Limits{})
	fmt.Println(err)
	// Output: Name: given twice
}
