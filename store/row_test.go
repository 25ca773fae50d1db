package store

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// What list and dict write comes back; and the short way of reading agrees with
// encoding/json about every text, also one that somebody else wrote.
func TestListsAndDicts(t *testing.T) {
	odd := rapid.StringOf(rapid.RuneFrom([]rune("ab\"\\:,{}[] \n<é\x00")))
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SliceOf(odd).Draw(t, "list")
		if got, err := unlist(list(l)); err != nil || !reflect.DeepEqual(got, l) {
			t.Fatalf("%q came back as %q, %v", l, got, err)
		}
		m := rapid.MapOfN(odd, odd, 1, 5).Draw(t, "dict")
		if got, err := undict(dict(m)); err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("%q came back as %q, %v", m, got, err)
		}
	})
	foreign := rapid.StringOf(rapid.RuneFrom([]rune(`a":,{}[]`)))
	rapid.Check(t, func(t *rapid.T) {
		inner := foreign.Draw(t, "inner")
		var l, wantList []string
		var m, wantMap map[string]string
		var err error
		if l, err = unlist(`["` + inner + `"]`); json.Unmarshal([]byte(`["`+inner+`"]`), &wantList) != nil != (err != nil) || err == nil && !reflect.DeepEqual(l, wantList) {
			t.Fatalf("list %s: %q, not %q", inner, l, wantList)
		}
		if m, err = undict(`{"` + inner + `"}`); json.Unmarshal([]byte(`{"`+inner+`"}`), &wantMap) != nil != (err != nil) || err == nil && !reflect.DeepEqual(m, wantMap) {
			t.Fatalf("dict %s: %q, not %q", inner, m, wantMap)
		}
	})
}
