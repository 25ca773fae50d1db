package auth

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// document is an answer of a provider, to be asked by path: dots and indexes, such
// as authed_user.access_token or [0].name. The zero document holds nothing.
type document struct{ root any }

// parseDocument reads strict JSON: no doubled keys, nothing behind the value, valid
// UTF-8 without a byte order mark, bounded in depth.
func parseDocument(body []byte) (document, error) {
	if err := strictjson.Check(body, strictjson.Limits{Bytes: backBody}); err != nil {
		return document{}, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var d document
	err := dec.Decode(&d.root)
	return d, err
}

// parseForm reads a form with every name at most once.
func parseForm(body []byte) (document, bool) {
	if !utf8.Valid(body) {
		return document{}, false
	}
	form, err := url.ParseQuery(strings.TrimSpace(string(body)))
	if err != nil {
		return document{}, false
	}
	object := map[string]any{}
	for name, values := range form {
		if len(values) > 1 {
			return document{}, false
		}
		object[name] = values[0]
	}
	return document{object}, true
}

// at finds the value of a path; nil when there is none.
func (d document) at(path string) any {
	v := d.root
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch node := v.(type) {
		case map[string]any:
			v = node[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node) {
				return nil
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

// first gives the first value that is there and not null.
func (d document) first(paths []string) any {
	for _, path := range paths {
		if v := d.at(path); v != nil {
			return v
		}
	}
	return nil
}

// text gives the first string, number or boolean that is not empty, as text.
func (d document) text(paths ...string) string {
	for _, path := range paths {
		if s := scalar(d.at(path)); s != "" {
			return s
		}
	}
	return ""
}

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// holds tells whether a condition "path=value" is met. An empty value means absent or zero.
func (d document) holds(condition string) bool {
	path, want, _ := strings.Cut(condition, "=")
	got := scalar(d.at(path))
	if want == "" {
		return got == "" || got == "0"
	}
	return got == want
}
