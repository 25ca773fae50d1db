package mcp

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxOutline is how much is kept of a message that is too long to be kept: more than its outermost level takes.
const maxOutline = 4 << 10

// outline is the outermost level of a message whose bytes pass by, in JSON: what is in its objects and lists is left out, and
// a string that is too long for an id is null. So what stands in an argument is never taken for the message's own.
type outline struct {
	kept    []byte
	depth   int
	quoted  bool // within a string, which
	begins  int  // here in kept
	escapes bool // the next byte
}

func (o *outline) add(part []byte) {
	for _, c := range part {
		if len(o.kept) > maxOutline { // no client's
			return
		}
		switch keeps := o.depth < 2; {
		case o.quoted:
			o.inString(c, keeps)
		case c == '"':
			o.quoted, o.begins = true, len(o.kept)
			o.keep(c, keeps)
		case c == '{' || c == '[':
			o.keep(c, keeps)
			o.depth++
		case c == '}' || c == ']':
			o.depth--
			o.keep(c, o.depth < 2)
		case strings.IndexByte(blanks, c) < 0:
			o.keep(c, keeps)
		}
	}
}

func (o *outline) inString(c byte, keeps bool) {
	o.keep(c, keeps && len(o.kept)-o.begins <= maxID)
	switch {
	case o.escapes:
		o.escapes = false
	case c == '\\':
		o.escapes = true
	case c == '"':
		o.quoted = false
		if keeps && len(o.kept)-o.begins > maxID {
			o.kept = append(o.kept[:o.begins], "null"...)
		}
	}
}

func (o *outline) keep(c byte, keeps bool) {
	if keeps {
		o.kept = append(o.kept, c)
	}
}

// asker tells of a message that is refused under which id its client waits, so that a call fails and does not hang: nil where
// that is not certain. answers means that nobody waits, because the message is an answer itself, and its id is one of ours.
func asker(data []byte) (id json.RawMessage, answers bool) {
	if !json.Valid(data) || !isObject(data) {
		return nil, false
	}
	asks, ids := false, 0
	for quoted, value := range members(data) {
		switch key := text(quoted); strings.ToLower(key) {
		case "id":
			ids++
			if key == "id" {
				id = value
			}
		case "method":
			asks = true
		case "result", "error":
			answers = true
		}
	}
	if answers || ids != 1 || !comesBackAs(id) {
		return nil, answers && !asks
	}
	return id, false
}

// comesBackAs reports whether a client that sent id, in order or not, knows it again in the answer: a string, or a number that
// all can read.
func comesBackAs(id json.RawMessage) bool {
	if id == nil || len(id) > maxID || !utf8.Valid(id) {
		return false
	}
	var number float64
	return id[0] == '"' || (id[0] == '-' || id[0] >= '0' && id[0] <= '9') && json.Unmarshal(id, &number) == nil
}
