package mcp

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// What members finds in text that passed strictjson.Check is what encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `{"a":1}`, "{\n\t\"a\" : [1, {\"b\":\"}\"}] ,\r\n\"c\":-1.5e3 , \"d\":null}", `{"\u0061\"":"\\","{":true}`, `{"":{"":""}}`, `[]`, `"x"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data, strictjson.Limits{Bytes: maxMessage, Depth: maxDepth}) != nil {
			return
		}
		var want map[string]json.RawMessage
		if object := json.Unmarshal(data, &want) == nil && want != nil; object != isObject(data) {
			t.Fatalf("isObject(%q) is %v", data, !object)
		}
		if want == nil {
			return
		}
		got := map[string]json.RawMessage{}
		for key, value := range members(data) {
			got[text(key)] = value
		}
		if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%q: %q, want %q", data, got, want)
		}
	})
}
