package strictjson

import (
	"encoding/json"
	"reflect"
	"testing"
)

type everyday struct {
	ID     string              `json:"id"`
	Params *everyday           `json:"params"`
	List   []everyday          `json:"list"`
	Values map[string]everyday `json:"values"`
	Body   json.RawMessage     `json:"body"`
}

// MC-002: the quick way takes nothing that the long way refuses.
func FuzzQuick(f *testing.F) {
	for _, text := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}`,
		`{"a":{"b":1},"b":[{"a":1},{"a":2}],"c":"\\","d":"\""}`,
		`{"id":"1","params":{"list":[{"id":"x","values":{"any":{"id":"y"}},"body":[{"any":1}]},{"other":1}]}}`, `{"a":[{"id":"x"}]}`, `{"list":[[{"any":1}]]}`,
		`{"a":1,"a":2}`, `{"a":{"x":1},"A":2}`, `[{"a":1,"b":"}","a":2}]`, `{"id":1,"\u0069d":2}`, `[[[[[[]]]]]]`, `{}]`, `{"a":1,}`,
	} {
		f.Add([]byte(text), 5)
	}
	f.Fuzz(func(t *testing.T, data []byte, depth int) {
		if depth < 1 || depth > 100 {
			return
		}
		lim := Limits{Bytes: 1 << 20, Depth: depth}
		for _, into := range []reflect.Type{nil, reflect.TypeFor[*everyday](), reflect.TypeFor[map[string][]everyday]()} {
			if !quick(data, into, lim) {
				continue
			}
			if err := long(data, into, lim); err != nil {
				t.Errorf("taken quickly into %v, refused at length: %s: %v", into, data, err)
			}
		}
	})
}

var sink bool

func BenchmarkQuick(b *testing.B) {
	text := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_api","arguments":{"provider":"github","method":"GET","path":"/user/repos"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`)
	b.ReportAllocs()
	for b.Loop() {
		sink = quick(text, nil, Limits{Depth: 32})
	}
	if !sink {
		b.Fatal("not taken quickly")
	}
}
