package providers

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// fields lists every JSON field of the format by its path. A type that stands in
// several places is listed at the first.
func fields(t reflect.Type, path string, seen map[reflect.Type]bool) []string {
	switch t.Kind() {
	case reflect.Pointer:
		return fields(t.Elem(), path, seen)
	case reflect.Slice:
		return fields(t.Elem(), path+"[]", seen)
	case reflect.Map:
		return fields(t.Elem(), path+".NAME", seen)
	}
	if t.Kind() != reflect.Struct || seen[t] {
		return nil
	}
	seen[t] = true
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous:
			out = append(out, fields(f.Type, path, seen)...)
		default:
			at := strings.TrimPrefix(path+"."+name, ".")
			out = append(out, at)
			out = append(out, fields(f.Type, at, seen)...)
		}
	}
	return out
}

// TestFormatIsDocumented: docs/providers.md has one row for every field, and no other.
func TestFormatIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			rows[name] = true
		}
	}
	for _, f := range fields(reflect.TypeFor[Provider](), "", map[reflect.Type]bool{}) {
		if !rows[f] {
			t.Errorf("docs/providers.md has no row for `%s`", f)
		}
		delete(rows, f)
	}
	for f := range rows {
		t.Errorf("docs/providers.md has a row for `%s`, which is not in the format", f)
	}
}

// TestDocumentedExample: the worked example of the page is a definition that loads.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```json\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed {
		t.Fatal("the page has no example")
	}
	p, err := Parse("acme-wiki.json", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Methods(), " "); got != "oauth_code api_key" {
		t.Errorf("methods: %s", got)
	}
}
