// Package strictjson reads JSON from people we do not trust.
//
// encoding/json takes the last of two equal keys, matches keys in any case and
// ignores what follows the value; two programs that read the same text then see
// different things. Check refuses all of that, and Decode also names unknown
// fields by their path, for example oauth2.token.url.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Limits bound what is read.
type Limits struct {
	// Bytes is the largest text. Zero: 256 KiB.
	Bytes int
	// Depth is the deepest nesting of objects and lists. Zero: 32.
	Depth int
	// Unknown lets Decode pass over fields that the target does not have. A field that
	// differs from one of the target's in upper and lower case only is refused even then.
	Unknown bool
}

// Error says what is wrong, and where.
type Error struct {
	// Path of the value, for example oauth2.flows[0]. Empty for the text as a whole.
	Path string
	// Reason is a short sentence without the value.
	Reason string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Reason
	}
	return e.Path + ": " + e.Reason
}

// Check refuses text that is too large, too deep, not UTF-8, not exactly one JSON
// value, or that has two keys in one object which are equal but for their case.
// The error is an *Error.
func Check(data []byte, lim Limits) error { return walk(data, nil, lim) }

// Decode is Check and then json.Unmarshal into a pointer. Keys must be spelled
// exactly as in the target. The error is an *Error.
func Decode(data []byte, into any, lim Limits) error {
	if err := walk(data, reflect.TypeOf(into), lim); err != nil {
		return err
	}
	err := json.Unmarshal(data, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return &Error{wrong.Field, "must be " + kindName(wrong.Type) + ", is " + wrong.Value}
	}
	if err != nil {
		return &Error{"", err.Error()}
	}
	return nil
}

func walk(data []byte, t reflect.Type, lim Limits) error {
	if lim.Bytes == 0 {
		lim.Bytes = 256 << 10
	}
	if lim.Depth == 0 {
		lim.Depth = 32
	}
	switch {
	case len(data) > lim.Bytes:
		return &Error{"", fmt.Sprintf("larger than %d bytes", lim.Bytes)}
	case !utf8.Valid(data):
		return &Error{"", "not valid UTF-8"}
	case quick(data, t, lim):
		return nil
	}
	return long(data, t, lim)
}

// long reads token by token, and knows where it is.
func long(data []byte, t reflect.Type, lim Limits) error {
	w := walker{json.NewDecoder(bytes.NewReader(data)), lim}
	w.dec.UseNumber()
	if err := w.value("", t, 0); err != nil {
		return err
	}
	if _, err := w.dec.Token(); err != io.EOF {
		return &Error{"", "something follows the JSON value"}
	}
	return nil
}

type walker struct {
	dec *json.Decoder
	lim Limits
}

// value reads one value; t is the type that will take it, or nil.
func (w *walker) value(path string, t reflect.Type, depth int) error {
	tok, err := w.dec.Token()
	if err != nil {
		return syntax(path, err)
	}
	open, nested := tok.(json.Delim)
	if !nested {
		return nil
	}
	if depth == w.lim.Depth {
		return &Error{path, fmt.Sprintf("nested deeper than %d", w.lim.Depth)}
	}
	if open == '[' {
		err = w.list(path, elem(pointee(t), reflect.Slice), depth)
	} else {
		err = w.object(path, pointee(t), depth)
	}
	if err != nil {
		return err
	}
	if _, err := w.dec.Token(); err != nil { // the closing bracket
		return syntax(path, err)
	}
	return nil
}

func (w *walker) list(path string, t reflect.Type, depth int) error {
	for i := 0; w.dec.More(); i++ {
		if err := w.value(path+"["+strconv.Itoa(i)+"]", t, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) object(path string, t reflect.Type, depth int) error {
	seen := map[string]bool{}
	for w.dec.More() {
		tok, err := w.dec.Token()
		if err != nil {
			return syntax(path, err)
		}
		key := tok.(string)
		at := strings.TrimPrefix(path+"."+printable(key), ".")
		folded := fold(key)
		if seen[folded] {
			return &Error{at, "given twice"}
		}
		seen[folded] = true
		taker, err := w.member(at, key, t)
		if err != nil {
			return err
		}
		if err := w.value(at, taker, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// member finds the type that takes the value of a key.
func (w *walker) member(at, key string, t reflect.Type) (reflect.Type, error) {
	if t == nil || t.Kind() != reflect.Struct {
		return elem(t, reflect.Map), nil
	}
	all := membersOf(t)
	if taker, ok := all.named[key]; ok {
		return taker, nil
	}
	if name, ok := all.folded[fold(key)]; ok {
		return nil, &Error{at, "must be written " + name}
	}
	if w.lim.Unknown {
		return nil, nil
	}
	return nil, &Error{at, "unknown field"}
}

func pointee(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// elem is the type of what is in a list or a map, nil when t is not one.
func elem(t reflect.Type, kind reflect.Kind) reflect.Type {
	if t == nil || t.Kind() != kind {
		return nil
	}
	return t.Elem()
}

// members are the fields of a struct that JSON can set.
type members struct {
	named  map[string]reflect.Type
	folded map[string]string // names by what fold makes of them
}

var knownMembers sync.Map // of reflect.Type: *members

func membersOf(t reflect.Type) *members {
	if known, ok := knownMembers.Load(t); ok {
		return known.(*members)
	}
	all := &members{map[string]reflect.Type{}, map[string]string{}}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		all.named[name], all.folded[fold(name)] = f.Type, name
	}
	knownMembers.Store(t, all)
	return all
}

func syntax(path string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &Error{path, "the text ends too early"}
	}
	return &Error{path, err.Error()}
}

// fold maps every spelling that encoding/json takes for the same key to one.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// printable keeps keys that were made to confuse a terminal out of error texts.
func printable(key string) string {
	q := strconv.QuoteToASCII(key)
	if len(q) > 66 {
		q = q[:62] + `..."`
	}
	if q == `"`+key+`"` && key != "" {
		return key
	}
	return q
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	default:
		return "a whole number"
	}
}
