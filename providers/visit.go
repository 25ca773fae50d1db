package providers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A text is one string of a definition, with the rules that its field's tags give it.
type text struct {
	path string // oauth2.token.url
	is   string // the kind of check, see kinds; empty for plain text
	enum string // words separated by |; empty for no list
	s    *string
}

// visit calls fn for every string that is not empty, in a fixed order. Map keys are
// passed with the kind "key". What fn writes to text.s stays.
func visit(p *Provider, fn func(text)) {
	visitValue(reflect.ValueOf(p).Elem(), text{}, fn)
}

func visitValue(v reflect.Value, at text, fn func(text)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visitValue(v.Elem(), at, fn)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			next := text{path: at.path, is: f.Tag.Get("is"), enum: f.Tag.Get("enum")}
			if !f.Anonymous {
				next.path = strings.TrimPrefix(at.path+"."+name, ".")
			}
			visitValue(v.Field(i), next, fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			next := at
			next.path = fmt.Sprintf("%s[%d]", at.path, i)
			visitValue(v.Index(i), next, fn)
		}
	case reflect.Map:
		for _, key := range slices.Sorted(maps.Keys(keys(v))) {
			next := at
			next.path = at.path + "." + key
			name := key
			fn(text{path: next.path, is: "key", s: &name})
			elem := reflect.New(v.Type().Elem()).Elem()
			elem.Set(v.MapIndex(reflect.ValueOf(key)))
			visitValue(elem, next, fn)
			v.SetMapIndex(reflect.ValueOf(key), elem)
		}
	case reflect.String:
		if v.Len() > 0 {
			at.s = v.Addr().Interface().(*string)
			fn(at)
		}
	}
}

func keys(m reflect.Value) map[string]bool {
	out := map[string]bool{}
	for _, k := range m.MapKeys() {
		out[k.String()] = true
	}
	return out
}
